"""The rows of a csv file, each cell the text that stands in it."""

import csv

from json_rows import NotText, RepeatedKeys
from user_error import UserError

LONGEST_CSV_CELL = 2**31 - 1  # characters; the library's own limit is 131,072


def csv_rows(file):
    """Yield (line, {column: text}) for the rows of a csv file; the first line names the columns.

    Cells are text and nothing else: `010`, `NA` and `2023-05-01` are what they are. A row that is
    shorter than the header lacks its last columns. Blank lines are no rows.

    Args:
        file: open text file, with newline="".

    Raises:
        UserError: a wrong quote, or more cells than columns; says in which line.
    """
    csv.field_size_limit(LONGEST_CSV_CELL)
    rows = csv.reader(file, strict=True)
    header, made, end = None, dict, 0
    try:
        for cells in rows:
            line, end = end + 1, rows.line_num
            if header is None and cells:
                header, made = cells, dict if len(set(cells)) == len(cells) else RepeatedKeys
            elif cells:
                if len(cells) > len(header):
                    raise UserError(
                        f"line {line}: {len(cells)} cells under {len(header)} columns; a cell with a "
                        "comma or a quote in it must stand in quotes."
                    )
                if "\0" in "".join(cells):
                    cells = [NotText("a NUL byte") if "\0" in cell else cell for cell in cells]
                yield line, made(list(zip(header, cells)))
    except csv.Error as error:
        raise UserError(f"line {end + 1}: not csv: {error}.") from None
