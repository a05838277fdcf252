"""Several steps of main() under a try or an if, with what follows whatever comes of them."""

from __future__ import annotations

import ast
from random import Random

from tests.fuzz.mutations.code import Code
from tests.fuzz.mutations.common import mutation, step_with

TEARDOWN = (
    "if torch.distributed.is_initialized():\n    torch.distributed.destroy_process_group()",
    "torch.distributed.destroy_process_group()",
    "torch.cuda.empty_cache()",
)


def _around(code: Code, first: ast.stmt | None, last: ast.stmt | None, opening: str, closing: str):
    """The steps from ``first`` to ``last`` one level in, between two lines of text."""
    if first is None or last is None or first.lineno > last.lineno:
        return None
    start, end = code.span(first)[0], code.span(last)[1]
    text = code.bytes[start:end].decode()
    if '"""' in text:
        return None
    body = "    " + text.replace("\n", "\n    ")
    return code.edit((start, end, f"{opening}\n    {body}\n    {closing}".rstrip()))


def _finally(text: str) -> str:
    return "finally:\n        " + text.replace("\n", "\n        ")


@mutation(False)
def torn_down_after_training(code: Code, random: Random) -> str | None:
    first, last = step_with(code, r"\.train\(", False), step_with(code, r"\.evaluate\(", True)
    return _around(code, first, last, "try:", _finally(random.choice(TEARDOWN)))


@mutation(False)
def torn_down_after_all(code: Code, random: Random) -> str | None:
    first = step_with(code, random.choice([r"set_seed\(", r"\bTrainer\(", r"HfArgumentParser"]), False)  # fmt: skip
    last = code.main.body[-1] if code.main else None
    return _around(code, first, last, "try:", _finally(random.choice(TEARDOWN)))


@mutation(False)
def interrupt_caught(code: Code, random: Random) -> str | None:
    first = step_with(code, r"\.train\(", False)
    closing = 'except KeyboardInterrupt:\n        logger.warning("stopped")'
    return _around(code, first, first, "try:", closing)


@mutation(True)
def all_in_a_context(code: Code, random: Random) -> str | None:
    first = step_with(code, r"set_seed\(", False)
    last = code.main.body[-1] if code.main else None
    new = _around(code, first, last, "with contextlib.nullcontext():", "")
    return new and new.replace("import logging\n", "import contextlib\nimport logging\n", 1)


@mutation(False)
def main_torn_down(code: Code, random: Random) -> str | None:
    """The script's last lines tear down what main() leaves."""
    guards = [n for n in code.tree.body if isinstance(n, ast.If) and "__main__" in code.code(n)]
    if not guards or len(guards[0].body) != 1:
        return None
    call = guards[0].body[0]
    down = random.choice(TEARDOWN[1:])
    new = f"try:\n    {code.code(call)}\nfinally:\n    {down}"
    return code.edit(code.instead(call, random.choice([new, f"{code.code(call)}\n{down}"])))
