"""``make watch``: has upstream released something newer than the locks, and do the patches apply?

Writes, into a folder of its own, what is to be said and a file ``outputs`` of two lines for GitHub
Actions: ``bump=vX`` names the newest release that every series regenerates from
(``pull-request.md`` says so), ``issue=vX`` the newest release, where some series refuses it
(``issue.md`` says why). Either, and its text, is empty where there is none. The first line of both
texts is a heading, which is the title.
"""

from __future__ import annotations

from pathlib import Path

from tools.errors import UserError
from tools.follow import bump, markdown, sweep
from tools.follow.sweep import Outcome
from tools.regenerate.series import Series
from tools.training import stacks
from tools.upstream import fetch as upstream

ROWS = 30  # of the table; who is further behind sees the newest

Swept = dict[str, dict[str, Outcome]]  # release → series → how it fared


def run(repo: str, out: Path, into: Path) -> int:
    """Look, and write what there is to say. UserError where upstream cannot be asked."""
    locks = bump.locked(out)
    if not locks:
        raise UserError(f"no lock in {out} to watch for: make regenerate, and commit it first")
    tags = upstream.release_tags(repo, bump.SINCE)
    releases = newer(tags, locks)
    swept = {ref: {s.name: _one(repo, ref, s.name) for s, _ in locks} for ref in releases}
    target, refused = decide(swept)
    into.mkdir(parents=True, exist_ok=True)
    shown = upstream.address(repo).shown
    text = pull_request(target, swept, locks, shown, _deeds(repo, target, locks)) if target else ""
    _write(into / "pull-request.md", text)
    _write(into / "issue.md", issue(refused, swept, shown) if refused else "")
    _write(into / "outputs", f"bump={target}\nissue={refused}\n")
    print(f"newer      {', '.join(releases) or 'nothing'}")
    print(f"bump       {target or 'nothing'}")
    print(f"refused    {refused or 'nothing'}")
    return 0


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")


def newer(tags: list[str], locks: list[tuple[Series, dict]]) -> list[str]:
    """Releases newer than the oldest of the locks."""
    known = [v for _, lock in locks if (v := stacks.version(lock["upstream"]["ref"]))]
    if not known:
        raise UserError("no lock is at a release, so none is newer: make bump with TO first")
    return [tag for tag in tags if stacks.version(tag) > min(known)]


def _one(repo: str, ref: str, name: str) -> Outcome:
    """Sweep one release. That the file is gone is news; that nobody answers is an error."""
    outcome = sweep.one(repo, ref, name)
    for patches, problem in outcome.problems:
        if not patches and not outcome.commit and "has no file" not in problem:
            raise UserError(problem)
    return outcome


def decide(swept: Swept) -> tuple[str, str]:
    """(release to bump to, newest release if a series refuses it), each "" where there is none."""
    last = next(reversed(swept), "")
    good = (r for r in reversed(swept) if not any(o.problems for o in swept[r].values()))
    target = next(good, "")
    return target, "" if last == target else last


def table(swept: Swept) -> str:
    """Release × series: which regenerate, which patches refuse."""
    names = list(next(iter(swept.values())))
    lines = [f"| release | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for ref, done in list(swept.items())[-ROWS:]:
        lines.append(f"| {ref} | {' | '.join(_cell(done[n]) for n in names)} |")
    return "\n".join(lines) + "\n"


def _cell(outcome: Outcome) -> str:
    if not outcome.problems:
        return "regenerates"
    stopped = (f"`{p}`" for patches, _ in outcome.problems for p in patches)
    who = dict.fromkeys([*stopped]) or ["the file or the whole"]
    return f"**refused**: {', '.join(who)}"


def _deeds(repo: str, target: str, locks: list[tuple[Series, dict]]) -> list[str]:
    """Paragraphs: what upstream's script at ``target`` does and those at the locks did not."""
    new, parts = upstream.fetch(repo, target).text, []
    known = {k["upstream"]["commit"]: k["upstream"] for _, k in locks}
    for commit, pin in known.items():
        try:
            lines = bump.deeds(upstream.fetch(repo, commit, pin=pin).text, new)
        except UserError:
            continue  # no longer to be had: the sheet's diff is all there is
        parts += [
            f"\nBeside {pin['ref']}, upstream's script now:\n",
            markdown.fence("text", "\n".join(lines)),
        ]
    return parts


def pull_request(
    target: str, swept: Swept, locks: list[tuple[Series, dict]], repo: str, deeds: list[str]
) -> str:
    """The text of the pull request; ``deeds`` are the paragraphs of what changed."""
    moved = [f"- `{s.script}`: {lock['upstream']['ref']} → {target}" for s, lock in locks]
    release = f"[{target}]({repo}/releases/tag/{target})" if repo.startswith("https:") else target
    return "\n".join([
        f"# Bump upstream to {target}\n",
        f"Upstream released {release}, and every series regenerates:\n",
        *moved,
        *deeds,
        "\nThe review sheet's diff is what to read. The same commit, made by hand: "
        f"`make bump TO={target}`.\n",
        table(swept),
    ])  # fmt: skip


def issue(refused: str, swept: Swept, repo: str) -> str:
    told = dict.fromkeys(p for o in swept[refused].values() for _, p in o.problems)
    parts = [
        f"# Patches refuse upstream {refused}\n",
        f"At {refused} of {repo} a place that a patch needs is gone, or is there twice:\n",
        markdown.Block("What was looked for, and what came nearest", "text", "\n\n".join(told)),
        "Look at that place in upstream's script, teach the patch's codemod (or "
        "`codemods/engine/script.py`) the new shape, add it to the codemod's test table, then "
        f"`make sweep REFS={refused}`. This issue is rewritten each week, and closed once all "
        "patches apply.\n",
        table(swept),
    ]
    return markdown.render(parts, markdown.BODY_BYTES)
