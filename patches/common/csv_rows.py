"""The rows of a csv file, each cell the text that stands in it."""

import csv

from json_rows import RepeatedKeys

LONGEST_CSV_CELL = 2**31 - 1  # characters; the library's own limit is 131,072


def csv_rows(file):
    """Yield (line, {column: text}) for the rows of a csv file; the first line names the columns.

    Cells are text and nothing else: `010`, `NA` and `2023-05-01` are what they are. A row that is
    shorter than the header lacks its last columns. Blank lines are no rows.

    Args:
        file: open text file, with newline="".

    Raises:
        ValueError: a wrong quote, more cells than columns, a NUL byte; says in which line.
    """
    csv.field_size_limit(LONGEST_CSV_CELL)
    lines = csv.reader(file, strict=True)
    header, row, end = None, dict, 0
    while True:
        line = end + 1
        try:
            cells = next(lines, None)
        except csv.Error as error:
            raise ValueError(f"line {line}: not csv: {error}.") from None
        end = lines.line_num
        if cells is None:
            return
        if not cells:
            continue
        if header is None:
            header, row = cells, dict if len(set(cells)) == len(cells) else RepeatedKeys
            continue
        if len(cells) > len(header):
            raise ValueError(
                f"line {line}: {len(cells)} cells under {len(header)} columns; a cell with a comma "
                "or a quote in it must stand in quotes."
            )
        pairs = list(zip(header, cells))
        if any("\0" in cell for cell in cells):
            column = next(name for name, cell in pairs if "\0" in cell)
            raise ValueError(f"line {line}, column {column!r}: a NUL byte, which no text has.")
        yield line, row(pairs)
