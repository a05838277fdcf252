"""codemods/pair_encoding.py"""

from __future__ import annotations

import pytest

from codemods import pair_encoding
from tests.codemods.helpers import BASES, FINISHED, OLD, Tables, apply, dedent, each, render

of = Tables(pair_encoding, "mapping")

ENCODED = "encode_datasets(raw, encode_pair, tokenizer, dargs, targs)"


def without_size(base):
    """The data class, before and after the argument block_size has gone."""
    before = base["data_class"]
    field = before.index("    block_size")
    stop = before.find("\n\n", field)
    rest = before[stop:] if stop > 0 else ""
    return {"data_class": (before, before[:field].rstrip("\n") + rest)}


def encodes(text: str, names: str = "chunks") -> tuple[str, str]:
    """What is marked by ``- `` goes, all else stays; HERE is where encoding comes."""
    before, after = [], []
    for line in dedent(text).split("\n"):
        indent = line[: len(line) - len(line.lstrip())]
        if line.strip() == "HERE":
            after += ["", f"{indent}{names} = {ENCODED}"]
        elif line.startswith("- "):
            before.append(line[2:])
        else:
            before.append(line.removeprefix("  "))
            after.append(line.removeprefix("  "))
    # Of an indented HERE the two columns of the marks are not part of its indent.
    after = [n.removeprefix("  ") if ENCODED in n else n for n in after]
    return "\n".join(before), "\n".join(after)


DEAD = {
    "one map for all": """
        - chunks = raw.map(lambda rows: tokenizer(rows)[: dargs.block_size], batched=True)
          HERE
        """,
    "bound with an annotation": """
        - size = dargs.block_size
        - def work(rows):
        -     return tokenizer(rows)[:size]
        - chunks: Data = raw.map(work)
          HERE
        """,
    "chained": """
        - chunks = raw.map(tokenizer).map(lambda rows: rows[: dargs.block_size])
          HERE
        """,
    "helpers of helpers": """
        - first = dargs.block_size
        - third = [n + first for n in range(first)]
        - def inner(rows):
        -     def work(row):
        -         return row + third
        -     return [work(r) for r in rows]
        - def outer(rows):
        -     return inner(rows)
        - tokens = raw.map(outer)
          HERE
        - chunks = tokens.map(inner)
        """,
    "branches, loops, with, try, messages, imports": """
        - from itertools import chain
        - if targs.do_train:
        -     limit = dargs.block_size
        - elif targs.do_eval:
        -     logger.info("evaluating")
        -     limit = 16
        - else:
        -     limit, width = 32, chain
        - for n in range(3):
        -     limit += n
        - with no_log() as quiet:
        -     depth = quiet
        - try:
        -     more = limit
        - except ValueError as error:
        -     logger.warning_once("no")
        -     more = error
          "A string that stands by itself."
        - chunks = raw.map(lambda rows: rows[: limit + width + depth + more])
          HERE
        """,
    "messages and checks about them": """
        - size = dargs.block_size or 1024
        - if size > 1024:
        -     raise ValueError("too long")
        - elif size > 512:
        -     logger.warning(f"rather long: {size}")
        - assert size > 0
        - print("chunks of", size)
        - chunks = raw.map(lambda rows: rows[:size])
          HERE
        """,
    "messages where the data is mapped": """
        - with targs.main_process_first():
        -     chunks = raw.map(lambda rows: rows[: dargs.block_size])
        -     logger.info("mapped")
        -     print("mapped")
          HERE
        """,
    "what is counted on the way": """
        - with targs.main_process_first():
        -     count = len(raw)
        -     chunks = raw.map(lambda rows: rows[: dargs.block_size])
          HERE
        - print(count)
        """,
    "mapped or not": """
        - if targs.do_train:
        -     chunks = raw.map(lambda rows: rows[: dargs.block_size])
          HERE
        """,
}
WHAT_SERVED_ONLY_THE_CHUNKS_GOES = {name: encodes(text) for name, text in DEAD.items()}
test_what_served_only_the_chunks_goes = of.transforms(
    WHAT_SERVED_ONLY_THE_CHUNKS_GOES, also=without_size, bases=("old",)
)

STAYS = {
    "what is read elsewhere": """
        - size = dargs.block_size
          shown = 3
        - def work(rows):
        -     return rows[: size + shown]
        - tokens = raw.map(work)
          HERE
          # Shown to the user.
          show(shown)
        - chunks = tokens.map(work)
        """,
    "what a function elsewhere reads": """
          limit = 8
        - chunks = raw.map(lambda rows: rows[: limit + dargs.block_size])
          HERE
          def show():
              return limit
          print(show())
        """,
    "what does more than bind": """
          limit = 8; send("eight")
          state.limit = width = 8
          state["limit"] = depth = 8
          with opened() as file:
        -     size = 8
              file.write("eight")
          if limit > 8:
              send("more")
        - chunks = raw.map(lambda rows: rows[: limit + width + depth + size + dargs.block_size])
          HERE
        """,
    "what adds to something else": """
          if targs.do_train:
        -     limit = 8
              state.count += 1
        - chunks = raw.map(lambda rows: rows[: limit + dargs.block_size])
          HERE
        """,
    "what changes tokenizer, model or data": """
          more = tokenizer.add_tokens(["<x>"])
          tied = model.tie_weights()
          counted = count(raw)
        - chunks = raw.map(lambda rows: rows[: more + tied + counted + dargs.block_size])
          HERE
        """,
    "other statements in between, with their comments": """
          # Say so.
          send("work")  # really
        - tokens = raw.map(lambda rows: rows[: dargs.block_size])
          HERE

          # And again.
          logger.info("more work")
        - chunks = tokens.map(tokenizer)
          # Then the splits.
        """,
    "a decorated helper": """
          @remember
          def work(rows):
              return rows
        - chunks = raw.map(lambda rows: work(rows[: dargs.block_size]))
          HERE
        """,
    "the branch that raises": """
          if dargs.train_file:
        -     chunks = raw.map(lambda rows: rows[: dargs.block_size])
              HERE
          else:
              raise ValueError("no file")
        """,
}
WHAT_SERVES_OTHERS_STAYS = {name: encodes(text) for name, text in STAYS.items()}
test_what_serves_others_stays = of.transforms(
    WHAT_SERVES_OTHERS_STAYS, also=without_size, bases=("old",)
)

READS = {
    "several names": (
        """
        - words = raw.map(tokenizer)
          HERE
        - tokens = words.map(tokenizer)
        - chunks = tokens.map(lambda rows: rows[: dargs.block_size])
          if "train" in words:
              print(tokens["train"])
        """,
        "words = tokens = chunks",
    ),
    "read in between": (
        """
        - tokens = raw.map(tokenizer)
          HERE
          print(len(tokens))
        - chunks = tokens.map(lambda rows: rows[: dargs.block_size])
        """,
        "tokens = chunks",
    ),
    "any split, under any flag": (
        """
        - chunks = raw.map(lambda rows: rows[: dargs.block_size])
          HERE
          if targs.do_train or targs.do_eval:
              first = chunks["train"][0]
          test_rows, others = chunks["test"], chunks[dargs.split]
          for split in chunks:
              logger.info(len(chunks[split]))
        """,
        "chunks",
    ),
    "a function's own names": (
        """
        - def cut(rows):
        -     tokens = rows["text"]
        -     return {"text": [tokens for tokens in tokens][: dargs.block_size]}
        - tokens = raw.map(tokenizer)
          HERE
        - chunks = tokens.map(cut)
        """,
        "chunks",
    ),
}
WHAT_IS_READ_LATER_STAYS_BOUND = {name: encodes(*row) for name, row in READS.items()}
test_what_is_read_later_stays_bound = of.transforms(
    WHAT_IS_READ_LATER_STAYS_BOUND, also=without_size, bases=("old",)
)


@pytest.mark.parametrize("base", BASES)
def test_upstreams_shapes(base):
    # What the rest of main() reads is `chunks` in OLD, and `tokens` and `chunks` in NEW.
    names = {"old": "chunks", "new": "tokens = chunks"}[base]
    mapping = (BASES[base]["mapping"], f"\n{names} = {ENCODED}")
    of.transformed({"mapping": mapping, **without_size(BASES[base])}, BASES[base])


def test_a_long_call_is_broken():
    names = [f"a_long_name_for_the_data_at_step_{i}" for i in range(3)]
    maps = f"{names[0]} = raw.map(f)\n{names[1]} = {names[0]}.map(f)\nchunks = {names[1]}.map(f)"
    read = f"\nif targs.do_eval:\n    print({names[0]}['validation'], 'validation' in {names[1]})"
    call = ENCODED.replace("(", "(\n    ").replace(")", "\n)")
    after = f"\n{names[0]} = {names[1]} = chunks = {call}{read}"
    of.transformed({"mapping": (maps + read, after)})


MAPPING = {"mapping": (OLD["mapping"], f"\nchunks = {ENCODED}")}
FIELDS = {
    "in one line": ("block_size: int = None\n    train_file: str = None", "train_file: str = None"),
    "with a comment of its own": (
        "train_file: str = None\n    # In tokens.\n    block_size: int = None  # or none",
        "train_file: str = None",
    ),
    "between two": ("train_file: str = 1\n    block_size: int = 1\n    seed: int = 1", "train_file: str = 1\n    seed: int = 1"),
    "over several lines": (
        "block_size: Optional[int] = field(\n        default=None,\n    )\n    train_file: str = ''",
        "train_file: str = ''",
    ),
    "a name alike stays": (
        "block_size: int = 1\n    block_size_limit: int = 2\n    train_file: str = ''",
        "block_size_limit: int = 2\n    train_file: str = ''",
    ),
    "another on its line stays": (
        "train_file: str = None\n    block_size: int = 1; seed: int = 2",
        "train_file: str = None\n    seed: int = 2",
    ),
}  # fmt: skip


@each("before, after", FIELDS)
def test_the_argument_goes(before, after):
    head = "@dataclass\nclass DataOptions:\n    "
    of.transformed({"data_class": (head + before, head + after), **MAPPING})


def test_the_argument_goes_by_any_name():
    slots = {n: tuple(t.replace("block_size", "chunk") for t in row) for n, row in
             {**without_size(OLD), **MAPPING}.items()}  # fmt: skip
    of.transformed(slots)


def test_the_argument_goes_with_what_is_said_of_it():
    said = 'print(dargs.block_size)\nif dargs.block_size > 9:\n    raise ValueError("long")\n'
    of.transformed({"end": (said + "f()", "f()"), **without_size(OLD), **MAPPING})


STILL = {
    "read elsewhere": {"end": "trainer.log(dargs.block_size)"},
    "read where it is defined": {
        "data_class": OLD["data_class"]
        + "\n\n    def check(self):\n        self.wide = self.block_size"
    },
}


@each("rows", STILL)
def test_the_argument_that_serves_something_else_stays(rows):
    of.transformed({**MAPPING, **{slot: (t, t) for slot, t in rows.items()}})


PREPARE = """
def prepare(data, words, options, run):
    def work(rows):
        return words(rows)[: options.block_size]

    done = data.map(work)
    return {}
"""
GIVEN = "raw, tokenizer, dargs, targs"
THERE = "\n    done = encode_datasets(data, encode_pair, words, options, run)\n    return {}"
FUNCTIONS = {
    "returns them": ("done", f"chunks = prepare({GIVEN})"),
    "returns their splits": (
        'done["train"], done["validation"]',
        f"train_rows, eval_rows = prepare({GIVEN})",
    ),
}


@each("returned, call", FUNCTIONS)
def test_mapped_in_a_function_which_has_names_of_its_own(returned, call):
    before = dedent(PREPARE).format(returned)
    after = "def prepare(data, words, options, run):\n" + THERE.format(returned)
    splits = OLD["splits"] if returned == "done" else ""
    rows = {"helper": (before, after), "mapping": (call, call), "splits": (splits, splits)}
    of.transformed({**rows, **without_size(OLD)})


def test_helpers_at_module_level_go():
    helper = "def cut(rows):\n    return rows\n\n\ndef helper(rows):\n    return rows"
    before = "chunks = raw.map(lambda rows: cut(rows)[: dargs.block_size])"
    rows = {
        "helper": (helper, helper[helper.index("def helper") :]),
        "mapping": (before, f"\nchunks = {ENCODED}"),
    }
    of.transformed({**rows, **without_size(OLD)})


@pytest.mark.parametrize("base", BASES)
def test_the_record(base):
    text = render(BASES[base])
    _, patch = apply(text, pair_encoding)
    assert patch.graft_before.name == "main"
    assert [c.kind for c in patch.changes].count("changed") == 1
    removed = [c for c in patch.changes if c.kind == "removed"]
    assert removed[-1].what == "the argument block_size, which measured the chunks"
    bound = {"old": ["size", "cut", "chunks"]}
    bound["new"] = ["names", "column", "to_tokens", "limit", "size", "cut", "chunks"]
    assert [c.what for c in removed[:-1]] == [f"text chunking: {n}" for n in bound[base]]
    lines = text.splitlines()
    for change, name in zip(removed[:-1], bound[base], strict=True):
        first, last = change.lines
        assert name in "\n".join(lines[first - 1 : last])
        assert change.digest


FROM_MAP = (
    "to come from map() and from nothing else"
    " … What else is done to it would be lost with the chunking"
)
AS_LOADED = "'raw' to stay as loaded once it is mapped"
NOTHING_ELSE = "statements that map the data and do nothing else"
AFTER = " to be read after the mapping … Something besides the data comes out"
MAPS = "tokens = raw.map(tokenizer)\n{}\nchunks = tokens.map(cut)"


def between(looked_for: str, line: str, nearest: str | None = None) -> tuple[str, str, str]:
    return looked_for, nearest or line, MAPS.format(line)


REFUSED = {
    "texts are cleaned on the way": (
        "texts to be tokenised as they are … Do that to the data before",
        "return tokenizer([t.strip() for t in rows['text']])",
        "def to_tokens(rows):\n    return tokenizer([t.strip() for t in rows['text']])\n"
        "chunks = raw.map(to_tokens)",
    ),
    "texts go through another package": (
        "texts to be tokenised as they are",
        "return tokenizer(clean(rows['text']))",
        {
            "imports": f"{OLD['imports']}\nfrom wiki import clean",
            "mapping": "def to_tokens(rows):\n    return tokenizer(clean(rows['text']))\n"
            "chunks = raw.map(to_tokens)",
        },
    ),
    "no data is mapped": ("the loaded data to be mapped", "", "chunks = cut(raw)"),
    "nothing is loaded": (
        "the loaded data to be mapped",
        "chunks = raw.map(f)",
        {"load": "raw = read(dargs.train_file)", "mapping": "chunks = raw.map(f)"},
    ),
    "another way to split them": (
        "the loaded data to be mapped",
        "chunks = raw['train'].map(f)",
        "chunks = raw['train'].map(f)",
    ),
    "two data sets are": (
        "one name for the loaded data in main(), not 2 (raw, more)",
        "raw = load_dataset('a')\nmore = load_dataset('b')\nmore = more.map(tokenizer)",
        {
            "load": "raw = load_dataset('a')\nmore = load_dataset('b')",
            "mapping": "more = more.map(tokenizer)\nchunks = raw.map(tokenizer)",
        },
    ),
    "in two functions": (
        "the data to be mapped in one function",
        "return raw.map(len)\nchunks = raw.map(cut)",
        {
            "helper": "def to_tokens(raw):\n    return raw.map(len)",
            "mapping": "tokens = to_tokens(raw)\nchunks = raw.map(cut)",
        },
    ),
    "under the raw data's name": (
        AS_LOADED,
        "raw = raw.map(tokenizer)",
        "raw = raw.map(tokenizer)\nchunks = raw.map(cut)",
    ),
    "the raw data is shuffled": between(AS_LOADED, "raw = raw.shuffle()"),
    "a split is added to it": between(AS_LOADED, "raw['test'] = raw['train']"),
    "a split is taken out of it": between(AS_LOADED, "raw.pop('test')"),
    "a split of it is deleted": between(AS_LOADED, "del raw['test']"),
    "its name is the mapped data's later": (AS_LOADED, "raw = chunks", {"end": "raw = chunks"}),
    "shuffled at once": (
        f"(chunks) {FROM_MAP}",
        "chunks = shuffle(raw.map(tokenizer))",
        "chunks = shuffle(raw.map(tokenizer))",
    ),
    "shuffled on the way": between(f"(tokens, chunks) {FROM_MAP}", "tokens = tokens.shuffle(1)"),
    "filtered on the way": (
        f"(tokens, chunks) {FROM_MAP}",
        "fewer = tokens.filter(len)",
        "tokens = raw.map(tokenizer)\nfewer = tokens.filter(len)\nchunks = fewer.map(cut)",
    ),
    "handed on the way": between(f"(tokens, chunks) {FROM_MAP}", "tokens = fewer(tokens)"),
    "filtered within a branch": (
        f"(chunks) {FROM_MAP}",
        "chunks = chunks.filter(len)",
        "with here:\n    chunks = raw.map(tokenizer)\n    if dargs:\n        chunks = chunks.filter(len)",
    ),
    "a part of something": (
        NOTHING_ELSE,
        "data['all'] = raw.map(tokenizer)",
        "data['all'] = raw.map(tokenizer)\nchunks = data['all']",
    ),
    "returned at once": (
        NOTHING_ELSE,
        "return data.map(f)",
        {"helper": "def work(data):\n    return data.map(f)", "mapping": "chunks = work(raw)"},
    ),
    "in a definition": (
        "this to stand in main() itself, not in a definition",
        "done = raw.map(tokenizer)",
        "def work():\n    done = raw.map(tokenizer)\n    return done\nchunks = work()",
    ),
    "what is read later is not data alone": (
        f"only mapped data (chunks){AFTER}",
        "send(count)",
        "with here:\n    count = len(raw)\n    chunks = raw.map(tokenizer)\nsend(count)",
    ),
    "nobody reads the mapped data": (
        f"only mapped data (tokens){AFTER}",
        "tokens = raw.map(tokenizer)",
        {"mapping": "tokens = raw.map(tokenizer)", "splits": "train_rows = eval_rows = None"},
    ),
    "done already": ("the loaded data to be mapped", "", f"chunks = {ENCODED}"),
}
test_refused = of.refuses(REFUSED)

NO_MORE, ONCE = "nothing else maps the data", "chunks is bound once, to the encoded data"
RAW = "the Trainer's train_dataset is encoded"
VERIFY_REFUSES = {
    "bound again later": (ONCE, f"{OLD['splits']}\nchunks = None"),
    "raw rows": (RAW, "train_rows = raw['train']\neval_rows = chunks['validation']"),
    "encoded on a condition, used in any case": (
        "the data is encoded wherever it is used",
        {"mapping": "if dargs:\n    chunks = raw.map(f)\nelse:\n    send('none')"},
    ),
}
test_verify_refuses = of.unverifies(VERIFY_REFUSES, slot="splits")

LORA = "model = add_lora(model, tokenizer, stop_ids, margs, targs)\ntrainer = AdapterTrainer(model=model, "
TWICE, GIVES = (
    "encode_datasets is called once",
    "the raw data is encoded with the series' encode_pair",
)
VERIFY_CATCHES = {
    "the tokenizer grows afterwards": (
        "the tokenizer is complete when the data is encoded",
        f"chunks = {ENCODED}\ntokenizer.add_special_tokens({{}})",
    ),
    "nothing is encoded": (TWICE, "chunks = raw"),
    "twice": (TWICE, f"chunks = {ENCODED}\ntokens = {ENCODED}"),
    "only sometimes": (
        "the data is encoded wherever it is used",
        f"if targs.do_train:\n    chunks = {ENCODED}",
    ),
    "not bound": ("the encoded data is bound to a name", ENCODED),
    "bound again": (ONCE, f"chunks = {ENCODED}\nprint(chunks)\nchunks = raw"),
    "bound again by a loop": (ONCE, f"chunks = {ENCODED}\nfor chunks in raw:\n    pass"),
    "bound before": (ONCE, {"load": f"{FINISHED['load']}\nchunks = raw"}),
    "the data mapped once more": (NO_MORE, f"chunks = {ENCODED}\nmore = raw.map(len)"),
    "filtered and mapped": (NO_MORE, f"chunks = {ENCODED}\na = raw.filter(f)\nb = a.map(len)"),
    "raw rows": (
        RAW,
        {"splits": "train_rows = raw['train']\neval_rows = chunks['validation']"},
    ),
    "raw rows after all": (RAW, {"splits": f"{OLD['splits']}\ntrain_rows = raw['train']"}),
    "raw rows at once": (
        "the Trainer's eval_dataset is encoded",
        {"trainer": f"{LORA}train_dataset=train_rows, eval_dataset=raw['validation'])"},
    ),
    "no train rows": (
        "the Trainer gets a train_dataset",
        {"trainer": f"{LORA}eval_dataset=eval_rows)"},
    ),
    "no evaluation rows": (
        "the Trainer gets a eval_dataset",
        {"trainer": f"{LORA}train_dataset=train_rows)"},
    ),
    "the splits are swapped": (
        "the Trainer's train_dataset is the split 'train'",
        {"splits": "train_rows = chunks['validation']\neval_rows = chunks['train']"},
    ),
    "arguments swapped": (GIVES, f"chunks = {ENCODED.replace('dargs, targs', 'targs, dargs')}"),
    "another function encodes": (
        GIVES,
        f"chunks = {ENCODED.replace('encode_pair', 'encode_prompt')}",
    ),
    "with the model": (GIVES, f"chunks = {ENCODED.replace('dargs', 'model, dargs')}"),
    "before the tokenizer is loaded": (
        "tokenizer is bound wherever encode_datasets is given it",
        {"load": f"{FINISHED['load']}\nchunks = {ENCODED}", "mapping": ""},
    ),
}
test_verify_catches = of.catches(VERIFY_CATCHES)
test_verify_accepts = of.accepts(
    f"tokens = chunks = {ENCODED}",
    f"chunks = {ENCODED.replace('(raw', '(' + chr(10) + '    raw')}",
    f"chunks = {ENCODED}\nmap(len, [])",
    {"splits": OLD["splits"] + "\ntrain_rows = train_rows.select(range(3))"},
    {"splits": OLD["splits"] + "\nmore = chunks['test']\ntargs.do_eval = True"},
)
