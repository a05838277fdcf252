"""Where the time of training goes: before (the recipe) and after, and at a real vocabulary."""

from __future__ import annotations

from benchmarks.bench import STACKS, Bench
from benchmarks.report import Bar, Part, Table

OLD, NEW = STACKS
# Stack, model, words, rows, batch, who trains; what each is called.
RUNS = {
    "small": (OLD, "chatglm", 1000, 160, 8, ["recipe", "ours", "grouped"]),
    "real": (NEW, "llama-130528", 130_528, 32, 8, ["everywhere", "grouped"]),
}
NAMES = {"recipe": "(a)", "everywhere": "all positions", "ours": "ours", "grouped": "ours, grouped"}


def run(bench: Bench) -> dict:
    found = {}
    for name, (stack, kind, words, rows, batch, rivals) in RUNS.items():
        bench.say(f"{stack}: profiling {rows} rows of {kind}")
        arguments = bench.arguments(stack, bench.data(stack, rows, kind=kind), kind, batch)
        given = [*arguments, "--vocabulary", words, "--rivals", *rivals]
        found[name] = bench.worker(stack, "profile", f"profile-{name}", *given)
    return found


def show(found: dict) -> Part:
    tables, bars, said = [], [], []
    for name, rivals in found.items():
        stack, _, words, *_ = RUNS[name]
        kinds = next(iter(rivals.values()))["shares"]
        rows = [
            [kind, *(_cell(entry, entry["shares"][kind]) for entry in rivals.values())]
            for kind in kinds
        ]
        rows.append(["all", *(_cell(entry, 1.0) for entry in rivals.values())])
        title = f"Milliseconds a row, {words:,} words, stack {stack}"
        tables.append(Table(title, ["", *(NAMES[rival] for rival in rivals)], rows))
        largest = {rival: max(e["shares"], key=e["shares"].get) for rival, e in rivals.items()}
        bounds = "; ".join(f"{NAMES[rival]}: {kind}" for rival, kind in largest.items())
        said.append(f"with {words:,} words, {bounds}")
        bars.append(Bar("7", f"what bounds training, {words:,} words", "said", bounds, True))
    text = f"""
torch's profiler over training, one thread; the profiler itself slows small kernels down. What
takes most: {". And ".join(said)}.
"""
    return Part("Profile", "make bench PARTS=profile", text, tables, bars)


def _cell(entry: dict, share: float) -> str:
    return f"{entry['seconds'] * share * 1000:.1f} ({share:.0%})"
