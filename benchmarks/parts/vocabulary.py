"""Training with a vocabulary as large as real ones: the output head is nearly all there is to do."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.bench import STACKS, Bench
from benchmarks.parts import memory
from benchmarks.report import Bar, Part, Table, median, megabytes, ratio, times

OLD, NEW = STACKS
NAMES = {
    "padded": "(a) recipe: all rows padded to 1152",
    "everywhere": "all positions: transformers' Trainer, our rows",
    "factory": "(d) LLaMA-Factory, its defaults",
    "trl": "(c) trl, its defaults",
    "trl packing, defaults": "(c) trl, its defaults and packing",
    "ours": "ours",
    "grouped": "ours, grouped by length",
    "bare": "(b) oracle: no padding, label positions only, a bare loop",
}
FEW = 2  # rows a batch where all are padded: eight would take 20 GB


@dataclass(frozen=True)
class Load:
    """Rows to train on: so many, in batches, of ``shape`` (tokens before and in the response)."""

    title: str
    rows: int
    batch: int
    shape: tuple[int, int] | None = None
    warm: int = 0  # rows that are trained on first, uncounted

    def said(self) -> str:
        if self.shape is None:
            return f"{self.rows} rows of mixed lengths, batches of {self.batch}"
        return f"rows of {self.shape[0]} + {self.shape[1]} tokens, batches of {self.batch}"


LONG = Load("long", 6, 2, (900, 135), 2)
DIALOGUE = Load("dialogue", 6, 2, (759, 85), 2)
SHORT = Load("short", 16, 4, (64, 85), 4)
MIXED = Load("mixed", 64, 8, None, 8)
# Who is measured with what: stack, model ("family-vocabulary"), rows.
LLAMA, GLM4, CHATGLM = "llama-130528", "glm4-151552", "chatglm-130528"
EQUAL = [(NEW, LLAMA), (NEW, GLM4), (OLD, CHATGLM)]
BASE = "everywhere"
HEADS = ["everywhere", "ours", "bare"]
RUNS = {
    # Rows of one length have nothing to group or to pack.
    "long": (NEW, LLAMA, LONG, ["padded", "everywhere", "factory", "trl", "ours", "bare"]),
    "mixed": (NEW, LLAMA, MIXED, list(NAMES)),
    "dialogue": (NEW, LLAMA, DIALOGUE, HEADS),
    "short": (NEW, LLAMA, SHORT, HEADS),
    "glm4": (NEW, GLM4, LONG, ["everywhere", "trl", "ours", "bare"]),
    "chatglm": (OLD, CHATGLM, LONG, ["padded", *HEADS]),
    "chatglm mixed": (OLD, CHATGLM, MIXED, ["padded", "everywhere", "ours", "grouped", "bare"]),
}


EVALUATED = (32, 320)  # rows, so many different ones again and again


def run(bench: Bench) -> dict:
    found: dict[str, dict] = {"training": {}, "equal": {}, "evaluation": {}}
    for name, (stack, kind, load, rivals) in RUNS.items():
        present = [rival for rival in rivals if rival != "factory" or bench.factory]
        found["training"][name] = entry = {}
        for rival in present:
            bench.say(f"{stack}, {kind}: {load.said()}: {rival}")
            entry[rival] = [train(bench, stack, kind, load, rival)]
    for stack, kind in EQUAL:
        bench.say(f"{stack}, {kind}: losses and gradients of the same batches")
        arguments = bench.arguments(stack, bench.data(stack, MIXED.rows, kind=kind), kind, 4)
        given = [*arguments, "--rivals", "everywhere", "ours", "--rows", 16]
        found["equal"][kind] = bench.worker(stack, "equal", f"equal-{kind}", *given)
    few, many = EVALUATED
    for rival, count in (("everywhere", few), ("ours", few), ("ours", many)):
        bench.say(f"{NEW}, {LLAMA}: evaluating {count} rows: {rival}")
        arguments = bench.arguments(NEW, memory.repeated(bench, NEW, few, count, LLAMA), LLAMA)
        arguments[arguments.index("--do_train")] = "--do_eval"
        out = f"evaluate-{rival}-{count}"
        result = bench.worker(NEW, "evaluate", out, *arguments, "--rival", rival)
        found["evaluation"][f"{rival}, {count}"] = result
    return found


def train(bench: Bench, stack: str, kind: str, load: Load, rival: str) -> dict:
    """One rival's run in a process of its own."""
    few = rival == "padded" and load.shape is None
    rows, batch = (2 * FEW, FEW) if few else (load.rows, load.batch)
    warm = min(load.warm, batch)
    given = ["--rows", rows, "--warm", warm]
    out = f"{kind}-{load.title}-{rival.replace(' ', '-')}"
    encoded = bench.work / stack / f"{kind}-{load.title}.encoded"
    if rival == "factory":
        given += ["--model", bench.model(stack, kind), "--encoded", encoded, "--batch", batch]
        return bench.worker(stack, "factory", out, *given, python=bench.factory)
    if load.shape is not None:
        given += ["--shape", *load.shape]
    if rival == "everywhere":
        given += ["--keep", encoded]
    data = bench.data(stack, load.rows, kind=kind)
    given += [*bench.arguments(stack, data, kind, batch), "--rival", rival]
    return bench.worker(stack, "one", out, *given)


def examples(name: str, rival: str, runs: list[dict]) -> int:
    """Rows of data that a run trained on; packing makes fewer, longer ones of them."""
    return RUNS[name][2].rows if "packing" in rival else runs[0]["rows"]


def speeds(name: str, found: dict) -> dict[str, list[float]]:
    """Of each rival: rows a second of the processor, whose time other programs do not lengthen."""
    return {
        rival: [examples(name, rival, runs) / run["cpu"] for run in runs]
        for rival, runs in found.items()
    }


def peaks(found: dict) -> dict[str, float]:
    return {rival: median(run["peak"] for run in runs) for rival, runs in found.items()}


def table(name: str, found: dict) -> Table:
    stack, kind, load, _ = RUNS[name]
    speed, peak = speeds(name, found), peaks(found)
    rows = [
        [
            NAMES[rival],
            f"{median(speed[rival]):.3g}",
            times(ratio(speed[rival], speed[BASE])),
            megabytes(peak[rival]),
            times(peak[rival] / peak[BASE]),
            f"{found[rival][0]['positions'] / examples(name, rival, found[rival]):.0f}",
        ]
        for rival in NAMES
        if rival in found
    ]
    head = ["", "rows a second", "to all positions", "peak memory", "to all positions"]
    title = f"{shown(kind)}, {load.said()}, stack {stack}"
    return Table(title, [*head, "positions a row"], rows)


def shown(kind: str) -> str:
    name, _, vocabulary = kind.partition("-")
    return f"{name}, {int(vocabulary):,} words"


def faster(found: dict, name: str, ours: str, rival: str, wanted: float) -> Bar:
    """The bar that ``ours`` is so much faster than ``rival``."""
    load, entry = RUNS[name][2], found["training"][name]
    what = f"{NAMES[ours]}, to {NAMES[rival]}; {load.said()}"
    if rival not in entry:
        return Bar("8", what, f"≥ {wanted:g}x", "", None, "LLaMA-Factory is not installed")
    speed = speeds(name, entry)
    gain, most = (ratio(speed[one], speed[rival]) for one in (ours, "bare"))
    why = "" if gain >= wanted else f"(b), which does nothing else, reaches {times(most)}"
    return Bar("8", what, f"≥ {wanted:g}x", times(gain), gain >= wanted, why)


def smaller(found: dict, name: str, rival: str, wanted: float) -> Bar:
    """The bar that ours takes so much less memory than ``rival``, grouped or not."""
    load, peak = RUNS[name][2], peaks(found["training"][name])
    share, least = (
        max(peak[one] for one in names if one in peak) / peak[rival]
        for names in (("ours", "grouped"), ("bare",))
    )
    what = f"peak memory above the model, to {NAMES[rival]}; {load.said()}"
    why = "" if share <= wanted else f"(b), which does nothing else, takes {times(least)}"
    return Bar("8", what, f"≤ {wanted:g}x", times(share), share <= wanted, why)


def bars(found: dict) -> list[Bar]:
    new = [
        faster(found, "mixed", "grouped", "padded", 25),
        faster(found, "mixed", "grouped", "factory", 2.5),
        faster(found, "long", "ours", "everywhere", 4),
        faster(found, "long", "ours", "factory", 4),
        faster(found, "long", "ours", "trl", 8),
    ]
    for name in ("mixed", "long"):
        new.append(smaller(found, name, "everywhere", 0.35))
        new.append(smaller(found, name, "trl", 0.5))
    everywhere, few, many = (entry["memory"] for entry in found["evaluation"].values())
    counts = " to ".join(map(str, EVALUATED))
    said = f"{megabytes(few)} to {megabytes(many)}"
    what = f"memory of evaluation, {counts} rows, {shown(LLAMA)}"
    new.append(Bar("8", what, "flat", said, memory.flat(few, many)))
    share = many / everywhere
    what = f"memory of evaluation, to all positions, {shown(LLAMA)}"
    new.append(Bar("8", what, "≤ 0.35x", times(share), share <= 0.35))
    for kind, equal in found["equal"].items():
        said = f"loss {equal['loss']:.1e}, gradients {equal['gradient']:.1e}"
        what = f"largest relative difference to all positions, {shown(kind)}"
        new.append(Bar("8", what, "≤ 1e-5", said, max(equal.values()) <= 1e-5))
    return new


def show(found: dict) -> Part:
    every = [run for f in found["training"].values() for runs in f.values() for run in runs]
    waited = median(run["seconds"] / run["cpu"] for run in every)
    evaluated = Table(
        f"Evaluation, {shown(LLAMA)}, rows of mixed lengths, batches of 8, stack {NEW}",
        ["rival, rows", "rows a second", "peak memory", "loss"],
        [
            [
                name,
                f"{result['rows'] / result['cpu']:.3g}",
                megabytes(result["memory"]),
                f"{result['loss']:.6f}",
            ]
            for name, result in found["evaluation"].items()
        ],
    )
    text = f"""
Small models (2 layers of 128, LoRA) with as many words as real ones, so that the output head, and
the logits it makes, are nearly all there is to do. Each rival trains in a process of its own, one
thread, after a batch to warm up, one after the other, once. Seconds are the processor's, which other
programs hardly lengthen: on the wall it took {times(waited)} as long. Peak memory is what the
process holds above the loaded model. Mixed lengths are those of "Training" above. (a) goes through
{2 * FEW} of these rows in batches of {FEW}: eight would take some 20 GB. trl's defaults are bfloat16 and
gradient checkpointing; it and LLaMA-Factory are given the ids that our script encodes.
LLaMA-Factory runs without gradient checkpointing, which its own code cannot with this release of
transformers; `make .venv-llamafactory/done` installs it.
"""
    tables = [table(name, entry) for name, entry in found["training"].items()]
    return Part(
        "Real vocabularies", "make bench PARTS=vocabulary", text, [*tables, evaluated], bars(found)
    )
