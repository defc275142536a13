"""Finished rows of a long computation, one JSON object a line: what is there is not done again."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from sanitizer.record import Record

Row = TypeVar("Row", bound=Record)


def rows_of(path: Path, kind: type[Row]) -> list[Row]:
    """The rows that are there; none where there is no file.

    Raises:
        ValueError: a line is no such row.
    """
    lines = path.read_text().splitlines() if path.exists() else []
    return [kind.from_json(json.loads(line)) for line in lines]


def append(path: Path, rows: Iterable[Record]) -> None:
    """Add finished rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(json.dumps(row.to_json()) + "\n" for row in rows)
