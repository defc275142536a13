"""What a reviewer has decided, as a CSV file says it.

Any table with the columns ``sample_id`` and ``decision`` will do, whatever wrote it: the report's
own ``decisions.csv``, a spreadsheet with commas, semicolons or tabs, or a script.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from sanitizer.errors import InputError, quoted
from sanitizer.records import CLEAN, POISONED

#: What a decision may be, and the verdict that it gives.
VERDICT_OF = {"keep": CLEAN, "remove": POISONED}

#: The columns of a file of decisions; the last need not be there.
ID, DECISION, WHY = "sample_id", "decision", "why"

#: What may stand between two cells.
_DELIMITERS = ",;\t"

#: A line is no longer than this: an id is a path, and the reason a sentence or two.
_LONGEST_CELL = 1 << 20


@dataclass(frozen=True)
class Verdict:
    """What a reviewer has decided on one sample."""

    verdict: str  #: clean or poisoned
    why: str | None  #: in the reviewer's words
    #: where that stands, for messages, such as "decisions.csv, line 3"
    place: str = field(default="", compare=False)


@dataclass(frozen=True)
class Decisions:
    """What a reviewer has decided, by ``sample_id``."""

    source: str  #: the name of the file, or "a mapping"
    by_id: dict[str, Verdict]

    @classmethod
    def of(cls, given: str | Path | Mapping[str, str]) -> Self:
        """Read decisions.

        Args:
            given: a CSV file, or ``"keep"`` or ``"remove"`` by ``sample_id``.

        Raises:
            InputError: it cannot be read, lacks a column, holds something else than decisions, or
                two that contradict each other.
        """
        if isinstance(given, Mapping):
            rows = (
                (key, value, "", f"decision on {quoted(str(key))}") for key, value in given.items()
            )
            return cls("a mapping", _by_id(rows))
        name = Path(given).name
        return cls(name, _by_id(_rows(_text(given), name)))


def _text(path: str | Path) -> str:
    try:
        # Spreadsheets begin a file with a byte order mark.
        return Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); expected the decisions.csv that the "
            f"report's review gives, or any CSV with the columns {ID} and {DECISION}"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: expected text in UTF-8 ({error.reason} at byte {error.start})"
        ) from error


def _rows(text: str, name: str) -> Iterable[tuple[str, str, str, str]]:
    """The id, decision and reason of each line, and its place."""
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    before = csv.field_size_limit(_LONGEST_CELL)
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        columns = {(column or "").strip().lower(): column for column in reader.fieldnames or ()}
        if missing := [column for column in (ID, DECISION) if column not in columns]:
            found = ", ".join(map(quoted, reader.fieldnames or ())) or "nothing"
            raise InputError(
                f"{name}: expected the columns {ID} and {DECISION}, and if you like {WHY}; "
                f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing, "
                f"found {found:.300}"
            )
        for row in reader:
            place = f"{name}, line {reader.line_num}"
            why = row.get(columns.get(WHY, ""), "") or ""
            yield row[columns[ID]] or "", row[columns[DECISION]] or "", why, place
    except csv.Error as error:
        raise InputError(f"{name}, line {reader.line_num}: is no CSV ({error})") from error
    finally:
        csv.field_size_limit(before)


def _by_id(rows: Iterable[tuple[str, str, str, str]]) -> dict[str, Verdict]:
    """Decisions by id; lines without one are passed over, as those on what is left open."""
    by_id: dict[str, Verdict] = {}
    for sample_id, decision, why, place in rows:
        word = decision.strip().lower() if isinstance(decision, str) else decision
        if word == "":
            continue
        if word not in VERDICT_OF:
            raise InputError(f"{place}: expected the decision keep or remove, got {word!r:.100}")
        verdict = Verdict(VERDICT_OF[word], why.strip() or None, place)
        earlier = by_id.setdefault(sample_id, verdict)
        if earlier.verdict != verdict.verdict:
            raise InputError(
                f"{place}: {quoted(sample_id)} is decided the other way round in {earlier.place}; "
                "decide it once"
            )
    return by_id
