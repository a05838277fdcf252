"""Small, layout-keeping changes to libcst nodes."""

from __future__ import annotations

from collections.abc import Callable

import libcst as cst


def expression(code: str) -> cst.BaseExpression:
    return cst.parse_expression(code)


def statements(code: str, blank_line: bool = False) -> list[cst.BaseStatement]:
    """Parse statements; ``blank_line`` puts an empty line before the first."""
    body = list(cst.parse_module(code).body)
    if blank_line:
        body[0] = body[0].with_changes(leading_lines=[cst.EmptyLine(indent=False)])
    return body


def _appended(items: list, new, opening: cst.BaseParenthesizableWhitespace) -> list:
    """``items`` and ``new``; where items end in a comma and a line break, so does ``new``."""
    if not items:
        return [new]
    last = items[-1]
    closing = last.comma.whitespace_after if isinstance(last.comma, cst.Comma) else None
    if not isinstance(last.comma, cst.Comma) and isinstance(opening, cst.ParenthesizedWhitespace):
        bare = last.with_changes(
            comma=cst.Comma(whitespace_after=_clean(opening)),
            whitespace_after_arg=cst.SimpleWhitespace(""),
        )
        return [*items[:-1], bare, new.with_changes(whitespace_after_arg=last.whitespace_after_arg)]
    if not isinstance(closing, cst.ParenthesizedWhitespace):
        return [*items[:-1], last.with_changes(comma=cst.MaybeSentinel.DEFAULT), new]
    inner = (
        opening.last_line if isinstance(opening, cst.ParenthesizedWhitespace) else closing.last_line
    )
    between = closing.with_changes(last_line=inner)
    ending = cst.ParenthesizedWhitespace(indent=closing.indent, last_line=closing.last_line)
    return [
        *items[:-1],
        last.with_changes(comma=cst.Comma(whitespace_after=between)),
        new.with_changes(comma=cst.Comma(whitespace_after=ending)),
    ]


def _clean(opening: cst.BaseParenthesizableWhitespace) -> cst.BaseParenthesizableWhitespace:
    """A line break without the comments that stand at it."""
    if isinstance(opening, cst.ParenthesizedWhitespace):
        return opening.with_changes(first_line=cst.TrailingWhitespace(), empty_lines=())
    return opening


def add_argument(code: str) -> Callable[[cst.Call], cst.Call]:
    """Edit: the call with one more argument at its end, written as ``code`` (``x=1``, ``**x``)."""
    new = cst.parse_expression(f"f({code})").args[0]

    def edit(call: cst.Call) -> cst.Call:
        return call.with_changes(args=_appended(list(call.args), new, call.whitespace_before_args))

    return edit


def _without(items: list, gone: Callable[[cst.CSTNode], bool]) -> list:
    """``items`` but those that are gone; what comes last ends as the last one did."""
    left = [item for item in items if not gone(item)]
    if left and gone(items[-1]):
        left[-1] = left[-1].with_changes(comma=items[-1].comma)
        if isinstance(left[-1], cst.Arg):
            last = items[-1].whitespace_after_arg
            left[-1] = left[-1].with_changes(whitespace_after_arg=last)
    return left


def remove_argument(name: str) -> Callable[[cst.Call], cst.Call]:
    """Edit: the call without its keyword ``name``."""

    def gone(arg: cst.Arg) -> bool:
        return arg.keyword is not None and arg.keyword.value == name

    return lambda call: call.with_changes(args=_without(list(call.args), gone))


def remove_entry(name: str) -> Callable[[cst.Dict], cst.Dict]:
    """Edit: the dict display without its entry ``name``."""

    def gone(entry: cst.BaseDictElement) -> bool:
        return isinstance(entry, cst.DictElement) and string(entry.key) == name

    return lambda node: node.with_changes(elements=_without(list(node.elements), gone))


def add_entry(key: str, value: str) -> Callable[[cst.Dict], cst.Dict]:
    """Edit: the dict display with one more entry at its end."""
    new = cst.DictElement(cst.SimpleString(f'"{key}"'), cst.parse_expression(value))

    def edit(display: cst.Dict) -> cst.Dict:
        items = list(display.elements)
        opening = _clean(display.lbrace.whitespace_after)
        if items and not isinstance(items[-1].comma, cst.Comma):
            if not isinstance(opening, cst.ParenthesizedWhitespace):
                opening = cst.SimpleWhitespace(" ")
            last = items[-1].with_changes(comma=cst.Comma(whitespace_after=opening))
            return display.with_changes(elements=[*items[:-1], last, new])
        if not items:
            return display.with_changes(elements=[new])
        closing = display.rbrace.whitespace_before
        between: cst.BaseParenthesizableWhitespace = cst.SimpleWhitespace(" ")
        if isinstance(closing, cst.ParenthesizedWhitespace):
            inner = getattr(opening, "last_line", closing.last_line)
            between = closing.with_changes(last_line=inner)
        last = items[-1].with_changes(comma=cst.Comma(whitespace_after=between))
        return display.with_changes(
            elements=[*items[:-1], last, new.with_changes(comma=cst.Comma())],
            rbrace=display.rbrace.with_changes(whitespace_before=_clean(closing)),
        )

    return edit


def add_element(code: str) -> Callable[[cst.CSTNode], cst.CSTNode]:
    """Edit: the list, tuple or set display, not empty, with one more element on its last line."""
    new = cst.parse_expression(f"[{code}]").elements[0]  # with its star

    def edit(display: cst.CSTNode) -> cst.CSTNode:
        *items, last = display.elements
        comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
        ending = new.with_changes(comma=last.comma)
        return display.with_changes(elements=[*items, last.with_changes(comma=comma), ending])

    return edit


def add_base(name: str) -> Callable[[cst.ClassDef], cst.ClassDef]:
    """Edit: the class with one more base class, after those it has."""

    def edit(node: cst.ClassDef) -> cst.ClassDef:
        return node.with_changes(
            bases=[*node.bases, cst.Arg(cst.Name(name))],
            lpar=cst.LeftParen(),
            rpar=cst.RightParen(),
        )

    return edit


def string(node: cst.CSTNode | None) -> str | None:
    """The value of a plain string literal, else None."""
    if isinstance(node, cst.SimpleString):
        value = node.evaluated_value
        return value if isinstance(value, str) else None
    return None
