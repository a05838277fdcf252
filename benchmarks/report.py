"""Tables and bars of what was measured, for the terminal and for docs/benchmarks.md."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table as RichTable


@dataclass
class Table:
    title: str
    head: list[str]
    rows: list[list[str]]
    note: str = ""

    def markdown(self) -> str:
        lines = [f"### {self.title}", "", _line(self.head), "|" + "---|" * len(self.head)]
        return "\n".join([*lines, *map(_line, self.rows), "", self.note]).strip() + "\n"

    def show(self, console: Console) -> None:
        table = RichTable(*self.head, title=self.title, caption=self.note or None)
        for row in self.rows:
            table.add_row(*row)
        console.print(table)


@dataclass
class Bar:
    """What was to be reached, what was found, and why where it was not."""

    number: str
    what: str
    wanted: str
    found: str
    reached: bool | None  # None: not measured
    why: str = ""

    def cells(self) -> list[str]:
        verdicts = {True: "reached", False: "**not reached**", None: "**not measured**"}
        verdict = verdicts[self.reached]
        return [self.number, self.what, self.wanted, self.found, verdict, self.why]


@dataclass
class Part:
    """What one part of the benchmark says."""

    title: str
    command: str
    text: str
    tables: list[Table] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def bars(parts: Iterable[Part]) -> Table:
    found = sorted((bar for part in parts for bar in part.bars), key=lambda bar: bar.number)
    head = ["", "what", "bar", "measured", "", "why"]
    return Table("Bars", head, [bar.cells() for bar in found])


def document(machine: dict, parts: list[Part], about: str, seconds: float) -> str:
    """docs/benchmarks.md; ``seconds`` is what measuring took, in all."""
    versions = [
        f"- stack {stack}: " + ", ".join(f"{name} {version}" for name, version in found.items())
        for stack, found in machine["versions"].items()
    ]
    head = [
        "# Benchmarks",
        "",
        about.strip().replace("``", "`"),
        "",
        f"All parts took {seconds / 60:.0f} minutes; each runs alone, and the others keep their figures.",
        "",
        f"Measured on {machine['cores']} cores ({machine['processor']}), {machine['system']}:",
        "",
        *versions,
        "",
        bars(parts).markdown().replace("### ", "## "),
    ]
    sections = [
        "\n".join(
            [
                f"## {part.title}",
                "",
                f"`{part.command}`",
                "",
                part.text.strip(),
                "",
                *(table.markdown() for table in part.tables),
            ]
        )
        for part in parts
    ]
    return "\n".join([*head, *sections]).rstrip() + "\n"


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def ratio(ones: Iterable[float], others: Iterable[float]) -> float:
    """The median of the rounds' ratios, so that a busy moment counts for both rivals."""
    return statistics.median(one / other for one, other in zip(ones, others, strict=True))


def times(value: float) -> str:
    return f"{value:.2f}x"


def megabytes(value: float) -> str:
    return f"{value / 1e6:.0f} MB"
