"""codemods/pair_encoding.py"""

from __future__ import annotations

import pytest

from codemods import pair_encoding
from tests.codemods.helpers import (
    BASES,
    FINISHED,
    NEW,
    OLD,
    apply,
    check_accepted,
    check_caught,
    check_refused,
    check_transformed,
    check_unverified,
    dedent,
    render,
)

TO_TOKENS = "encode_datasets(raw, encode_pair, tokenizer, model, dargs, targs)"


def without_size(base):
    """The data class, before and after the argument block_size has gone."""
    before = base["data_class"]
    field = before.index("    block_size")
    stop = before.find("\n\n", field)
    rest = before[stop:] if stop > 0 else ""
    return {"data_class": (before, before[:field].rstrip("\n") + rest)}


# What the rest of main() reads is `chunks` in OLD, and `tokens` and `chunks` in NEW.
LORA = "model = add_lora(model, tokenizer, stop_ids, margs, targs)"
TRANSFORMED = {
    "as it was first": (OLD["mapping"], f"\nchunks = {TO_TOKENS}", OLD),
    "as it is now": (NEW["mapping"], f"\ntokens = chunks = {TO_TOKENS}", NEW),
    "what is read later decides the names": (
        OLD["mapping"],
        f"\ntokens = chunks = {TO_TOKENS}",
        NEW,
    ),
    "what nobody reads later is not bound": (NEW["mapping"], f"\nchunks = {TO_TOKENS}", OLD),
    "one map for all": (
        """
        chunks = raw.map(tokenizer, batched=True)
        """,
        f"""

        chunks = {TO_TOKENS}
        """,
        OLD,
    ),
    "bound with an annotation": (
        """
        def work(rows):
            return tokenizer(rows)
        chunks: Data = raw.map(work)
        """,
        f"""

        chunks = {TO_TOKENS}
        """,
        OLD,
    ),
    "helpers of helpers go with them": (
        """
        first = 1
        second = first + 1
        third = [n + second for n in range(first)]
        def inner(rows):
            def work(row):
                return row + third
            return [work(r) for r in rows]
        def outer(rows):
            return inner(rows)
        tokens = raw.map(outer)
        chunks = tokens.map(inner)
        """,
        f"""

        chunks = {TO_TOKENS}
        """,
        OLD,
    ),
    "what is read elsewhere stays": (
        """
        shown = 3
        limit = 8
        def work(rows):
            return rows[:limit + shown]
        tokens = raw.map(work)
        # Shown to the user.
        print(shown)
        chunks = tokens.map(work)
        """,
        f"""
        shown = 3
        # Shown to the user.
        print(shown)

        chunks = {TO_TOKENS}
        """,
        OLD,
    ),
    "what is read by a nested function elsewhere stays": (
        """
        limit = 8
        def work(rows):
            return rows[:limit]
        chunks = raw.map(work)
        def show():
            return limit
        print(show())
        """,
        f"""
        limit = 8

        chunks = {TO_TOKENS}
        def show():
            return limit
        print(show())
        """,
        OLD,
    ),
    "what does more than bind stays": (
        """
        limit = 8; print("eight")
        state.limit = width = 8
        state["limit"] = depth = 8
        with opened() as file:
            size = 8
            file.write("eight")
        if limit > 8:
            print("more")
        chunks = raw.map(lambda rows: rows[:limit + width + depth + size])
        """,
        f"""
        limit = 8; print("eight")
        state.limit = width = 8
        state["limit"] = depth = 8
        with opened() as file:
            size = 8
            file.write("eight")
        if limit > 8:
            print("more")

        chunks = {TO_TOKENS}
        """,
        OLD,
    ),
    "what adds to something else stays": (
        """
        if targs.do_train:
            limit = 8
            state.count += 1
        if targs.do_eval:
            width = 8
            state["count"] += 1
        chunks = raw.map(lambda rows: rows[: limit + width])
        """,
        f"""
        if targs.do_train:
            limit = 8
            state.count += 1
        if targs.do_eval:
            width = 8
            state["count"] += 1

        chunks = {TO_TOKENS}
        """,
        OLD,
    ),
    "what only binds goes: branches, loops, with, try, logs": (
        """
        if targs.do_train:
            limit = 8
        elif targs.do_eval:
            logger.info("evaluating")
            limit = 16
        else:
            limit, width = 32, 4
        for n in range(3):
            limit += n
        with no_log() as quiet:
            depth = quiet
        try:
            more = limit
        except ValueError as error:
            logger.warning_once("no")
            more = error
        tok_log = get_logger("tokens")
        "A string that stands by itself."
        chunks = raw.map(lambda rows: rows[: limit + width + depth + more + tok_log])
        """,
        f"""
        "A string that stands by itself."

        chunks = {TO_TOKENS}
        """,
        OLD,
    ),
    "other statements in between stay, with their comments": (
        """
        def work(rows):
            return rows
        # Say so.
        print("work")  # really
        tokens = raw.map(work)

        # And again.
        logger.info("more work")

        chunks = tokens.map(work)
        # Then the splits.
        """,
        f"""
        # Say so.
        print("work")  # really

        # And again.
        logger.info("more work")

        chunks = {TO_TOKENS}
        # Then the splits.
        """,
        OLD,
    ),
    "a decorated helper stays: decorators may do anything": (
        """
        @remember
        def work(rows):
            return rows
        chunks = raw.map(work)
        """,
        f"""
        @remember
        def work(rows):
            return rows

        chunks = {TO_TOKENS}
        """,
        OLD,
    ),
    "an import that only the chunking needs goes": (
        """
        from itertools import chain
        chunks = raw.map(chain)
        """,
        f"""

        chunks = {TO_TOKENS}
        """,
        OLD,
    ),
    "three names are read": (
        """
        words = raw.map(tokenizer)
        tokens = words.map(tokenizer)
        chunks = tokens.map(tokenizer)
        if targs.do_train and "train" in words:
            print(tokens["train"])
        """,
        f"""

        words = tokens = chunks = {TO_TOKENS}
        if targs.do_train and "train" in words:
            print(tokens["train"])
        """,
        OLD,
    ),
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize(("before", "after", "base"), TRANSFORMED.values(), ids=TRANSFORMED)
def test_transformed(before, after, base, newline):
    also = without_size(base)
    check_transformed(
        pair_encoding, before, after, slot="mapping", also=also, base=base, newline=newline
    )


FIELDS = {
    "in one line": (
        "    block_size: int = None\n    train_file: str = None",
        "    train_file: str = None",
    ),
    "with a comment of its own": (
        "    train_file: str = None\n    # In tokens.\n    block_size: int = None  # or none",
        "    train_file: str = None",
    ),
    "between two": (
        "    train_file: str = None\n    block_size: int = None\n    seed: int = 1",
        "    train_file: str = None\n    seed: int = 1",
    ),
    "over several lines": (
        "    block_size: Optional[int] = field(\n        default=None,\n    )\n    train_file: str = ''",
        "    train_file: str = ''",
    ),
    "a name alike stays": (
        "    block_size: int = 1\n    block_size_limit: int = 2\n    train_file: str = ''",
        "    block_size_limit: int = 2\n    train_file: str = ''",
    ),
}


@pytest.mark.parametrize(("before", "after"), FIELDS.values(), ids=FIELDS)
def test_the_argument_goes(before, after):
    head = "@dataclass\nclass DataOptions:\n"
    check_transformed(
        pair_encoding,
        head + before,
        head + after,
        slot="data_class",
        also={"mapping": (OLD["mapping"], f"\nchunks = {TO_TOKENS}")},
    )


def test_other_names():
    names = {"raw": "rows_of", "tokenizer": "splitter", "dargs": "the_data", "targs": "run"}
    change = (
        "load",
        "tokenizer",
        "mapping",
        "parse",
        "splits",
        "trainer",
        "metric",
        "train",
        "resize",
    )
    slots = {}
    for slot in (*change, "evaluate"):
        text = OLD[slot]
        for old, new in names.items():
            text = text.replace(f"{old}.", f"{new}.").replace(f"{old} =", f"{new} =")
            text = text.replace(f"({old})", f"({new})").replace(f" {old} ", f" {new} ")
            text = text.replace(f"{old},", f"{new},").replace(f"={old}", f"={new}")
        slots[slot] = (text, text)
    mapping = slots.pop("mapping")[0].replace("tokenizer(", "splitter(")
    check_transformed(
        pair_encoding,
        mapping,
        "\nchunks = encode_datasets(rows_of, encode_pair, splitter, model, the_data, run)",
        slot="mapping",
        also={**slots, **without_size(OLD)},
    )


def test_a_long_call_is_broken():
    names = [f"a_long_name_for_the_data_at_step_{i}" for i in range(3)]
    before = f"{names[0]} = raw.map(f)\n{names[1]} = {names[0]}.map(f)\nchunks = {names[1]}.map(f)"
    read = f"\nif targs.do_eval:\n    print({names[0]}['validation'], 'validation' in {names[1]})"
    check_transformed(
        pair_encoding,
        before + read,
        f"\n{names[0]} = {names[1]} = chunks = encode_datasets(\n"
        f"    raw, encode_pair, tokenizer, model, dargs, targs\n){read}",
        slot="mapping",
        also=without_size(OLD),
    )


@pytest.mark.parametrize("base", BASES)
def test_the_record(base):
    _, patch = apply(render(BASES[base]), pair_encoding)
    kinds = [c.kind for c in patch.changes]
    assert kinds[-2:] == ["changed", "removed"]
    assert set(kinds[:-2]) == {"removed"}
    assert all(c.digest for c in patch.changes)
    removed = [c.what for c in patch.changes if c.kind == "removed"]
    assert removed[-1] == "the argument block_size, which measured the chunks"
    bound = {"old": ["tokens", "size", "cut"]}
    bound["new"] = ["names", "column", "to_tokens", "tokens", "limit", "size", "cut"]
    assert removed[:-1] == [f"text chunking: {name}" for name in bound[base]]
    assert patch.graft_before.name.value == "main"


def test_what_it_says_of_lines_is_true():
    text = render(NEW)
    _, patch = apply(text, pair_encoding)
    lines = text.splitlines()
    for change in patch.changes[:-2]:
        first, last = change.lines
        names = change.what.removeprefix("text chunking: ").split(", ")
        chunk = "\n".join(lines[first - 1 : last])
        assert all(name in chunk for name in names)
        assert lines[first - 1].strip()
        assert not lines[first - 1].strip().startswith("#")


REFUSED = {
    "no data is mapped": (
        {"mapping": "chunks = cut(raw)"},
        "found 0 names that load_dataset's result is bound to and that are mapped",
        (OLD["load"],),
        "",
    ),
    "the data is mapped under another name": (
        {"mapping": "rows = raw\nchunks = rows.map(tokenizer)"},
        "found 0 names that load_dataset's result is bound to and that are mapped",
        (OLD["load"], "chunks = rows.map(tokenizer)"),
        "",
    ),
    "the data is mapped in a helper": (
        {
            "helper": "def to_tokens(raw):\n    return raw.map(len)",
            "mapping": "tokens = to_tokens(raw)\nchunks = tokens.map(cut)",
        },
        "'raw' to be mapped in main()",
        ("return raw.map(len)", "chunks = tokens.map(cut)"),
        "",
    ),
    "nothing is loaded": (
        {"load": "raw = read(dargs.train_file)"},
        "found 0 names that load_dataset's result is bound to and that are mapped",
        (
            'tokens = raw.map(lambda rows: tokenizer(rows["text"]), batched=True)',
            "chunks = tokens.map(cut, batched=True)",
        ),
        "",
    ),
    "two data sets are": (
        {
            "load": "raw = load_dataset('a')\nmore = load_dataset('b')",
            "mapping": "more = more.map(tokenizer)\nchunks = raw.map(tokenizer)",
        },
        "found 2 names that load_dataset's result is bound to and that are mapped",
        (
            "raw = load_dataset('a')",
            "more = load_dataset('b')",
            "more = more.map(tokenizer)",
            "chunks = raw.map(tokenizer)",
        ),
        "",
    ),
    "the mapped data keeps the raw data's name": (
        {"mapping": "raw = raw.map(tokenizer)\nchunks = raw.map(tokenizer)"},
        "'raw' to stay as loaded while it is mapped",
        ("raw = raw.map(tokenizer)", "chunks = raw.map(tokenizer)"),
        "",
    ),
    "the raw data is changed in between": (
        {"mapping": "tokens = raw.map(tokenizer)\nraw = raw.shuffle()\nchunks = tokens.map(len)"},
        "'raw' to stay as loaded while it is mapped",
        ("tokens = raw.map(tokenizer)", "chunks = tokens.map(len)"),
        "",
    ),
    "a split is added in between": (
        {
            "mapping": "tokens = raw.map(tokenizer)\nraw['test'] = raw['train']\nchunks = tokens.map(len)"
        },
        "'raw' to stay as loaded while it is mapped",
        ("raw['test'] = raw['train']",),
        "",
    ),
    "a split is taken out in between": (
        {"mapping": "tokens = raw.map(tokenizer)\nraw.pop('test')\nchunks = tokens.map(len)"},
        "'raw' to stay as loaded while it is mapped",
        ("raw.pop('test')",),
        "",
    ),
    "a split is deleted in between": (
        {"mapping": "tokens = raw.map(tokenizer)\ndel raw['test']\nchunks = tokens.map(len)"},
        "'raw' to stay as loaded while it is mapped",
        ("del raw['test']",),
        "",
    ),
    "the mapped data has no name": (
        {"mapping": "chunks = shuffle(raw.map(tokenizer))"},
        "the mapped data to be assigned to a plain name",
        ("chunks = shuffle(raw.map(tokenizer))",),
        "",
    ),
    "the mapped data is a part of something": (
        {"mapping": "data['all'] = raw.map(tokenizer)\nchunks = data['all']"},
        "the mapped data to be assigned to a plain name",
        ("data['all'] = raw.map(tokenizer)",),
        "",
    ),
    "mapping does something else": (
        {
            "mapping": """
            with targs.main_process_first():
                chunks = raw.map(tokenizer)
                print("mapped")
            """
        },
        "statements that map the data and do nothing else",
        ("with targs.main_process_first():",),
        "",
    ),
    "the mapped data is shuffled on the way": (
        {
            "mapping": "tokens = raw.map(tokenizer)\ntokens = tokens.shuffle(seed=1)\nchunks = tokens.map(len)"
        },
        "the mapped data (tokens, chunks) to come from map() and from nothing else",
        ("tokens = tokens.shuffle(seed=1)",),
        "What else is done to it would be lost with the chunking",
    ),
    "the mapped data is filtered within a branch": (
        {
            "mapping": """
            with targs.main_process_first():
                chunks = raw.map(tokenizer)
                if dargs.train_file:
                    chunks = chunks.filter(len)
            """
        },
        "the mapped data (chunks) to come from map() and from nothing else",
        ("chunks = chunks.filter(len)",),
        "What else is done to it would be lost with the chunking",
    ),
    "a split that is not encoded": (
        {"splits": OLD["splits"] + '\ntrainer_rows = chunks["test"]'},
        "the mapped data to be asked for its splits train and validation only",
        ('trainer_rows = chunks["test"]',),
        "Teach encode_datasets in patches/prompt_response.py to encode that split too",
    ),
    "a split named at run time": (
        {"splits": OLD["splits"] + "\nother_rows = chunks[dargs.split]"},
        "the mapped data to be asked for its splits train and validation only",
        ("other_rows = chunks[dargs.split]",),
        "Teach encode_datasets in patches/prompt_response.py to encode that split too",
    ),
    "a split that is not encoded, by another name": (
        {"splits": OLD["splits"] + '\nrows = chunks\ntest_rows = rows["test"]'},
        "the mapped data to be asked for its splits train and validation only",
        ('test_rows = rows["test"]',),
        "Teach encode_datasets in patches/prompt_response.py to encode that split too",
    ),
    "a split that is used whatever the arguments": (
        {"splits": OLD["splits"] + '\nsome_rows = chunks["train"]'},
        "the split 'train' of the mapped data to be used under do_train only",
        ('some_rows = chunks["train"]',),
        "No other split is encoded than those the run is asked to use",
    ),
    "a split that is used for another reason": (
        {"splits": OLD["splits"] + '\nif targs.do_train:\n    rows = chunks["validation"]'},
        "the split 'validation' of the mapped data to be used under do_eval only",
        ('rows = chunks["validation"]',),
        "No other split is encoded than those the run is asked to use",
    ),
    "a split is taken out of the mapped data": (
        {"splits": OLD["splits"] + '\nchunks.pop("validation")'},
        "the mapped data to be asked for its splits train and validation only",
        ('chunks.pop("validation")',),
        "Teach encode_datasets in patches/prompt_response.py to encode that split too",
    ),
    "a split of the mapped data is set": (
        {"splits": OLD["splits"] + '\nif targs.do_train:\n    chunks["train"] = raw["train"]'},
        "the mapped data to be asked for its splits train and validation only",
        ('chunks["train"] = raw["train"]',),
        "Teach encode_datasets in patches/prompt_response.py to encode that split too",
    ),
    "whatever splits the mapped data has": (
        {"splits": OLD["splits"] + "\nfor split in chunks:\n    print(split)"},
        "the mapped data to be asked for its splits train and validation only",
        ("for split in chunks:",),
        "Teach encode_datasets in patches/prompt_response.py to encode that split too",
    ),
    "how many splits the mapped data has": (
        {"splits": OLD["splits"] + "\nprint(len(chunks))"},
        "the mapped data to be asked for its splits train and validation only",
        ("print(len(chunks))",),
        "Teach encode_datasets in patches/prompt_response.py to encode that split too",
    ),
    "is there a split, whatever the arguments": (
        {"splits": OLD["splits"] + '\nassert "train" in chunks'},
        "the split 'train' of the mapped data to be used under do_train only",
        ('assert "train" in chunks',),
        "No other split is encoded than those the run is asked to use",
    ),
    "the raw data's name is the mapped data's later": (
        {"splits": OLD["splits"] + "\nraw = chunks"},
        "'raw' to stay the loaded data, for prediction",
        ("raw = chunks",),
        "",
    ),
    "a filter in between": (
        {
            "mapping": """
            tokens = raw.map(tokenizer)
            fewer = tokens.filter(len)
            chunks = fewer.map(len)
            """
        },
        "the mapped data to be asked for its splits train and validation only",
        ("fewer = tokens.filter(len)",),
        "Teach encode_datasets in patches/prompt_response.py to encode that split too",
    ),
    "a message about the mapped data": (
        {
            "mapping": """
            with targs.main_process_first():
                chunks = raw.map(tokenizer)
                logger.info("mapped")
            """
        },
        "the statements that map the data to end with that",
        ('logger.info("mapped")',),
        "",
    ),
    "the raw data's name is taken by a function": (
        {
            "mapping": """
            tokens = raw.map(tokenizer)

            def forget():
                nonlocal raw
                raw = None

            forget()
            chunks = tokens.map(cut)
            """
        },
        "'raw' to stay the loaded data, for prediction",
        ("raw = None",),
        "",
    ),
    "something else is loaded on the way": (
        {
            "mapping": """
            with targs.main_process_first():
                chunks = raw.map(tokenizer)
                more = load_dataset("more")
            """
        },
        "statements that map the data and do nothing else",
        ("with targs.main_process_first():",),
        "",
    ),
    "a check that fails on the way": (
        {
            "mapping": """
            if dargs.train_file:
                chunks = raw.map(tokenizer)
            else:
                raise ValueError("no file")
            """
        },
        "statements that map the data and do nothing else",
        ("if dargs.train_file:",),
        "",
    ),
    "an assertion on the way": (
        {
            "mapping": """
            with targs.main_process_first():
                chunks = raw.map(tokenizer)
                assert dargs.train_file
            """
        },
        "statements that map the data and do nothing else",
        ("with targs.main_process_first():",),
        "",
    ),
    "mapped in a function of its own": (
        {
            "mapping": """
            def work():
                done = raw.map(tokenizer)
                return done
            chunks = work()
            """
        },
        "only mapped data (done) to be read after the mapping; read are: work",
        ("def work():",),
        "Something besides the data comes out of the statements that chunk the text",
    ),
    "what is read later is not data alone": (
        {
            "mapping": """
            with targs.main_process_first():
                count = len(raw)
                chunks = raw.map(tokenizer)
            print(count)
            """
        },
        "only mapped data (chunks) to be read after the mapping; read are: chunks, count",
        ("with targs.main_process_first():",),
        "Something besides the data comes out of the statements that chunk the text",
    ),
    "nobody reads the mapped data": (
        {"mapping": "tokens = raw.map(tokenizer)", "splits": "train_rows = eval_rows = None"},
        "only mapped data (tokens) to be read after the mapping; read are: none",
        ("tokens = raw.map(tokenizer)",),
        "Something besides the data comes out of the statements that chunk the text",
    ),
    "mapped data is read in between": (
        {
            "mapping": """
            tokens = raw.map(tokenizer)
            print(len(tokens))
            chunks = tokens.map(cut)
            """
        },
        "what reads tokens to come after the data is mapped",
        ("print(len(tokens))",),
        "",
    ),
    "no argument block_size": (
        {"data_class": "class DataOptions:\n    train_file: str = None\n    chunk: int = 1"},
        "found no field 'block_size' among the data arguments",
        ("class DataOptions:",),
        "",
    ),
    "already done": (
        {"mapping": f"chunks = {TO_TOKENS}"},
        "found 0 names that load_dataset's result is bound to and that are mapped",
        (OLD["load"],),
        "",
    ),
    "parsed in one function, trained in another": (
        {
            "parse": "margs, dargs, targs = read()",
            "helper": "def read():\n    "
            "return HfArgumentParser((ModelOptions, DataOptions, TrainingArguments)).parse_dict({})",
        },
        "one function that both parses the arguments and makes the Trainer",
        (
            "return HfArgumentParser((ModelOptions, DataOptions, TrainingArguments)).parse_dict({})",
            "trainer = Trainer(",
        ),
        "Upstream may have split main(); the edits need re-anchoring",
    ),
}


@pytest.mark.parametrize(("filled", "looked_for", "nearest", "hint"), REFUSED.values(), ids=REFUSED)
def test_refused(filled, looked_for, nearest, hint):
    check_refused(pair_encoding, looked_for, nearest=nearest, hint=hint, **filled)


UNVERIFIED = {
    "what reads block_size stays": (
        {"evaluate": OLD["evaluate"] + "\nprint(dargs.block_size)"},
        "nothing reads block_size any more",
    ),
    "a check of block_size stays, so what it reads does": (
        {
            "mapping": """
            block_size = dargs.block_size or 1024
            if block_size > 1024:
                raise ValueError("too long")
            chunks = raw.map(lambda rows: rows[:block_size])
            """
        },
        "nothing reads block_size any more",
    ),
    "the class itself reads block_size": (
        {
            "data_class": """
            @dataclass
            class DataOptions:
                train_file: str = None
                block_size: int = 1

                def __post_init__(self):
                    assert self.block_size > 0
            """
        },
        "nothing reads block_size any more",
    ),
    "a split is mapped later": (
        {"splits": OLD["splits"] + '\nextra = raw["train"].map(len)'},
        "nothing else maps the data",
    ),
    "the mapped data is bound again later": (
        {"splits": OLD["splits"] + "\nchunks = None"},
        "chunks is bound once, to the encoded data",
    ),
    "mapped in one branch only": (
        {
            "mapping": """
            if targs.do_train:
                chunks = raw.map(tokenizer)
            """,
            "splits": "if targs.do_train:\n    train_rows = chunks['train']",
        },
        "the Trainer's eval_dataset is a split of the encoded data",
    ),
}


@pytest.mark.parametrize(("filled", "promise"), UNVERIFIED.values(), ids=UNVERIFIED)
def test_verify_refuses_what_apply_let_pass(filled, promise):
    check_unverified(pair_encoding, promise, **filled)


@pytest.mark.parametrize(
    "statement",
    [
        "added = tokenizer.add_tokens(['<x>'])",
        "added = model.tie_weights()",
        "added = raw.pop('x')",
    ],
)
def test_a_statement_that_changes_something_stays(statement):
    check_transformed(
        pair_encoding,
        f"{statement}\nchunks = raw.map(lambda rows: rows[:added])",
        f"{statement}\n\nchunks = {TO_TOKENS}",
        slot="mapping",
        also=without_size(OLD),
    )


def test_a_field_on_the_same_line_as_block_size_stays():
    head = "@dataclass\nclass DataOptions:\n    train_file: str = None\n"
    check_transformed(
        pair_encoding,
        head + "    block_size: int = 1; seed: int = 2",
        head + "    seed: int = 2",
        slot="data_class",
        also={"mapping": (OLD["mapping"], f"\nchunks = {TO_TOKENS}")},
    )


CAUGHT = {
    "nothing is encoded": ({"mapping": "chunks = raw"}, "encode_datasets is called once in main()"),
    "twice": (
        {"mapping": f"chunks = {TO_TOKENS}\ntokens = {TO_TOKENS}"},
        "encode_datasets is called once in main()",
    ),
    "only sometimes": (
        {"mapping": f"if targs.do_train:\n    chunks = {TO_TOKENS}"},
        "the data is encoded whatever the arguments",
    ),
    "not bound": ({"mapping": TO_TOKENS}, "the encoded data is bound to a name"),
    "bound again": (
        {"mapping": f"chunks = {TO_TOKENS}\nprint(chunks)\nchunks = raw"},
        "chunks is bound once, to the encoded data",
    ),
    "bound again by a loop": (
        {"mapping": f"chunks = {TO_TOKENS}\nprint(chunks)\nfor chunks in raw:\n    pass"},
        "chunks is bound once, to the encoded data",
    ),
    "bound before": (
        {"load": FINISHED["load"] + "\nchunks = raw"},
        "chunks is bound once, to the encoded data",
    ),
    "mapped once more": (
        {"mapping": f"chunks = {TO_TOKENS}\nmore = chunks.map(len)"},
        "nothing else maps the data",
    ),
    "mapped in a nested function": (
        {"mapping": f"chunks = {TO_TOKENS}\ndef work():\n    return raw['train'].map(len)"},
        "nothing else maps the data",
    ),
    "block_size is read": (
        {"mapping": f"chunks = {TO_TOKENS}\nprint(dargs.block_size)"},
        "nothing reads block_size any more",
    ),
    "a local block_size": (
        {"mapping": f"chunks = {TO_TOKENS}\nblock_size = 3"},
        "nothing reads block_size any more",
    ),
    "the argument is still there": (
        {
            "data_class": OLD["data_class"].replace(
                "DataOptions", "DataOptions(PromptResponseArguments)"
            )
        },
        "nothing reads block_size any more",
    ),
    "train rows are raw": (
        {"splits": "train_rows = raw['train']\neval_rows = chunks['validation']"},
        "the Trainer's train_dataset is a split of the encoded data",
    ),
    "evaluation rows are raw": (
        {"splits": "train_rows = chunks['train']\neval_rows = raw['validation']"},
        "the Trainer's eval_dataset is a split of the encoded data",
    ),
    "the Trainer gets no train rows": (
        {"trainer": f"{LORA}\ntrainer = AdapterTrainer(model=model, eval_dataset=eval_rows)"},
        "the Trainer gets a train_dataset",
    ),
    "the Trainer gets no evaluation rows": (
        {"trainer": f"{LORA}\ntrainer = AdapterTrainer(model=model, train_dataset=train_rows)"},
        "the Trainer gets a eval_dataset",
    ),
    "the Trainer gets raw rows": (
        {
            "trainer": """
            model = add_lora(model, tokenizer, stop_ids, margs, targs)
            trainer = AdapterTrainer(
                model=model, train_dataset=raw["train"], eval_dataset=eval_rows
            )
            """
        },
        "the Trainer's train_dataset is a split of the encoded data",
    ),
    "arguments swapped": (
        {"mapping": "chunks = encode_datasets(raw, encode_pair, tokenizer, model, targs, dargs)"},
        "encode",
    ),
    "another function encodes": (
        {"mapping": "chunks = encode_datasets(raw, encode_prompt, tokenizer, model, dargs, targs)"},
        "encode",
    ),
    "without the model": (
        {"mapping": "chunks = encode_datasets(raw, encode_pair, tokenizer, dargs, targs)"},
        "the raw data is encoded with the series' encode_pair",
    ),
    "another model": (
        {"mapping": f"other = None\nchunks = {TO_TOKENS.replace('model', 'other')}"},
        "the raw data is encoded with the series' encode_pair",
    ),
    "before the model is loaded": (
        {"config": FINISHED["config"] + f"\nchunks = {TO_TOKENS}", "mapping": ""},
        "model is bound wherever encode_datasets is given it",
    ),
    "raw rows after all": (
        {"splits": OLD["splits"] + "\ntrain_rows = raw['train']"},
        "the Trainer's train_dataset is the split 'train' of the encoded data",
    ),
    "a split that is not encoded": (
        {"splits": OLD["splits"] + "\nmore = chunks['test']"},
        "only the splits that are encoded are asked for",
    ),
    "a split that is not encoded, by another name": (
        {"splits": OLD["splits"] + "\nrows = chunks\nmore = rows['test']"},
        "only the splits that are encoded are asked for",
    ),
    "a split is needed after all": (
        {"splits": "targs.do_eval = True\n" + OLD["splits"]},
        "which splits are needed is settled before they are encoded",
    ),
    "a split is taken out": (
        {"splits": OLD["splits"] + "\nchunks.pop('train')"},
        "the encoded data stays as it is encoded",
    ),
    "a split is replaced": (
        {"splits": OLD["splits"] + "\nchunks['train'] = raw['train']"},
        "the encoded data stays as it is encoded",
    ),
    "the splits are swapped": (
        {"splits": "train_rows = chunks['validation']\neval_rows = chunks['train']"},
        "the Trainer's train_dataset is a split of the encoded data",
    ),
}


@pytest.mark.parametrize(
    ("spoilt", "promise"),
    [
        pytest.param(
            *v,
            id=k,
        )
        for k, v in CAUGHT.items()
    ],
)
def test_verify_catches(spoilt, promise):
    check_caught(pair_encoding, promise, **spoilt)


@pytest.mark.parametrize(
    "filled",
    [
        {"mapping": f"tokens = chunks = {TO_TOKENS}"},
        {"mapping": f"chunks = {TO_TOKENS.replace('(raw', '(' + chr(10) + '    raw')}"},
        {"mapping": f"chunks = {TO_TOKENS}\nmap(len, [])"},
        {"splits": OLD["splits"] + "\ntrain_rows = train_rows.select(range(3))"},
        {"load": "targs.do_eval = True\n" + FINISHED["load"]},
    ],
)
def test_verify_accepts(filled):
    check_accepted(pair_encoding, **filled)


def test_a_helpers_own_name_is_not_the_mapped_data():
    mapping = dedent(
        """
        def cut(rows):
            tokens = rows["text"]
            return {"text": [tokens for tokens in tokens]}

        tokens = raw.map(tokenizer)
        chunks = tokens.map(cut)
        """
    )
    text, _ = apply(render(OLD, {"mapping": mapping}), pair_encoding)
    assert (
        "    chunks = encode_datasets(raw, encode_pair, tokenizer, model, dargs, targs)\n" in text
    )
