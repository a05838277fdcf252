"""The objects of a JSON file, one after another, numbers as the file spells them."""

import codecs
import collections
import json
import re

from user_error import UserError

JSON_CHUNK = 1 << 18  # bytes that are read at once
JSON_SPACE = re.compile(r"[ \t\n\r]*")
# How far before the end of a text that merely goes on the decoder can find fault with it.
LONGEST_JSON_TOKEN = len("-Infinity") + len("\\uXXXX")


class RepeatedKeys(dict):
    """A JSON object in which the keys in `repeated` stand more than once."""

    def __init__(self, pairs):
        super().__init__(pairs)
        times = collections.Counter(key for key, _ in pairs)
        self.repeated = {key for key in times if times[key] > 1}


class NotText:
    """What a file spells where a text could stand, and is none: NaN in JSON, a NUL byte in csv."""

    def __init__(self, spelled):
        self.spelled = spelled

    def __repr__(self):
        return self.spelled


def show_value(value):
    """Return how a value of the data looks, or its beginning, for messages."""
    try:
        return f"{value!r:.80}"
    except RecursionError:
        return "one that is nested too deep"


def _json_object(pairs):
    found = dict(pairs)
    return found if len(found) == len(pairs) else RepeatedKeys(pairs)


def json_decoder():
    """Return a decoder to which a number is the text that spells it: 1.50 stays 1.50."""
    # Not made once for all: `datasets` pickles what encodes rows, and no decoder can be pickled.
    return json.JSONDecoder(
        object_pairs_hook=_json_object, parse_int=str, parse_float=str, parse_constant=NotText
    )


def parse_json(text):
    """Return what a JSON text holds, numbers as text.

    Raises:
        UserError: it is not JSON, or nested too deep.
    """
    try:
        return json_decoder().decode(text)
    except RecursionError:
        raise UserError("nested too deep.") from None


class JsonText:
    """A JSON file as far as it is read; holds what is not parsed yet, and no more."""

    def __init__(self, file):
        """
        Args:
            file: open file of bytes.
        """
        self.file, self.decoder = file, json_decoder()
        self.decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self.text, self.position = "", 0
        self.counted, self.lines = 0, 1  # lines are counted up to here

    def line(self):
        """Return the number of the line that the next character is in."""
        self.lines += self.text.count("\n", self.counted, self.position)
        self.counted = self.position
        return self.lines

    def _read_on(self):
        """Read as much again as is not parsed yet; return whether there was any."""
        self.line()
        rest = self.text[self.position :]
        more = self.file.read(max(len(rest), JSON_CHUNK))
        self.text, self.position, self.counted = rest + self.decode(more, not more), 0, 0
        return bool(more)

    def next_character(self):
        """Return the next character that is no white space, without consuming it; "" at the end."""
        while True:
            self.position = JSON_SPACE.match(self.text, self.position).end()
            if self.position < len(self.text):
                return self.text[self.position]
            if not self._read_on():
                return ""

    def skip(self):
        """Consume the next character."""
        self.position += 1

    def value(self):
        """Consume and return the next value.

        Raises:
            UserError: there is none, or it is nested too deep; says in which line.
        """
        while True:
            try:
                value, self.position = self.decoder.raw_decode(self.text, self.position)
                return value
            except RecursionError:
                raise UserError(f"line {self.line()}: nested too deep.") from None
            except json.JSONDecodeError as error:
                goes_on = error.msg.startswith("Unterminated string") or (
                    error.pos >= len(self.text.rstrip()) - LONGEST_JSON_TOKEN
                )
                distance = error.pos - self.position
                if goes_on and self._read_on():
                    continue
                self.position += distance
                here = self.text[self.position : self.position + 20]
                raise UserError(f"line {self.line()}: not JSON: {error.msg}: {here!r}.") from None


def json_rows(file):
    """Yield (line, value) for the rows of a JSON file: objects one after another, or in an array.

    Only what is needed for the next row is in memory. Values are objects in a right file; others
    are for the caller to refuse.

    Args:
        file: open file of bytes.

    Raises:
        UserError: what is not JSON, with its line, or not UTF-8, a UnicodeDecodeError.
    """
    text = JsonText(file)
    while first := text.next_character():
        if first != "[":
            yield text.line(), text.value()
            continue
        text.skip()
        mark = text.next_character()
        while mark != "]":
            yield text.line(), text.value()
            mark = text.next_character()
            if mark not in ("]", ","):
                raise UserError(f"line {text.line()}: not JSON: an array that is not closed.")
            if mark == ",":
                text.skip()
                text.next_character()
        text.skip()
