"""Many refs in one go: which patch applies to which, and how long each takes."""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from codemods.engine.refusal import Refusal
from tools.errors import UserError
from tools.regenerate import series, transform
from tools.upstream import fetch as upstream


@dataclass(frozen=True)
class Outcome:
    """One ref: its commit, what is wrong ("" patch name: with the whole), and seconds."""

    ref: str
    commit: str
    problems: tuple[tuple[tuple[str, ...], str], ...]
    seconds: float


def one(repo: str, ref: str, name: str) -> Outcome:
    """Fetch, transform and verify one ref; never raises for what upstream or the user did."""
    start = time.perf_counter()
    commit, problems = "", ()
    try:
        found = upstream.fetch(repo, ref)
        commit = found.commit
        transform.transform(found, series.load(name))
    except UserError as error:
        problems = (((), str(error)),)
    except Refusal as error:
        problems = tuple((tuple(e.patches), str(e)) for e in (error, *error.also))
    return Outcome(ref, commit, problems, time.perf_counter() - start)


def run(repo: str, refs: list[str], name: str, jobs: int | None = None) -> int:
    """Sweep ``refs`` with progress and a table; 1 if any fails, else 0."""
    from rich.console import Console
    from rich.progress import track

    patches = [e.name for e in series.load(name).entries]
    if not refs:
        raise UserError(f"{upstream.address(repo).shown} has no release to sweep: set REFS")
    console = Console()
    start = time.perf_counter()
    jobs = max(1, min(jobs or os.cpu_count() or 1, len(refs)))
    with ProcessPoolExecutor(jobs) as pool:
        done = pool.map(one, [repo] * len(refs), refs, [name] * len(refs))
        outcomes = list(track(done, "sweeping", total=len(refs), console=console, transient=True))
    seconds = time.perf_counter() - start
    console.print(_table(outcomes, patches))
    console.print("  ".join(f"{n} {p}" for n, p in enumerate(patches, 1)), highlight=False)
    for outcome in outcomes:
        for _, problem in outcome.problems:
            console.print(
                f"{outcome.ref}: {problem}", markup=False, highlight=False, soft_wrap=True
            )
    good = sum(not o.problems for o in outcomes)
    console.print(f"{good} of {len(outcomes)} regenerate, in {seconds:.1f} s with {jobs} processes")
    return 0 if good == len(outcomes) else 1


def _table(outcomes: list[Outcome], patches: list[str]):
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("ref", overflow="fold", max_width=20)
    table.add_column("commit", no_wrap=True)
    for number in range(1, len(patches) + 1):
        table.add_column(str(number), justify="right")
    table.add_column("s", justify="right")
    for o in outcomes:
        table.add_row(
            o.ref[:20], o.commit[:10], *(_mark(o, p) for p in patches), f"{o.seconds:.2f}"
        )
    return table


def _mark(outcome: Outcome, patch: str) -> str:
    if any(patch in patches for patches, _ in outcome.problems):
        return "[bold red]✗[/]"
    return "[yellow]?[/]" if any(not patches for patches, _ in outcome.problems) else "[green]✓[/]"
