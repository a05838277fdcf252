"""What the tables of the codemods' tests are checked with.

A codemod needs a whole script: it looks for the parser, the Trainer, the loaded data. So the
helpers keep two small scripts in words of their own, ``OLD`` and ``NEW`` for the shapes that
upstream had first and has now, cut into named slots. A row of a table fills one slot, and shows
nothing but that snippet before and after. ``FINISHED`` is the same script as it should come out,
written by hand: what ``verify`` has to accept, and, with one slot spoilt, what it has to refuse.

``Tables`` makes tests of tables: what is transformed, refused, caught, accepted, recorded.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import textwrap
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from codemods.engine.edits import Edits
from codemods.engine.imports import drop_unused
from codemods.engine.patch import Patch
from codemods.engine.refusal import Refusal
from codemods.engine.script import Script

ROOT = Path(__file__).resolve().parents[2]

LAYOUT = """\
{docstring}
{imports}


{model_class}


{data_class}


{helper}


def main():
    {parse}
    {load}
    {config}
    {tokenizer}
    {model}
    {resize}
    {mapping}
    {splits}
    {metric}
    {trainer}
    {train}
    {evaluate}
    {end}


{start}
"""


def slots(text: str) -> dict[str, str]:
    """``[name]`` lines head the slots of a script written out."""
    out: dict[str, str] = {}
    for part in textwrap.dedent(text).split("\n[")[1:]:
        name, _, body = part.partition("]")
        out[name] = body.removeprefix("\n").rstrip("\n")
    return out


OLD = slots('''
    [docstring]
    """A script in the shape that upstream's had first."""
    [imports]
    import evaluate
    from datasets import load_dataset
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        AutoTokenizer,
        HfArgumentParser,
        Trainer,
        TrainingArguments,
        default_data_collator,
    )
    [model_class]
    @dataclass
    class ModelOptions:
        model_name_or_path: str = None
        config_name: str = None
    [data_class]
    @dataclass
    class DataOptions:
        train_file: str = None
        block_size: int = None
    [helper]
    def helper(rows):
        return rows
    [parse]
    parser = HfArgumentParser((ModelOptions, DataOptions, TrainingArguments))
    margs, dargs, targs = parser.parse_args_into_dataclasses()
    [load]
    raw = load_dataset("json", data_files=dargs.train_file)
    [config]
    config = AutoConfig.from_pretrained(margs.config_name)
    [tokenizer]
    tokenizer = AutoTokenizer.from_pretrained(margs.model_name_or_path)
    [model]
    model = AutoModelForCausalLM.from_pretrained(margs.model_name_or_path, config=config)
    [resize]
    if len(tokenizer) > 100:
        model.resize_token_embeddings(101)
    [mapping]
    # Text becomes tokens, tokens become chunks.
    tokens = raw.map(lambda rows: tokenizer(rows["text"]), batched=True)
    size = dargs.block_size or 1024

    def cut(rows):
        return rows[:size]

    chunks = tokens.map(cut, batched=True)
    [splits]
    # Which rows to use.
    if targs.do_train:
        train_rows = chunks["train"]
    if targs.do_eval:
        eval_rows = chunks["validation"]
    [metric]
    metric = evaluate.load("accuracy")

    def score(pair):
        return metric.compute(predictions=pair[0], references=pair[1])
    [trainer]
    trainer = Trainer(
        model=model,
        args=targs,
        train_dataset=train_rows if targs.do_train else None,
        eval_dataset=eval_rows if targs.do_eval else None,
        tokenizer=tokenizer,
        # The default one would pad.
        data_collator=default_data_collator,
        compute_metrics=score,
        preprocess_logits_for_metrics=best,
    )
    [train]
    if targs.do_train:
        trainer.train()
    [evaluate]
    if targs.do_eval:
        print(trainer.evaluate())
    [end]
    print("done")
    [start]
    if __name__ == "__main__":
        main()
''')

NEW = OLD | slots('''
    [docstring]
    # /// script
    # dependencies = ["transformers"]
    # ///
    """A script in the shape that upstream's has now."""
    [imports]
    import evaluate
    from datasets import IterableDatasetDict, load_dataset

    import transformers
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        AutoTokenizer,
        HfArgumentParser,
        Trainer,
        TrainingArguments,
        default_data_collator,
    )
    [model_class]
    @dataclass
    class ModelOptions:
        model_name_or_path: str | None = field(default=None, metadata={"help": "Where."})
        config_name: str | None = field(default=None)
        trust_remote_code: bool = field(
            default=False,
            metadata={"help": "Run the model's own code?"},
        )
    [data_class]
    @dataclass
    class DataOptions:
        train_file: str | None = field(default=None)
        streaming: bool = field(default=False)
        block_size: int | None = field(
            default=None,
            metadata={"help": "How long a chunk is."},
        )

        def __post_init__(self):
            if self.train_file is None:
                raise ValueError("nothing to read")
    [helper]
    def split_stream(stream):
        return IterableDatasetDict({"train": stream, "validation": stream})
    [load]
    if dargs.streaming:
        raw = load_dataset("json", streaming=True, trust_remote_code=margs.trust_remote_code)
        raw = split_stream(raw)
    else:
        raw = load_dataset("json", data_files=dargs.train_file)
    [config]
    more = {
        "revision": "main",
        "trust_remote_code": margs.trust_remote_code,
    }
    if margs.config_name:
        config = AutoConfig.from_pretrained(margs.config_name, **more)
    else:
        config = AutoConfig.from_pretrained(margs.model_name_or_path, **more)
    [tokenizer]
    tokenizer = AutoTokenizer.from_pretrained(margs.model_name_or_path, **more)
    [model]
    if margs.model_name_or_path:
        model = AutoModelForCausalLM.from_pretrained(  # big
            margs.model_name_or_path,
            config=config, trust_remote_code=margs.trust_remote_code,
            dtype="auto",
        )
    else:
        trust = margs.trust_remote_code
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=margs.trust_remote_code)
        print(f"from scratch, trusting: {trust}")
    [mapping]
    if targs.do_train:
        names = list(raw["train"].features)
    else:
        names = list(raw["validation"].features)
    column = "text" if "text" in names else names[0]

    def to_tokens(rows):
        return tokenizer(rows[column])

    with targs.main_process_first(desc="tokens"):
        if dargs.streaming:
            tokens = raw.map(to_tokens, batched=True)
        else:
            tokens = raw.map(to_tokens, batched=True, num_proc=2)
    limit = config.max_position_embeddings if hasattr(config, "max_position_embeddings") else 1024

    if dargs.block_size is None:
        size = tokenizer.model_max_length
        if size > limit:
            logger.warning("too long")
            size = limit
    else:
        size = min(dargs.block_size, tokenizer.model_max_length)

    # Cut what is too long.
    def cut(rows):
        return {k: [v[i : i + size] for i in range(0, len(v), size)] for k, v in rows.items()}

    with targs.main_process_first(desc="chunks"):
        if dargs.streaming:
            chunks = tokens.map(cut, batched=True)
        else:
            chunks = tokens.map(cut, batched=True, desc=f"chunks of {size}")
    [splits]
    # Which rows to use.
    if targs.do_train:
        if "train" not in tokens:
            raise ValueError("nothing to train on")
        train_rows = chunks["train"]
    if targs.do_eval:
        if "validation" not in tokens:
            raise ValueError("nothing to evaluate on")
        eval_rows = chunks["validation"]
    [metric]
    if targs.do_eval:
        metric = evaluate.load("accuracy", cache_dir=margs.config_name)

        def score(pair):
            return metric.compute(predictions=pair[0], references=pair[1])
    [trainer]
    trainer = Trainer(
        model=model,
        args=targs,
        train_dataset=train_rows if targs.do_train else None,
        eval_dataset=eval_rows if targs.do_eval else None,
        processing_class=tokenizer,
        # The default one would pad.
        data_collator=default_data_collator,
        compute_metrics=score if targs.do_eval else None,
        preprocess_logits_for_metrics=best if targs.do_eval else None,
    )
''')

BASES = {"old": OLD, "new": NEW}

# What OLD becomes when the whole series is applied.
FINISHED = OLD | slots("""
    [imports]
    from transformers import (
        AutoConfig,
        AutoTokenizer,
        TrainingArguments,
    )
    [model_class]
    @dataclass
    class ModelOptions(LoraArguments):
        model_name_or_path: str = None
        config_name: str = None
    [data_class]
    @dataclass
    class DataOptions(PromptResponseArguments, EarlyStoppingArguments):
        train_file: str = None
    [parse]
    parser = LenientArgumentParser((ModelOptions, DataOptions, TrainingArguments))
    margs, dargs, targs = parser.parse_args_into_dataclasses()
    [load]
    raw = dargs.load_files("json", data_files=dargs.train_file)
    [config]
    config = AutoConfig.from_pretrained(margs.config_name, trust_remote_code=True)
    [tokenizer]
    tokenizer = AutoTokenizer.from_pretrained(margs.model_name_or_path, trust_remote_code=True)
    [model]
    join_process_group(targs)
    show_preview(raw, encode_pair, tokenizer, dargs, targs)
    model = AutoModel.from_pretrained(margs.model_name_or_path, config=config, \
**quantized(margs), trust_remote_code=True, **zero3_model_kwargs(config, margs))
    [resize]
    if len(tokenizer) > 100:
        grow_embeddings(model, 101)
    [mapping]

    chunks = encode_datasets(raw, encode_pair, tokenizer, dargs, targs)
    [metric]
    [trainer]

    model = add_lora(model, tokenizer, stop_ids, margs, targs)
    trainer = AdapterTrainer(
        model=model,
        args=targs,
        train_dataset=train_rows if targs.do_train else None,
        eval_dataset=eval_rows if targs.do_eval else None,
        tokenizer=tokenizer,
        # The default one would pad.
        data_collator=PairCollator(tokenizer, dargs),
        callbacks=make_callbacks(dargs, targs),
    )
    [evaluate]
    if targs.do_eval:
        print(trainer.evaluate())

    if targs.do_predict:
        predict_responses(trainer, tokenizer, encode_prompt, stop_ids, lead_ids, raw, margs, dargs, targs)
    [start]
    if __name__ == "__main__":
        run_main(main)
""")

# Stands for the payload: names alone, since no codemod looks at what is in it.
CLASSES = {
    "LoraArguments": "",
    "PromptResponseArguments": "",
    "EarlyStoppingArguments": "",
    "LenientArgumentParser": "(HfArgumentParser)",
    "PairCollator": "",
    "AdapterTrainer": "(Trainer)",
}
FUNCTIONS = (
    *("add_lora", "join_process_group", "encode_prompt", "lead_ids", "stop_ids", "encode_pair"),
    *("encode_datasets", "show_preview", "make_callbacks", "predict_responses", "run_main"),
    *("quantized", "zero3_model_kwargs", "grow_embeddings"),
)
PAYLOAD = "".join(
    [
        "\n\nfrom transformers import AutoModel, HfArgumentParser, Trainer\n",
        *(f"\n\nclass {name}{bases}:\n    pass\n" for name, bases in CLASSES.items()),
        *(f"\n\ndef {name}():\n    pass\n" for name in FUNCTIONS),
    ]
)
GRAFTED = {*CLASSES, *FUNCTIONS}
Slots = dict[str, str]


def dedent(snippet: str) -> str:
    """A snippet as a table shows it: one string, or a block indented with the table."""
    if snippet.rstrip(" ").endswith("\n"):
        snippet = snippet.removeprefix("\n")
    return textwrap.dedent(snippet).rstrip()


def render(base: Slots, filled: Slots | None = None, newline: str = "\n") -> str:
    """The script that ``base`` makes with some of its slots filled otherwise."""
    filled = {name: dedent(text) for name, text in (filled or {}).items()}
    assert filled.keys() <= base.keys(), f"no such slot: {filled.keys() - base.keys()}"
    texts = base | filled
    lines = []
    for line in LAYOUT.splitlines():
        name = line.strip()[1:-1]
        if line.strip().startswith("{") and name in texts:
            indent = line[: line.index("{")]
            inside = texts[name].split("\n") if texts[name] else []
            lines += [indent + n if n.strip() else "" for n in inside]
        else:
            lines.append(line)
    return newline.join(lines) + newline


@functools.cache
def series(name: str = "chatglm") -> list[ModuleType]:
    """Every codemod of a series of patches/series.toml, in its order."""
    table = tomllib.loads((ROOT / "patches" / "series.toml").read_text(encoding="utf-8"))
    layers = table["series"][name]["layers"]
    return [
        importlib.import_module(f"codemods.{p['codemod']}")
        for p in table["patch"]
        if p["layer"] in layers
    ]


def short(codemod: ModuleType) -> str:
    return codemod.__name__.split(".")[-1]


def finished(text: str) -> Script:
    """The finished script as ``verify`` reads it."""
    return Script(text, GRAFTED)


def apply(text: str, codemod: ModuleType) -> tuple[str, Patch]:
    """One codemod applied to the script: the text that comes out, and the record."""
    edits = Edits(Script(text))
    patch = Patch(short(codemod), edits, edits.script, [])
    codemod.apply(patch)
    return edits.rebuild().code, patch


@functools.lru_cache(maxsize=8)
def finish(text: str, name: str = "chatglm") -> str:
    """The script with the whole series applied and stand-ins for its payload."""
    edits = Edits(Script(text))
    for codemod in series(name):
        codemod.apply(Patch(short(codemod), edits, edits.script, []))
    before = edits.concrete.module
    module, _ = drop_unused(edits.rebuild(), before, [])
    return module.code + PAYLOAD.replace("\n", before.default_newline)


def verify_all(text: str, name: str = "chatglm") -> None:
    script = finished(text)
    for codemod in series(name):
        codemod.verify(script)


def difference(expected: str, text: str) -> str:
    lines = difflib.unified_diff(
        expected.splitlines(), text.splitlines(), "expected", "is", lineterm="", n=2
    )
    return "\n" + "\n".join(lines)


def check_nearest(error: Refusal, text: str, nearest: str) -> None:
    lines = [line.strip() for line in text.splitlines()]
    wanted = [line.strip() for line in dedent(nearest).splitlines()]
    assert [lines[c.line - 1] for c in error.nearest or ()] == wanted, str(error)
    for line in wanted:
        assert lines.count(line) == 1, f"a poor row: {line!r} does not say which line"
    for candidate in error.nearest or ():
        assert candidate.text
        assert len(candidate.text) <= 78


def each(names: str, table: dict[str, object]) -> Callable:
    """A test of each row of a table."""
    return pytest.mark.parametrize(names, table.values(), ids=table)


LOAD = "model = AutoModelForCausalLM.from_pretrained('there')"


def gets_more(text: str, more: str) -> tuple[str, str]:
    """(before, after) of an argument of ours: HERE is where ``more`` goes, with what separates it."""
    old = text.replace(", HERE", "")
    old = "".join(n for n in old.splitlines(keepends=True) if "HERE" not in n)
    return old, text.replace("HERE", more)


def more_for_the_model(more: str) -> dict[str, tuple[str, str]]:
    """Rows of what gives each call that loads the model one more argument, its last."""
    texts = {
        "one line": f"{LOAD[:-1]}, HERE)",
        "several lines, comments": """
        model = AutoModelForCausalLM.from_pretrained(  # big
            "there",  # or here
            # As it was.
            config=config,
            HERE,
        )
        """,
        "a dict beside it": f"rest = {{'dtype': 1}}\n{LOAD[:-1]}, **rest, HERE)",
        "a model from its config stays": f"if margs:\n    {LOAD[:-1]}, HERE)\nelse:\n"
        "    model = AutoModelForCausalLM.from_config(config)",
        "each of two": f"if margs:\n    {LOAD[:-1]}, HERE)\nelse:\n    {LOAD[:-1]}, a=1, HERE)",
    }
    return {name: gets_more(text, more) for name, text in texts.items()}


class Tables:
    """Makes tests of one codemod's tables, whose rows fill a slot of the script, or several by name."""

    def __init__(self, codemod: ModuleType, slot: str):
        self.codemod = codemod
        self.slot = slot

    def _filled(self, row: str | Slots, slot: str | None) -> Slots:
        return {slot or self.slot: row} if isinstance(row, str) else row

    def transformed(
        self, rows: dict[str, tuple[str, str]], base: Slots = OLD, name: str = "chatglm"
    ) -> None:
        """Each slot of ``rows`` becomes what stands beside it, whichever line ends the script has.

        Every other byte of the script stays, and every ``verify`` accepts what the series makes.
        """
        befores, afters = ({slot: row[i] for slot, row in rows.items()} for i in (0, 1))
        for newline in ("\n", "\r\n") if base is OLD else ("\n",):
            old, expected = render(base, befores, newline), render(base, afters, newline)
            text, patch = apply(old, self.codemod)
            assert text == expected, difference(expected, text)
            assert bool(patch.changes) == (text != old), "the record says what changed"
        verify_all(finish(render(base, befores), name), name)

    def refused(
        self, looked_for: str, nearest: str = "", base: Slots = OLD, **filled: str
    ) -> Refusal:
        """``apply`` refuses, in one line that says what it looked for.

        ``nearest`` are lines of the script: each must stand where the refusal says it does, and no
        other candidate may be named. A hint goes with ``looked_for``, after `` … ``.
        """
        old = render(base, filled)
        with pytest.raises(Refusal) as caught:
            apply(old, self.codemod)
        error = caught.value
        looked_for, _, hint = looked_for.partition(" … ")
        assert looked_for in error.looked_for
        assert hint in error.hint
        check_nearest(error, old, nearest)
        error.patches = ["the-patch"]
        assert str(error).startswith(f"patch 'the-patch' does not apply: {error.looked_for}")
        assert "\n" not in str(error)
        return error

    def not_verified(self, promise: str, text: str) -> None:
        with pytest.raises(Refusal) as caught:
            self.codemod.verify(finished(text))
        assert promise in caught.value.looked_for
        assert "\n" not in str(caught.value)

    def caught(self, promise: str, payload: str = PAYLOAD, **spoilt: str) -> None:
        """``verify`` refuses the finished script with a slot spoilt, naming the promise broken.

        What upstream imports is imported still: it stays as long as anything uses it.
        """
        spoilt = {"imports": OLD["imports"], **spoilt}
        self.not_verified(promise, render(FINISHED, spoilt) + payload)

    def transforms(
        self,
        table: dict[str, tuple[str, str] | tuple[str, str, dict]],
        also: Callable[[Slots], dict] | dict | None = None,
        bases: tuple[str, ...] = ("old", "new"),
        slot: str | None = None,
    ) -> Callable:
        """Rows are (before, after), or a third thing: what else changes, or is so, as ``also``."""

        @pytest.mark.parametrize("base", bases)
        @each("row", table)
        def test(row, base):
            base = BASES[base]
            every = also(base) if callable(also) else also or {}
            rest = every | (row[2] if len(row) > 2 else {})
            rest = {n: v if isinstance(v, tuple) else (v, v) for n, v in rest.items()}
            self.transformed({**rest, slot or self.slot: row[:2]}, base)

        return test

    def refuses(
        self, table: dict[str, tuple], base: Slots = OLD, slot: str | None = None
    ) -> Callable:
        """Rows are (what is looked for, the nearest lines, what fills the slots)."""

        @each("row", table)
        def test(row):
            self.refused(*row[:2], base, **self._filled(row[2], slot))

        return test

    def unverifies(
        self, table: dict[str, tuple], base: Slots = OLD, slot: str | None = None
    ) -> Callable:
        """Rows are (the promise that is broken, what fills the slots of upstream's script).

        ``apply`` has nothing against it.
        """

        @each("row", table)
        def test(row):
            self.not_verified(row[0], finish(render(base, self._filled(row[1], slot))))

        return test

    def catches(self, table: dict[str, tuple], slot: str | None = None) -> Callable:
        """Rows are (the promise that is broken, what fills the slots of the finished script)."""

        @each("row", table)
        def test(row):
            self.caught(row[0], **self._filled(row[1], slot))

        return test

    def accepts(self, *rows: str | Slots, slot: str | None = None) -> Callable:
        """``verify`` accepts the finished script with a slot filled otherwise, but right."""

        @pytest.mark.parametrize("row", rows)
        def test(row):
            text = render(FINISHED, self._filled(row, slot)) + PAYLOAD
            self.codemod.verify(finished(text))

        return test

    def records(self, before: str | None, **changes: list[tuple]) -> Callable:
        """What the record says of OLD and NEW: (kind, where, code), and where the payload is."""

        @pytest.mark.parametrize("base", BASES)
        def test(base):
            _, patch = apply(render(BASES[base]), self.codemod)
            wanted = changes.get(base, changes.get("both", []))
            assert [(c.kind, c.where, c.code) for c in patch.changes] == wanted
            assert getattr(patch.graft_before, "name", None) == before
            assert all(bool(c.digest) != c.kind.startswith("added") for c in patch.changes)

        return test
