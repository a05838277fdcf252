"""Which folder may import which: the floors of the house, from the lowest up."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# A floor may import itself and what stands below it. A new folder must be given its place.
FLOORS = (
    "codemods/engine",
    "codemods",
    "tools",
    "tools/upstream",
    "tools/regenerate",
    "tools/training",
    "tools/training/port",
    "tools/follow/behaviour",
    "tools/follow",
    "tools/review",
    "benchmarks",
)
PAYLOAD = ("patches/common", "patches/chatglm", "patches/causal")
SHARED = PAYLOAD[0]  # the layer that every series has
APART = {
    "tools/upstream": ("codemods", "codemods/engine"),  # needs no syntax tree
    "tools/follow/behaviour": ("codemods", "codemods/engine", "tools/regenerate"),  # no edit either
}
DEMO = {"tools/training": ("tests/miniature",)}  # make demo shows the toys
PAYLOAD_DOOR = "tools/training/payload.py"  # merge and chat go on from what the script wrote
COMMAND_LINE = "tools/__main__.py"  # starts all of tools/


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).glob("*.py"))


def floor(module: str) -> str | None:
    """The folder that an imported module's file stands in; None if it is not of this project."""
    if module.split(".")[0] not in {f.split("/")[0] for f in (*FLOORS, *PAYLOAD, "tests")}:
        return None
    place = ROOT / module.replace(".", "/")
    folder = place if place.is_dir() else place.parent
    return folder.relative_to(ROOT).as_posix()


def imported(file: Path) -> set[str]:
    """Dotted names of all modules that a file imports anywhere, relative imports resolved."""
    out = set()
    package = file.parent.relative_to(ROOT).as_posix().replace("/", ".").split(".")
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            out |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{name}.{alias.name}"
                file_or_folder = ROOT / inner.replace(".", "/")
                known = file_or_folder.is_dir() or file_or_folder.with_suffix(".py").is_file()
                out.add(inner if known else name)
    return out


def test_every_folder_has_its_floor():
    found = {
        file.parent.relative_to(ROOT).as_posix()
        for top in ("codemods", "tools", "patches")
        for file in (ROOT / top).rglob("*.py")
    }
    assert found == {*FLOORS, *PAYLOAD} - {"benchmarks"}


def test_imports_run_downward():
    wrong = []
    for height, folder in enumerate(FLOORS[:-1]):
        below = {*FLOORS[: height + 1], *DEMO.get(folder, ())} - {*APART.get(folder, ())}
        for file in modules(folder):
            if file == ROOT / COMMAND_LINE:
                below = set(FLOORS[:-1])
            above = {m for m in imported(file) if (f := floor(m)) is not None and f not in below}
            wrong += [f"{file.relative_to(ROOT)} imports {m}" for m in sorted(above)]
    assert not wrong


def test_no_codemod_imports_another():
    for file in modules("codemods"):
        inside = {m for m in imported(file) if floor(m) == "codemods"}
        assert not inside, f"{file.name} imports {inside}"


def test_payload_imports_its_own_layer_and_the_shared_one_alone():
    for folder in PAYLOAD:
        names = {file.stem for place in {folder, SHARED} for file in modules(place)}
        others = {f.stem for other in PAYLOAD for f in modules(other)} - names
        for file in modules(folder):
            found = imported(file)
            assert not found & others, f"{file.name} imports {found & others} of another layer"
            assert not [m for m in found if floor(m) is not None], file.name


def test_tools_reach_the_payload_through_one_door():
    """By `payload.module("name")`, never by an import, so that a tool without a stack still starts."""
    names = {file.stem for folder in PAYLOAD for file in modules(folder)}
    for folder in ("tools", *(f for f in FLOORS if f.startswith(("tools/", "codemods")))):
        for file in modules(folder):
            text = file.read_text(encoding="utf-8")
            found = {m for m in imported(file) if m in names}
            assert not found, f"{file.relative_to(ROOT)} imports {found} of the payload"
            asked = set(re.findall(r"payload\.module\(\"(\w+)\"\)", text))
            assert asked <= names, f"{file.relative_to(ROOT)}: no payload module {asked - names}"
            at_door = folder.startswith(str(Path(PAYLOAD_DOOR).parent))
            assert not asked or at_door, file.relative_to(ROOT)
    assert "sys.path" in (ROOT / PAYLOAD_DOOR).read_text(encoding="utf-8")
