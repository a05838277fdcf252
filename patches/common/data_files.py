"""Files of rows, read as they are spelled: what `datasets` guesses about types changes texts."""

import contextlib
import glob
import gzip
import hashlib
import io
import itertools
import json
import logging
import os
import zlib

import datasets
import filelock
import fsspec
import pyarrow
from csv_rows import csv_rows
from dialogues import read_dialogue, used_columns
from json_rows import json_rows, show_value
from user_error import UserError

logger = logging.getLogger(__name__)

ROW_FILE_ENDINGS = ("csv", "json", "jsonl")
# What the part of a data file's name after its last dot may be; the others have types of their own.
DATA_FILE_ENDINGS = (*ROW_FILE_ENDINGS, "gz", "parquet", "arrow")
# The columns of a data set that is read here: what `read_dialogue` returns, all as text, the
# history as JSON unless there is none, and where it stands.
ROW_COLUMNS = ("place", "history", "prompt", "response")
ROWS_AT_ONCE, CHARACTERS_AT_ONCE = 1000, 1 << 24
ROWS_LOOKED_AT = 1000  # of a stream, before it is used


def file_kind(path):
    """Return what a file is read as: the ending of its name, without the `.gz` of packed ones."""
    return os.path.basename(path.removesuffix(".gz")).rpartition(".")[2]


def is_row_file(path):
    """Return whether a file is read here, and not by `datasets`."""
    return file_kind(path) in ROW_FILE_ENDINGS


def _files_in(folder):
    """Return the data files in a folder and the folders below it, sorted; others are told.

    What is hidden, as `.ipynb_checkpoints` are, is not looked at.
    """

    def fail(error):
        raise UserError(f"{error.filename} cannot be read: {error.strerror}.")

    found = []
    for place, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [os.path.join(place, name) for name in names if not name.startswith(".")]
    others = sorted(path for path in found if not is_row_file(path))
    if others:
        logger.warning(
            "%s: %d other files are not read, such as %s.", folder, len(others), others[0]
        )
    return sorted(set(found).difference(others))


def find_files(given, argument):
    """Return the paths that an argument names: files, patterns and folders, separated by commas.

    Raises:
        UserError: there is nothing of that name.
    """
    whole = os.path.expanduser(given)
    if os.path.isfile(whole):  # even if there are commas in its name
        return [whole]
    found = []
    for part in filter(None, map(str.strip, given.split(","))):
        path = os.path.expanduser(part)
        if os.path.isdir(path):
            files = _files_in(path)
        elif "://" in part or os.path.exists(path):
            files = [path]
        else:
            files = sorted(filter(os.path.isfile, glob.glob(path, recursive=True)))
        if not files:
            what = "data file in folder" if os.path.isdir(path) else "file"
            raise UserError(f"--{argument}: there is no {what} {part!r}.")
        found += files
    if not found:
        raise UserError(f"--{argument} must not be empty.")
    return found


def _open_remote(path):
    """Open what is not on this machine; its libraries have errors of many kinds."""
    try:
        return fsspec.open(path, "rb").open()
    except OSError:
        raise
    except Exception as error:
        raise UserError(f"{path} cannot be read: {error}") from None


@contextlib.contextmanager
def _opened(path, unpack=True):
    """Open a file's bytes; what goes wrong while they are read is a UserError that names it."""
    try:
        with _open_remote(path) if "://" in path else open(path, "rb") as file:
            yield gzip.GzipFile(fileobj=file) if unpack and path.endswith(".gz") else file
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is no whole gzip file: {error}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from None


def _bad_line(path):
    """Return the error for a file that is not UTF-8, with the line where that shows."""
    with _opened(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return UserError(
                    f"{path}, line {number}: not UTF-8 (byte 0x{line[error.start]:02x} at position "
                    f"{error.start + 1}); save the file as UTF-8."
                )
    return UserError(f"{path}: not UTF-8; save the file as UTF-8.")


def _raw_rows(path):
    """Yield (line, row) of a file; rows of a right file are {column: value}."""
    with _opened(path) as file:
        try:
            if file_kind(path) == "csv":
                yield from csv_rows(io.TextIOWrapper(file, encoding="utf-8-sig", newline=""))
            else:
                yield from json_rows(file)
        except UnicodeDecodeError:
            raise _bad_line(path) from None
        except UserError as error:
            raise UserError(f"{path}, {error}") from None


def _check_columns(path, seen, columns, answered):
    """Raise UserError if a file without any row that has a needed column cannot be what is meant."""
    if not seen:
        raise UserError(f"{path} is empty.")
    optional = [columns["history"], *([] if answered else [columns["response"]])]
    for name in used_columns(columns):
        if name not in seen and (name not in optional or name == columns["messages"]):
            raise UserError(f"{path} has no column {name!r}; its columns are: {', '.join(seen)}.")


def read_file(path, columns, answered, seen):
    """Yield `ROW_COLUMNS` for the rows of one csv or json file, as a tuple.

    Args:
        path: the file, packed if its name ends in `.gz`.
        columns, answered: as for `read_dialogue`.
        seen: dict to which the names of all columns are added as they come.

    Raises:
        UserError: what cannot be read; says in which file, row, line and column.
    """
    mine, last = {}, None
    # A name that is not UTF-8 is no text for Arrow.
    name = os.fsencode(path).decode("utf-8", "backslashreplace")
    for number, (line, row) in enumerate(_raw_rows(path), start=1):
        place = f"{name}, row {number} (line {line})"
        if not isinstance(row, dict):
            raise UserError(f"{place}: expected an object with columns, found {show_value(row)}.")
        if row.keys() != last:
            last = row.keys()
            mine.update(dict.fromkeys(last))
            seen.update(mine)
        try:
            history, prompt, response = read_dialogue(row, columns, answered)
        except UserError as error:
            raise UserError(f"{place}, {error}") from None
        yield place, json.dumps(history, ensure_ascii=False) if history else "", prompt, response
    _check_columns(path, mine, columns, answered)


def stream_rows(files, columns, answered):
    """Yield the rows of csv and json files, {column: text}."""
    for path in files:
        for row in read_file(path, columns, answered, {}):
            yield dict(zip(ROW_COLUMNS, row))


def _digest(files, columns, answered):
    """Return 16 hexadecimal digits that say what the files hold and how they are read."""
    found = hashlib.sha256(repr((files, columns, answered)).encode())
    for path in [*files, __file__]:  # this script's own text too: another one may read otherwise
        with _opened(path, unpack=False) as file:
            while block := file.read(1 << 20):
                found.update(block)
    return found.hexdigest()[:16]


def _write_rows(rows, path):
    """Write rows, tuples of texts, to an Arrow file, many at a time."""
    schema = pyarrow.schema([(name, pyarrow.string()) for name in ROW_COLUMNS])
    with pyarrow.OSFile(path, "wb") as file, pyarrow.ipc.new_stream(file, schema) as writer:

        def write(batch):
            arrays = [pyarrow.array(cells, pyarrow.string()) for cells in zip(*batch)]
            writer.write_batch(pyarrow.RecordBatch.from_arrays(arrays, schema=schema))

        batch, size = [], 0
        for row in rows:
            batch.append(row)
            size += len(row[1]) + len(row[2]) + len(row[3])
            if len(batch) == ROWS_AT_ONCE or size > CHARACTERS_AT_ONCE:
                write(batch)
                batch, size = [], 0
        if batch:
            write(batch)


def _cached_rows(files, columns, answered, cache_dir):
    """Return (path of an Arrow file with the rows, names of all columns); for all ranks to call.

    The first to come reads the files, if no earlier run has; a kill leaves all of it or none.
    """
    folder = os.path.join(cache_dir or datasets.config.HF_DATASETS_CACHE, "run_clm_lora")
    path = os.path.join(folder, f"{_digest(files, columns, answered)}.arrow")
    try:
        if not os.path.exists(path):
            os.makedirs(folder, exist_ok=True)
            with filelock.FileLock(f"{path}.lock"):
                if not os.path.exists(path):
                    _fill_cache(files, columns, answered, path)
        with open(f"{path}.columns", encoding="utf-8") as file:
            return path, json.load(file)
    except OSError as error:
        raise UserError(f"cannot write the cache {folder}: {error.strerror or error}.") from None


def _fill_cache(files, columns, answered, path):
    """Write the rows of csv and json files to an Arrow file, all of them or none."""
    seen = {}
    rows = (row for file in files for row in read_file(file, columns, answered, seen))
    try:
        _write_rows(rows, f"{path}.draft")
        with open(f"{path}.columns", "w", encoding="utf-8") as file:
            json.dump(list(seen), file)
        os.replace(f"{path}.draft", path)
    finally:
        with contextlib.suppress(OSError):
            os.remove(f"{path}.draft")


def _check_use(seen, columns, argument, rows=None):
    """Tell which columns nothing looks at; a history that no row has is an error.

    Args:
        seen: names of the columns.
        columns: those to read.
        argument: the one that names the files.
        rows: how many rows were looked at, if there may be more.
    """
    history = columns["history"]
    if history and not columns["messages"] and history not in seen:
        which = f"--{argument}" if rows is None else f"--{argument}, in its first {rows} rows,"
        line = f"{which} has no column {history!r}; its columns are: {', '.join(seen)}."
        if rows is None:
            raise UserError(line)
        logger.warning(line)
    unused = [name for name in seen if name not in used_columns(columns)]
    if unused and os.environ.get("RANK", "0") == "0":
        shown = ", ".join(map(repr, unused[:8])) + (", …" if len(unused) > 8 else "")
        logger.warning("--%s: columns that are not used: %s.", argument, shown)


def _look_into(files, columns, argument, answered):
    """Check the use of the columns that the first rows of a stream have."""
    seen = {}
    rows = (row for path in files for row in read_file(path, columns, answered, seen))
    number = sum(1 for _ in itertools.islice(rows, ROWS_LOOKED_AT))
    _check_use(seen, columns, argument, None if number < ROWS_LOOKED_AT else number)


def read_rows(files, columns, argument, answered=True, streaming=False, cache_dir=None):
    """Return the rows of csv and json files as a data set of `ROW_COLUMNS`.

    Args:
        files: paths, see `find_files`.
        columns, answered: see `read_dialogue`.
        argument: the one that names the files, for messages.
        streaming: whether the rows are read while they are used; otherwise they are read now,
            into the cache, which knows files by what they hold.
        cache_dir: where the cache is, by default where `datasets` has its own.

    Returns:
        datasets.Dataset, or IterableDataset.

    Raises:
        UserError: what cannot be read, see `read_file`.
    """
    if streaming:
        _look_into(files, columns, argument, answered)
        text = datasets.Value("string")
        return datasets.IterableDataset.from_generator(
            stream_rows,
            features=datasets.Features(dict.fromkeys(ROW_COLUMNS, text)),
            gen_kwargs={"files": files, "columns": columns, "answered": answered},
        )
    path, seen = _cached_rows(files, columns, answered, cache_dir)
    _check_use(seen, columns, argument)
    return datasets.Dataset.from_file(path)


def cut_split(rows, split):
    """Return the part of `rows` that a split such as "train[:5%]" asks for; it may be empty.

    Args:
        rows: datasets.Dataset, or an IterableDataset, of which there are no parts.
        split: the name of a split, with or without a part of it in brackets.

    Raises:
        UserError: a part of a stream.
    """
    if "[" not in split:
        return rows
    if isinstance(rows, datasets.IterableDataset):
        raise UserError("a stream cannot be cut in two: give --validation_file, or no --streaming.")
    name = split.partition("[")[0]
    parts = datasets.ReadInstruction.from_spec(split).to_absolute({name: len(rows)})
    numbers = range(len(rows))
    return datasets.concatenate_datasets(
        [rows.select(numbers[part.from_ : part.to]) for part in parts]
    )
