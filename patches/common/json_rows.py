"""The objects of a JSON file, one after another, numbers as the file spells them."""

import json
import re

JSON_CHUNK = 1 << 16  # characters; most rows are read a line at a time, and few lines are longer
JSON_SPACE = re.compile(r"[ \t\n\r]*")
# How far before the end of a text that merely goes on the decoder can find fault with it.
LONGEST_JSON_TOKEN = len("-Infinity") + len("\\uXXXX")


class RepeatedKeys(dict):
    """A JSON object in which the keys in `repeated` stand more than once."""

    def __init__(self, pairs):
        super().__init__(pairs)
        keys = [key for key, _ in pairs]
        self.repeated = {key for key in keys if keys.count(key) > 1}


class NotANumber:
    """NaN, Infinity or -Infinity, which Python's json writes and JSON does not have."""

    def __init__(self, spelled):
        self.spelled = spelled


def _json_object(pairs):
    found = dict(pairs)
    return found if len(found) == len(pairs) else RepeatedKeys(pairs)


def json_decoder():
    """Return a decoder to which a number is the text that spells it: 1.50 stays 1.50."""
    # Not made once for all: `datasets` pickles what encodes rows, and no decoder can be pickled.
    return json.JSONDecoder(
        object_pairs_hook=_json_object, parse_int=str, parse_float=str, parse_constant=NotANumber
    )


def parse_json(text):
    """Return what a JSON text holds, numbers as text.

    Raises:
        ValueError: it is not JSON, or nested too deep.
    """
    try:
        return json_decoder().decode(text)
    except RecursionError:
        raise ValueError("nested too deep.") from None


class JsonText:
    """A JSON file as far as it is read; holds what is not parsed yet, and no more."""

    def __init__(self, file):
        """
        Args:
            file: open text file whose lines end as they are, not translated.
        """
        self.file, self.decoder = file, json_decoder()
        self.text, self.position, self.line = "", 0, 1

    def _read_on(self):
        """Read a line if nothing is left over, else as much again; return whether there was any."""
        rest = self.text[self.position :]
        more = (
            self.file.read(max(len(rest), JSON_CHUNK)) if rest else self.file.readline(JSON_CHUNK)
        )
        self.text, self.position = rest + more, 0
        return bool(more)

    def _go_to(self, end):
        self.line += self.text.count("\n", self.position, end)
        self.position = end

    def next_character(self):
        """Return the next character that is no white space, without consuming it; "" at the end."""
        while True:
            self._go_to(JSON_SPACE.match(self.text, self.position).end())
            if self.position < len(self.text):
                return self.text[self.position]
            if not self._read_on():
                return ""

    def skip(self):
        """Consume the next character."""
        self._go_to(self.position + 1)

    def value(self):
        """Consume and return the next value.

        Raises:
            ValueError: there is none, or it is nested too deep; says in which line.
        """
        while True:
            try:
                value, end = self.decoder.raw_decode(self.text, self.position)
                break
            except RecursionError:
                raise ValueError(f"line {self.line}: nested too deep.") from None
            except json.JSONDecodeError as error:
                goes_on = error.msg.startswith("Unterminated string") or (
                    error.pos >= len(self.text.rstrip()) - LONGEST_JSON_TOKEN
                )
                if goes_on and self._read_on():
                    continue
                line = self.line + self.text.count("\n", self.position, error.pos)
                here = self.text[error.pos : error.pos + 20]
                raise ValueError(f"line {line}: not JSON: {error.msg}: {here!r}.") from None
        self._go_to(end)
        return value


def json_rows(file):
    """Yield (line, value) for the rows of a JSON file: objects one after another, or in an array.

    Only what is needed for the next row is in memory. Values are objects in a right file; others
    are for the caller to refuse.

    Args:
        file: open text file whose lines end as they are, not translated.

    Raises:
        ValueError: what is not JSON; says in which line.
    """
    text = JsonText(file)
    while first := text.next_character():
        if first != "[":
            yield text.line, text.value()
            continue
        text.skip()
        mark = text.next_character()
        while mark != "]":
            line = text.line
            yield line, text.value()
            mark = text.next_character()
            if mark not in ("]", ","):
                raise ValueError(f"line {text.line}: not JSON: an array that is not closed.")
            if mark == ",":
                text.skip()
                text.next_character()
        text.skip()
