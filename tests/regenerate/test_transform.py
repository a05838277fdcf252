"""The whole series on whole scripts: what is promised of the result, seen from outside."""

from __future__ import annotations

import ast
import difflib
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from codemods.engine.refusal import Refusal
from tests import genuine
from tests.miniature import TAGS, build_repo
from tools.regenerate import outputs, series, sheet, transform, verify
from tools.upstream import fetch as upstream

ROOT = Path(__file__).resolve().parents[2]
SERIES = {name: series.load(name) for name in series.names()}
GENUINE = genuine.texts()


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    os.environ["XDG_CACHE_HOME"], before = (
        str(tmp_path_factory.mktemp("cache")),
        os.environ.get("XDG_CACHE_HOME"),
    )
    yield build_repo(tmp_path_factory.mktemp("miniature") / "repo")
    os.environ.pop("XDG_CACHE_HOME")
    if before:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture(scope="module", params=SERIES)
def chosen(request: pytest.FixtureRequest) -> series.Series:
    return SERIES[request.param]


@pytest.fixture(scope="module", params=TAGS)
def result(repo: Path, chosen: series.Series, request: pytest.FixtureRequest) -> transform.Result:
    return transform.transform(upstream.fetch(str(repo), request.param), chosen)


def covered(result: transform.Result) -> set[int]:
    """Numbers of the upstream lines that some recorded change says it touches."""
    out: set[int] = set()
    for patch in result.patches:
        for change in patch.changes:
            if not change.kind.startswith("added"):
                out.update(range(change.lines[0], change.lines[1] + 1))
    return out


def untouched_lines_are_kept(result: transform.Result) -> None:
    """Only lines that a record names, comments before them and imports may go."""
    old, new = result.upstream.text.splitlines(), result.text.splitlines()
    known = covered(result)
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for tag, first, last, _, _ in matcher.get_opcodes():
        if tag in ("replace", "delete"):
            for number in range(first, last):
                line = old[number].strip()
                gone = line.strip(",").split(" as ")[0].split()[-1:] or [""]
                excused = not line or line.startswith("#") or number + 1 in known
                excused = excused or gone[0] in (*result.dropped_imports, "AutoModelForCausalLM")
                assert excused, f"line {number + 1} changed unrecorded: {line}"


def only_calls_in_main(result: transform.Result) -> None:
    old, new = (
        next(f for f in ast.parse(t).body if getattr(f, "name", "") == "main")
        for t in (result.upstream.text, result.text)
    )
    was, now = ({ast.unparse(s) for s in f.body} for f in (old, new))
    assert len(now - was) <= 20
    added = [
        c
        for p in result.patches
        for c in p.changes
        if c.kind.startswith("added") and "main" in c.where
    ]
    assert all(len(c.code.strip().splitlines()) <= 2 for c in added)


def nothing_of_upstreams_in_what_is_tracked(result: transform.Result) -> None:
    """Lock and sheet show our code and upstream's names, never a line of upstream's."""
    theirs = {line.strip() for line in result.upstream.text.splitlines() if len(line.strip()) >= 40}
    ours = {
        line.strip()
        for e in result.series.entries
        for p in e.payload
        for line in p.code.splitlines()
    }
    files = outputs.render(result)
    for name in outputs.names(result.series.script)[1:]:
        shown = {line.strip() for line in files[name].decode().splitlines()}
        assert not shown & theirs - ours


PROMISES = (untouched_lines_are_kept, only_calls_in_main, nothing_of_upstreams_in_what_is_tracked)


@pytest.mark.parametrize("promise", PROMISES)
def test_promises_on_the_miniature(result: transform.Result, promise) -> None:
    promise(result)


def test_arguments(result: transform.Result) -> None:
    assert result.arguments_removed == ("block_size",)
    assert {"prompt_column", "response_column", "history_column"} <= set(result.arguments_added)
    assert {"max_source_length", "max_target_length", "test_file"} <= set(result.arguments_added)
    assert {"ignore_pad_token_for_loss", "max_predict_samples"} <= set(result.arguments_added)


def test_few_places_are_changed(result: transform.Result) -> None:
    assert 0 < result.lines_changed < 25


def test_series_share_the_common_patches() -> None:
    common = {
        name: [e for e in chosen.entries if e.layer == "common"] for name, chosen in SERIES.items()
    }
    assert common["causal"] == common["chatglm"] == list(SERIES["causal"].entries[:-1])
    assert len({chosen.script for chosen in SERIES.values()}) == len(SERIES)


def test_the_causal_series_loads_as_upstream_does(result: transform.Result) -> None:
    """Model class and trust stay upstream's: what ChatGLM needs is not in it."""
    if result.series.name != "causal":
        return
    for kept in ("trust_remote_code", "AutoModelForCausalLM"):
        old, new = (
            [line for line in text.splitlines() if kept in line]
            for text in (result.upstream.text, result.text)
        )
        assert new == old
    assert "zero3_model_kwargs" not in result.text
    assert "ChatGLM" not in result.patches[-1].payload[0].code


def test_a_second_time_is_refused(result: transform.Result) -> None:
    again = upstream.Upstream("file", "x", "", "", "x.py", result.text)
    with pytest.raises(Refusal, match="made by these patches already"):
        transform.transform(again, result.series)


def test_one_marked_block_a_patch(result: transform.Result) -> None:
    for entry in result.series.entries:
        count = 1 if entry.payload else 0
        assert result.text.count(transform.MARK.format(entry.name) + "\n") == count
        assert result.text.count(transform.END.format(entry.name) + "\n") == count


def test_the_sheet_shows_each_edit_and_names_the_payload(result: transform.Result) -> None:
    text = sheet.render(result)
    shown = {line.strip() for line in text.splitlines()}
    for patch in result.patches:
        for change in patch.changes:
            assert {line.strip() for line in change.code.splitlines()} <= shown
        for payload in patch.payload:
            raw = (ROOT / "patches" / payload.file).read_bytes()
            digest = hashlib.sha256(raw).hexdigest()[:12]
            assert text.count(f"`patches/{payload.file}`") == text.count(digest) == 1
            assert (
                not {line.strip() for line in payload.code.splitlines() if "def " in line} & shown
            )
    numbers = [int(n) for n in re.findall(r"^## (\d+)\.", text, re.MULTILINE)]
    assert numbers == list(range(1, len(result.series.entries) + 1))
    assert text.count("\n") < 350


def test_same_bytes_whatever_the_hash_seed(repo: Path) -> None:
    code = (
        "import hashlib, sys; from tools.regenerate import outputs, series, transform; from tools.upstream import fetch as upstream\n"
        "found = upstream.fetch(sys.argv[1], 'v5.1.0')\n"
        "files = outputs.render(transform.transform(found, series.load('chatglm')))\n"
        "print(hashlib.sha256(b''.join(files.values())).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code, str(repo)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(digests) == 1


def test_every_cause_is_told_once_with_the_patches_it_stops(
    repo: Path, chosen: series.Series
) -> None:
    found = upstream.fetch(str(repo), "v5.1.0")
    text = found.text.replace(" Trainer(", " OurTrainer(").replace("train_file", "rows_file")
    with pytest.raises(Refusal) as caught:
        transform.transform(upstream.Upstream("file", "x", "", "", "x.py", text), chosen)
    told = {e.looked_for: e.patches for e in (caught.value, *caught.value.also)}
    trainer = next(patches for cause, patches in told.items() if "transformers.Trainer" in cause)
    assert {"lora", "pair-collator", "adapter-trainer"} <= set(trainer)
    assert len(told) == len({e.cause for e in (caught.value, *caught.value.also)}) >= 2
    line = next(n for n, text in enumerate(text.splitlines(), 1) if " OurTrainer(" in text)
    assert f"nearest: line {line}: OurTrainer(" in " ".join(
        map(str, (caught.value, *caught.value.also))
    )


def test_verify_cites_upstreams_lines(repo: Path, chosen: series.Series) -> None:
    found = upstream.fetch(str(repo), "v5.1.0")
    lines = found.text.splitlines()
    end = next(n for n, text in enumerate(lines) if "trainer.evaluate(" in text)
    blank = max(n for n in range(end) if not lines[n].strip())
    lines[blank] = "    torch.distributed.destroy_process_group()"
    with pytest.raises(Refusal, match="nothing ends the run before prediction") as caught:
        transform.transform(
            upstream.Upstream("file", "x", "", "", "x.py", "\n".join(lines) + "\n"), chosen
        )
    assert [c.line for c in caught.value.nearest] == [blank + 1]


def test_no_control_character_of_upstreams_text_is_told(repo: Path, chosen: series.Series) -> None:
    found = upstream.fetch(str(repo), "v5.1.0")
    text = found.text.replace(" Trainer(", " OurTrainer('\x1b[2J\x07', ")
    with pytest.raises(Refusal) as caught:
        transform.transform(upstream.Upstream("file", "x", "", "", "x.py", text), chosen)
    told = " ".join(map(str, (caught.value, *caught.value.also)))
    assert "OurTrainer(" in told
    assert told.isprintable()


def test_a_digest_changes_with_the_patch(chosen: series.Series) -> None:
    digests = [e.digest for e in chosen.entries]
    assert len(set(digests)) == len(digests)
    entry = next(e for e in chosen.entries if e.name == "pair-collator")
    code = (ROOT / "codemods" / "pair_collator.py").read_bytes()
    assert entry.digest == hashlib.sha256(code).hexdigest()


def test_no_release_line_or_comment_in_a_codemod() -> None:
    for file in (ROOT / "codemods").glob("*.py"):
        assert not re.search(r"v?\d+\.\d+\.\d+", file.read_text()), file


NAMES = [
    ("import os\nos.x\nx = 1\nprint(x)", set()),
    ("print(y)", {"y"}),
    ("def f():\n    y = 1\n    def g():\n        return y\n    return g", set()),
    ("def f(a):\n    return g(a)\ndef g(b):\n    return b", set()),
    ("def f():\n    return z", {"z"}),
    ("class C:\n    x: int = zz", {"zz"}),
    ("[i for i in range(3)]", set()),
    ("try:\n    import a\nexcept ImportError as e:\n    raise b from e", {"b"}),
]


@pytest.mark.parametrize(("text", "undefined"), NAMES)
def test_undefined_names(text: str, undefined: set[str]) -> None:
    assert verify.undefined(text) == undefined


@pytest.mark.parametrize("found", GENUINE or [None], ids=lambda f: f.blob[:10] if f else "none")
def test_promises_on_the_genuine(chosen: series.Series, found: upstream.Upstream | None) -> None:
    genuine.require(GENUINE)
    result = transform.transform(found, chosen)
    for promise in PROMISES:
        promise(result)
    assert result.lines_changed < 25
