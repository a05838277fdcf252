"""What a reviewer is told: few lines, of what a script does and not of how it is written."""

from __future__ import annotations

import re

import pytest

from tests.fuzz.mutations import Random, apply
from tests.fuzz.sources import miniature
from tools.follow.behaviour import changes as module
from tools.follow.behaviour.changes import changes

TEXT = miniature()["miniature v5.1.0"]
READY = r"(?m)^(?=    trainer = Trainer\()"
CASES = {
    "added": (READY, "    torch.compile(net)\n", "calls torch.compile(<model>) in 11 of 14 runs"),
    "set": (READY, "    net.config.use_cache = False\n", "sets <model>.config.use_cache = False in 11 of 14 runs"),
    "gone": (r"    set_seed\(.*\n", "", "no longer calls transformers.set_seed(42)"),
    "on import": (r"(?m)^(?=def main)", "torch.manual_seed(0)\n", "calls torch.manual_seed(0) on import"),
    "another name": (r"processing_class=", "tokenizer=", "Trainer: gets tokenizer, no longer processing_class"),
    "another value": (r"(streaming=)data_opts.streaming", r"\1True", "load_dataset: gets streaming=True (before: streaming=False)"),
    "in place": (r"resize_token_embeddings\(len\(tok\)\)", "resize_token_embeddings(8)", "<model>.resize_token_embeddings: gets (8) (before: (11))"),
    "rows": (r"(train_part = chunks\[\"train\"\])", r"\1.shuffle(seed=1)", "Trainer: gets train_dataset=<data>.train|tokenised|chunked|shuffle([[], {'seed': 1}])"),
    "default": (r"(use_fast_tokenizer: bool = field\(\s*default=)True", r"\1False", "--use_fast_tokenizer defaults to False (before: True)"),
    "end": (READY, "    raise OSError(1)\n", "ends OSError (before: well) in 10 of 14 runs"),
    "terminal": (READY, '    getattr(torch, chr(27))()\n', "calls torch.\\x1b() in 11 of 14 runs"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_change_is_told(case):
    pattern, instead, line = CASES[case]
    found = re.search(pattern, TEXT)
    new = TEXT[: found.start()] + found.expand(instead) + TEXT[found.end() :]
    told = changes(TEXT, new)
    assert any(t.startswith(line) for t in told), told
    assert all(t.isprintable() and len(t) <= module.WIDE for t in told)
    if case in ("added", "set", "on import", "terminal"):
        assert len(told) == 1


def test_a_move_is_told():
    block = re.search(r"    set_seed\(.*\n", TEXT)[0]
    new = re.sub(READY, block, TEXT.replace(block, ""), count=1)
    assert (
        "moved: transformers.set_seed, now after <model>.resize_token_embeddings or evaluate.load in 11 of 14 runs"
        in changes(TEXT, new)
    )


@pytest.mark.parametrize("how", ["unparse_all", "rename_local", "moved_preprocessing", "import_as"])
def test_what_is_written_otherwise_is_not_told(how):
    assert changes(TEXT, apply(TEXT, how, Random(1))) == []


def test_many_lines_are_cut():
    lines = "".join(f"    torch.step_{n}()\n" for n in range(30))
    told = changes(TEXT, re.sub(READY, lines, TEXT, count=1))
    assert len(told) == module.MOST and told[-1] == f"… and {30 - module.MOST + 1} more"


def test_what_cannot_be_run_is_one_line():
    assert changes(TEXT, "(") == ["the new script cannot be run among stand-ins: SyntaxError: '(' was never closed (<unknown>, line 1)"]  # fmt: skip
    assert changes("import x\n1/0", TEXT)[0].startswith("the old script cannot be run")
