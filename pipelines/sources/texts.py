"""Text that an input brings along, looked at before the work begins: ids and words."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from sanitizer.errors import InputError

#: Ids that are compared letter by letter at a time; bounds the memory that this takes.
COMPARED = 1000


class Piece(NamedTuple):
    """A column of some consecutive rows."""

    file: str  #: that they come from, as text
    column: pa.Array


def check_ids(name: str, read: Callable[[], Iterator[Piece]]) -> None:
    """See that every row has an id, and that no two have the same.

    Eight bytes are kept of each id. Only ids whose hashes are the same are read once more and
    compared.

    Args:
        name: of the column, for the message.
        read: reads all ids from the start, in a fixed order.

    Raises:
        InputError: an id is null, empty or not UTF-8, or occurs twice.
    """
    hashes = [np.zeros(0, np.int64)]
    for file, column in read():
        check_text(file, name, column)
        hashes.append(np.fromiter(map(hash, _texts(file, name, column)), np.int64, len(column)))
    # Python's hash of text is keyed by a secret of the process: nobody can make two alike.
    together = np.sort(np.concatenate(hashes))
    repeated = np.unique(together[1:][together[1:] == together[:-1]])
    for start in range(0, len(repeated), COMPARED):
        _compare(name, read(), set(repeated[start : start + COMPARED].tolist()))


def _texts(file: str, name: str, column: pa.Array) -> list[str]:
    texts: list[str] = column.to_pylist()
    for text in texts:
        if not text:
            what = "nulls" if text is None else "empty text"
            raise InputError(f"{file}: the column {name} holds {what}, expected an id in each row")
    return texts


def _compare(name: str, pieces: Iterator[Piece], hashes: set[int]) -> None:
    """Refuse two equal ids among those with these hashes."""
    seen: dict[str, str] = {}
    for file, column in pieces:
        for text in column.to_pylist():
            if hash(text) not in hashes:
                continue
            if text in seen:
                where = file if seen[text] == file else f"{seen[text]} and {file}"
                raise InputError(
                    f"{where}: the {name} {text!r} occurs twice; ids must be unique, rename the "
                    "column to have ids made"
                )
            seen[text] = file


def check_text(file: str, name: str, column: pa.Array) -> None:
    """See that text can be read as such.

    Args:
        file: that the column comes from, as text.
        name: of the column, like ``file`` for the message.
        column: of any type.

    Raises:
        InputError: it is damaged, or holds text that is not UTF-8.
    """
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        raise damaged(file, name, error) from error


def first_odd_text(name: str, pieces: Iterable[Piece]) -> str | None:
    """Where a column first holds text that is not UTF-8; None where all of it is.

    Args:
        name: of the column, for the message.
        pieces: of the column, from its start.

    Returns:
        ``<file>#<row>``, or the file alone where the text is inside of a list or struct.

    Raises:
        InputError: the column is damaged in another way.
    """
    rows = Counter[str]()
    for file, column in pieces:
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            if "UTF8" not in str(error):
                raise damaged(file, name, error) from error
            index = re.fullmatch(r"Invalid UTF8 sequence at string index (\d+)", str(error))
            return f"{file}#{rows[file] + int(index[1])}" if index else file
        rows[file] += len(column)
    return None


def damaged(file: str, name: str, error: Exception) -> InputError:
    """The one line for a column that cannot be read."""
    reason = str(error).strip().partition("\n")[0]
    return InputError(f"{file}: the column {name} is damaged or not UTF-8 ({reason})")
