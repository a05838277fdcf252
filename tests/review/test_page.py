"""The review page, as a reader and a browser find it: structure, escaping, and what BASE tells."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests import genuine
from tests.miniature import PATH, SHAPES, TAGS, build_repo
from tools.regenerate import series, transform
from tools.review import code, diff, labels, rows
from tools.review import page as review
from tools.upstream.fetch import Upstream, from_file

ROOT = Path(__file__).resolve().parents[2]
PAGE = "run_clm_lora.review.html"
CSS = (ROOT / "tools" / "review" / "page.css").read_text(encoding="utf-8")
GENUINE = genuine.texts()
VOID = {"meta", "col", "br", "hr", "img", "link", "input"}


def made(text: str, ref: str = "v1") -> transform.Result:
    found = Upstream("https://example.org/upstream", ref, "c" * 40, "b" * 40, PATH, text)
    return transform.transform(found, series.load("chatglm"))


def shape(tag: str) -> str:
    return (SHAPES / f"{tag}.py").read_text(encoding="utf-8")


@pytest.fixture(scope="module", params=TAGS)
def result(request: pytest.FixtureRequest) -> transform.Result:
    return made(shape(request.param), request.param)


@pytest.fixture(scope="module")
def page(result: transform.Result) -> Page:
    return Page(review.render(result))


class Page(HTMLParser):
    """What of a page these tests ask about; fails where its elements do not nest."""

    def __init__(self, html: str):
        super().__init__(convert_charrefs=True)
        self.html = html
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[list[str]] = []  # of the row that is open
        self.old: dict[str, list[tuple[int, str]]] = {}  # by section: number and text of lines
        self.new: dict[str, list[tuple[int, str]]] = {}
        self.same: list[tuple[str, int, int]] = []  # by section: pairs of unchanged numbers
        self.changes: dict[str, dict] = {}
        self.folds: list[dict] = []
        self.feed(html)
        self.close()
        assert not self.open

    def within(self, tag: str, kind: str = "") -> dict[str, str | None] | None:
        found = [a for t, a in self.open if t == tag and kind in (a.get("class") or "")]
        return found[-1] if found else None

    def handle_starttag(self, tag: str, attrs: list) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self.open.append((tag, attributes))
        if tag == "details" and attributes.get("class") == "change":
            fresh = {
                "open": "open" in attributes,
                "summary": "",
                "patches": [],
                "old": [],
                "new": [],
            }
            self.changes[attributes["id"]] = fresh
        if tag == "details" and attributes.get("class") == "same":
            self.folds.append({"summary": "", "rows": 0, "open": "open" in attributes})
        if tag == "tr":
            self.cells = []
        if tag == "td":
            self.cells.append(["", attributes.get("class") or ""])

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1][0] == tag, (self.open[-1], tag, self.getpos())
        if tag == "tr" and self.cells:
            self.row()
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.within("td") is not None:
            self.cells[-1][0] += data
        elif self.within("summary") is not None:
            if change := self.within("details", "change"):
                mine = self.changes[change["id"]]
                mine["summary"] += data
                if self.within("b", "patch") is not None:
                    mine["patches"].append(data)
            elif self.within("details", "same"):
                self.folds[-1]["summary"] += data

    def row(self) -> None:
        section, cells = self.within("section")["id"], self.cells
        equal = self.within("tr", "eq") is not None
        pairs = [(c[i], c[i + 1]) for c in [cells] for i in range(0, len(cells), 2)]
        change = self.within("details", "change")
        for i, ((number, kind), (text, _)) in enumerate(pairs):
            if not number:
                continue
            is_old = kind == "o" if kind else i == 0
            (self.old if is_old else self.new).setdefault(section, []).append((int(number), text))
            if not equal:
                assert kind in ("o", "w")
                self.changes[change["id"]]["old" if is_old else "new"].append(int(number))
        if equal:
            assert change is None
            self.same.append((section, int(cells[0][0]), int(cells[2][0])))
            if self.within("details", "same"):
                self.folds[-1]["rows"] += 1


def lines(text: str) -> list[tuple[int, str]]:
    return list(enumerate(re.split(r"\r\n|\r|\n", text)[:-1], 1))


def test_every_line_stands_once_on_its_side(result, page) -> None:
    assert page.old["changes"] == lines(result.upstream.text)
    assert page.new["changes"] == lines(result.text)
    old, new = dict(lines(result.upstream.text)), dict(lines(result.text))
    assert all(old[i] == new[j] for section, i, j in page.same)


def test_every_change_names_its_patch_and_why(result, page) -> None:
    entries = {e.name: e for e in result.series.entries}
    own = {labels.HEADER, labels.IMPORTS}
    named = set()
    for change in page.changes.values():
        assert change["open"]
        assert change["patches"]
        assert set(change["patches"]) <= entries.keys() | own, change
        assert all(entries[p].why in change["summary"] for p in set(change["patches"]) - own)
        named.update(change["patches"])
    working = {p.name for p in result.patches if p.changes or p.graft_before is not None}
    assert named - own == working


def test_every_recorded_edit_is_linked_to_where_it_shows(result) -> None:
    old, new = rows.split(result.upstream.text), rows.split(result.text)
    parts = rows.parts(old, new, rows.blocks(new))
    said = labels.label(parts, result, new)
    linked = [one.change for found in said for one in found if one.change]
    for patch in result.patches:
        assert all(any(c is x for x in linked) for c in patch.changes), patch.name
    for part, found in zip(parts, said):
        assert bool(found) == part.changed
        for one in found:  # what is said of lines is said of these lines
            if one.change and one.change.kind == "removed":
                first, last = one.change.lines
                assert set(range(first, last + 1)) & set(part.old)


def test_a_block_is_its_patchs_own(result, page) -> None:
    text = dict(lines(result.text))
    for name in ("lora", "pair-encoding", "chatglm-encoding"):
        mark = next(i for i, x in text.items() if x.startswith(f"# >>> patch: {name} "))
        (change,) = [c for c in page.changes.values() if mark in c["new"]]
        assert change["patches"] == [name]
        assert not change["old"]
        assert text[max(change["new"])] == f"# <<< patch: {name}"


def test_unchanged_code_is_folded_and_counted(result, page) -> None:
    assert page.folds
    for fold in page.folds:
        count = int(re.match(r"show (\d+) unchanged lines", fold["summary"])[1])
        assert count == fold["rows"]
        assert not fold["open"]
    shown = len(page.same) - sum(f["rows"] for f in page.folds)
    assert shown <= 11 * (len(page.changes) + 1)  # three lines either side, or a gap too short


def test_links_lead_somewhere_and_nothing_is_loaded(result, page) -> None:
    ids = [a["id"] for _, a in page.tags if a.get("id")]
    assert len(ids) == len(set(ids))
    links = [a["href"] for _, a in page.tags if "href" in a]
    assert len(links) > len(result.patches)
    assert {x[:1] for x in links} == {"#"}
    assert {x[1:] for x in links} <= set(ids)
    for tag, attributes in page.tags:
        assert tag not in ("link", "img", "iframe", "base", "form")
        assert not {"src", "srcset", "style", "action"} & attributes.keys()
        assert not [a for a in attributes if a.startswith("on")]
    assert not re.search(r"@import|url\(", CSS)
    headings = [t for t, _ in page.tags if re.fullmatch(r"h\d", t)]
    assert headings[0] == "h1" and headings.count("h1") == 1


def test_the_head_tells_what_came_from_where(result, page) -> None:
    told = re.sub(r"<[^>]+>", "", page.html.split("<main>")[1].split('id="changes"')[0])
    up = result.upstream
    for what in (up.repo, up.ref, up.commit, up.blob, *result.arguments_added, "block_size"):
        assert what in told
    for entry in result.series.entries:
        assert f'id="patch-{entry.name}"' in page.html


def test_the_page_is_small_and_the_same_each_time(result, page) -> None:
    assert len(page.html.encode()) < 2_000_000
    assert review.render(made(result.upstream.text, result.upstream.ref)) == page.html


HOSTILE = (
    '</script></style><img src=x onerror="alert(1)">&lt;&#x27; $title ${js} \u202e\u2066abc\u00ad'
    "\t中文字符，全角。" + "很长" * 3000 + "x" * 5000 + " <details open></td></table>"
)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_upstreams_text_is_text(newline: str) -> None:
    text = shape("v4.28.0")
    doc = text.index('"""') + 3
    text = text[:doc] + HOSTILE + "\n" + text[doc:]
    at = text.index("block_size: ")  # and in lines that a patch removes
    at = text.rindex("\n", 0, at) + 1
    text = text[:at] + f"    # {HOSTILE}\n" + text[at:]
    result = made(text.replace("\n", newline), "v1</title><script>alert(1)</script>")
    html = review.render(result)
    page = Page(html)
    expected = "".join(f"U+{ord(c):04X}" if c in "\u202e\u2066\u00ad" else c for c in HOSTILE)
    assert sum(expected in shown for _, shown in page.old["changes"]) == 2
    seen = [(i, x.replace(expected, HOSTILE)) for i, x in page.old["changes"]]
    assert seen == lines(text)
    assert html.count("<script>") == 1
    assert "<img" not in html
    assert not set("\u202e\u2066\u00ad\r") & set(html)
    assert ("CRLF" in html) == (newline == "\r\n")


def test_the_policy_allows_this_style_and_script_only(page) -> None:
    import base64
    import hashlib

    (policy,) = [a["content"] for t, a in page.tags if a.get("http-equiv")]
    assert policy.startswith("default-src 'none';")
    for tag in ("style", "script"):
        text = page.html.split(f"<{tag}>")[1].split(f"</{tag}>")[0]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def colours(dark: bool) -> dict[str, str]:
    light, _, rest = CSS.partition("@media (prefers-color-scheme: dark)")
    return dict(re.findall(r"--([\w-]+): (#\w{6})", rest.split("* {")[0] if dark else light))


def contrast(a: str, b: str) -> float:
    """WCAG's contrast ratio of two colours."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
        return sum(w * x for w, x in zip((0.2126, 0.7152, 0.0722), linear))

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_its_background(dark: bool) -> None:
    c = colours(dark)
    for ground in ("bg", "soft", "old", "old-mark", "new", "new-mark"):
        for ink in ("fg", "k", "s", "c", "m", "f", "ctl"):
            assert contrast(c[ink], c[ground]) >= 4.5, (ink, ground)
    for ground in ("bg", "soft", "old", "new"):
        for ink in ("muted", "link"):
            assert contrast(c[ink], c[ground]) >= 4.5, (ink, ground)


def compared(old: str, new: str) -> list[tuple]:
    parts = rows.parts(old.splitlines(), new.splitlines())
    return [(r.old, r.new, r.changed) for p in parts for r in p.rows]


SIDES = {
    "nothing": ("", "", []),
    "same": ("a\nb", "a\nb", [(1, 1, False), (2, 2, False)]),
    "all new": ("", "a\nb", [(None, 1, True), (None, 2, True)]),
    "all gone": ("a\nb", "", [(1, None, True), (2, None, True)]),
    "alike": ("x = f(1)", "x = f(2)", [(1, 1, True)]),
    "nothing alike": ("import os", "y(4)", [(1, None, True), (None, 1, True)]),
    "alike among others": (
        "gone\nmodel = load(path)",
        "model = wrap(load(path))\nzzz(1)",
        [(1, None, True), (2, 1, True), (None, 2, True)],
    ),
    "between": ("a\nc", "a\nb\nc", [(1, 1, False), (None, 2, True), (2, 3, False)]),
}


@pytest.mark.parametrize("case", SIDES)
def test_lines_find_their_counterpart(case: str) -> None:
    old, new, expected = SIDES[case]
    assert compared(old, new) == expected


MARKS = {
    "a word": ("f(old, x)", "f(new, x)", ["old"], ["new"]),
    "only added": ("f(x)", "f(x, y)", [], [", y"]),
    "only removed": ("class A(B):", "class A:", ["(B)"], []),
    "its own comma": ("c=default,", "c=Pair(a, b),", ["default"], ["Pair(a, b)"]),
    "spaces join": ("a b c d", "a x y d", ["b c"], ["x y"]),
    "wide characters": ("问：甲", "问：乙", ["甲"], ["乙"]),
}


@pytest.mark.parametrize("case", MARKS)
def test_what_changed_inside_a_line_is_marked(case: str) -> None:
    a, b, removed, added = MARKS[case]
    old, new = rows.inside(a, b)
    assert [a[i:j] for i, j in old] == removed
    assert [b[i:j] for i, j in new] == added


def test_marks_and_colours_leave_the_text_as_it_is() -> None:
    source = ["def f(a):  # <b>", '    return "a&b" + str(a)']
    tokens = code.python(source)
    assert ["".join(piece for piece, _ in line) for line in tokens] == source
    html = code.line(tokens[1], ((4, 16), (19, 22)))
    assert html.count("<mark>") == 2
    assert re.sub(r"<[^>]+>", "", html) == "    return &quot;a&amp;b&quot; + str(a)"
    assert code.python([]) == code.plain([]) == []
    assert len(code.python(["", "x", ""])) == 3


def test_what_several_edits_begin_with_is_said_once() -> None:
    said = tuple(labels.Label("p", w) for w in ("chunks: a", "chunks: b", "other", "other"))
    assert diff.by_patch(said) == {"p": ["chunks: a", "chunks: b", "other"]}
    part = rows.Part(True, (rows.Row(1, None, True),), 0)
    html = diff.render(diff.Sides(("a", "b"), code.plain(["x"]), []), [part], [said], "c")
    assert "chunks: a, b; other" in html
    assert "1 line removed" in html


def test_genuine_upstream() -> None:
    for found in genuine.require(GENUINE)[:: len(GENUINE) // 2 + 1]:
        result = transform.transform(found, series.load("chatglm"))
        page = Page(review.render(result))
        assert page.old["changes"] == lines(found.text)
        assert page.new["changes"] == lines(result.text)
        said = {p for c in page.changes.values() for p in c["patches"]}
        assert labels.UNKNOWN not in said


# The command, in a repository of its own that holds this checkout's tool.

GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    **{f"GIT_{role}_NAME": "t" for role in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{role}_EMAIL": "t@example.org" for role in ("AUTHOR", "COMMITTER")},
}


class Checkout:
    """A repository with the tool as it is here, whose cache and upstream are the tests' own."""

    def __init__(self, folder: Path):
        self.files: dict[str, str] = {}  # outputs, kept for tests to compare with
        self.root, self.out = folder / "checkout", folder / "checkout" / "generated"
        self.upstream = build_repo(folder / "upstream")
        self.env = {**os.environ, **GIT, "XDG_CACHE_HOME": str(folder / "cache")}
        skip = shutil.ignore_patterns("__pycache__", "*.lock.json", "run_clm*.py", ".lock")
        for name in ("tools", "codemods", "patches"):
            shutil.copytree(ROOT / name, self.root / name, ignore=skip)
        shutil.copy(ROOT / ".gitignore", self.root)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str) -> str:
        command = ["git", "-c", "commit.gpgsign=false", *arguments]
        ran = subprocess.run(command, cwd=self.root, env=self.env, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    def commit(self, message: str) -> str:
        self.git("add", "-A")
        self.git("commit", "-qm", message)
        return self.git("rev-parse", "HEAD")

    def tool(self, command: str, *arguments: str, code: int = 0) -> str:
        """Run a command; returns what it said."""
        repo = [] if "--repo" in arguments else ["--repo", str(self.upstream)]
        ran = subprocess.run(
            [sys.executable, "-m", "tools", command, *repo, *arguments],
            cwd=self.root,
            env=self.env,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == code, ran.stdout + ran.stderr
        assert "Traceback" not in ran.stderr
        if code:
            assert re.fullmatch(r"error: [^\n]+\n", ran.stderr), ran.stderr
        return ran.stdout + ran.stderr

    def review(self, *arguments: str) -> Page:
        assert PAGE in self.tool("review", *arguments)
        return Page((self.out / PAGE).read_text(encoding="utf-8"))

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.root / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """History: no tool at all, then v4.28.0 (tag one), then v5.1.0; nothing uncommitted."""
    it = Checkout(tmp_path_factory.mktemp("review"))
    it.git("commit", "-q", "--allow-empty", "-m", "Begin")
    it.git("tag", "none")
    it.tool("regenerate", "--ref", "v4.28.0")
    it.files["script"] = (it.out / "run_clm_lora.py").read_text()
    it.files["sheet"] = (it.out / "run_clm_lora.review.md").read_text()
    it.commit("The <first> one")
    it.git("tag", "one")
    it.tool("regenerate", "--ref", "v5.1.0")
    it.files["now"] = (it.out / "run_clm_lora.py").read_text()
    it.commit("Bump")
    return it


def test_the_page_is_an_output_that_git_ignores(checkout) -> None:
    page = checkout.review()
    assert "since" not in page.new
    assert "unchanged" in checkout.tool("review")
    assert checkout.git("status", "--porcelain") == ""
    checkout.tool("review", "--ref", "v4.33.0", "--out", "elsewhere")
    assert checkout.git("check-ignore", f"elsewhere/{PAGE}")
    assert "v4.33.0</title>" in (checkout.root / "elsewhere" / PAGE).read_text()
    shutil.rmtree(checkout.root / "elsewhere")


def test_base_with_nothing_changed(checkout) -> None:
    page = checkout.review("--base", "HEAD")
    assert "unchanged, byte for byte" in page.html
    assert "review sheet is unchanged" in page.html
    assert "since" not in page.new


def test_base_shows_an_edit_of_a_patch_not_yet_committed(checkout) -> None:
    before = lines(checkout.files["now"])
    checkout.edit(
        "patches/common/lora.py", "Rank of the update matrices.", "The <rank> of the update."
    )
    try:
        page = checkout.review("--base", "HEAD")
    finally:
        checkout.git("checkout", "-q", "patches")
    assert page.old["since"][: len(before)] == before
    (change,) = [c for i, c in page.changes.items() if i.startswith("b")]
    assert change["patches"] == ["lora"]
    assert len(change["old"]) == len(change["new"]) == 1
    (sheet,) = [c for i, c in page.changes.items() if i.startswith("s")]
    assert len(sheet["old"]) == len(sheet["new"]) == 1
    assert "<mark>" in page.html
    assert checkout.git("status", "--porcelain") == ""


def test_base_regenerates_from_the_ref_of_then(checkout) -> None:
    page = checkout.review("--base", "one")
    assert "<code>v4.28.0</code>" in page.html
    assert "The &lt;first&gt; one" in page.html
    script, sheet, now = (lines(checkout.files[key]) for key in ("script", "sheet", "now"))
    assert page.old["since"] == script + sheet
    assert page.new["since"][: len(now)] == now
    said = {p for i, c in page.changes.items() if i.startswith("b") for p in c["patches"]}
    assert {"upstream", "trust-remote-code", "header"} <= said


def test_base_on_a_branch_that_went_on(checkout) -> None:
    """What it is now says nothing: BASE is made from the commit that the lock of then names."""
    upstream = ["-C", str(checkout.upstream)]
    checkout.git("checkout", "-q", "-b", "on-a-branch")
    checkout.git(*upstream, "checkout", "-q", "-B", "moving", "v4.46.0")
    checkout.tool("regenerate", "--ref", "moving")
    then = lines((checkout.out / "run_clm_lora.py").read_text())
    base = checkout.commit("A branch of upstream's")
    checkout.git(*upstream, "reset", "-q", "--hard", "v4.54.0")
    checkout.git("checkout", "-q", "main")
    page = checkout.review("--base", base)
    ref = re.compile("# (Ref|Rebuild): ")
    shown = page.old["since"][: len(then)]
    assert [x for x in shown if not ref.match(x[1])] == [x for x in then if not ref.match(x[1])]


def test_base_and_a_file_of_ones_own(checkout, tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(shape("v4.30.0"))
    page = checkout.review("--base", "one", "--upstream-file", str(mine))
    assert "unchanged, byte for byte" in page.html
    assert from_file(mine).blob in page.html


MISTAKES = {
    "unknown": (["--base", "nope"], "no commit 'nope' in this repository"),
    "an option": (["--base=--output=x"], "no commit '--output=x'"),
    "empty": (["--base="], "no commit ''"),
    "a file": (["--base", "HEAD:tools/errors.py"], "no commit"),
    "older than the tool": (["--base", "none"], "is older than this tool"),
    "unreachable": (["--repo", "/nowhere/at/all", "--ref", "v0.1"], "UPSTREAM_FILE"),
    "unknown ref": (["--base", "one", "--ref", "v4.28.1"], "nearest tags: v4.28.0"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_the_page(checkout, case: str) -> None:
    (checkout.out / PAGE).write_bytes(b"the old one")
    arguments, said = MISTAKES[case]
    assert said in checkout.tool("review", *arguments, code=1)
    assert (checkout.out / PAGE).read_bytes() == b"the old one"


def test_base_where_upstream_is_out_of_reach(checkout, tmp_path: Path) -> None:
    """Today's ref is cached, that of then is not."""
    checkout.env["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    checkout.tool("review")
    moved = checkout.upstream.rename(tmp_path / "away")
    try:
        said = checkout.tool("review", "--base", "one", code=1)
    finally:
        moved.rename(checkout.upstream)
        checkout.env["XDG_CACHE_HOME"] = str(checkout.root.parent / "cache")
    assert re.search(r"regenerate at one \(commit \w{12}\) fails: .* is not a git repo", said)
    assert "UPSTREAM_FILE" in said


def test_base_that_fails_says_so_in_its_own_words(checkout) -> None:
    checkout.git("checkout", "-q", "-b", "broken")
    checkout.edit("patches/series.toml", "[series.chatglm]", "[series.other]")
    base = checkout.commit("Break")
    checkout.git("checkout", "-q", "main")
    said = checkout.tool("review", "--base", base, code=1)
    assert f"regenerate at {base} (commit {base[:12]}) fails: no series 'chatglm'" in said


def test_base_whose_lock_is_damaged(checkout) -> None:
    checkout.git("checkout", "-q", "-b", "damaged")
    (checkout.out / "run_clm_lora.lock.json").write_text("{")
    base = checkout.commit("Damage")
    checkout.git("checkout", "-q", "main")
    assert "the lock at" in checkout.tool("review", "--base", base, code=1)


def test_base_without_history(checkout, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    shutil.copytree(checkout.root, plain, ignore=shutil.ignore_patterns(".git"))
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "tools",
            "review",
            "--repo",
            str(checkout.upstream),
            "--base",
            "one",
        ],
        cwd=plain,
        env=checkout.env,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1
    assert "needs the git history of this checkout" in ran.stderr
