"""Checksums of what was written, and whether it is still there as it was written.

They find what a disk or a person has changed. They do not stop an attacker who may write to
OUTPUT and computes them anew; for that, compare the manifest's digest with one that was kept
elsewhere.
"""

import hashlib
import json
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines.runs import layout
from pipelines.runs.store import NotPlainError, Store
from pipelines.runs.threads import map_in_order
from sanitizer.cores import available_cores
from sanitizer.record import Record

#: Files that a message names.
NAMED = 3

#: Bytes of a file that are in memory at a time.
BLOCK = 1 << 20

#: The field of a sealed JSON file that holds the digest of all others.
SEAL = "sha256"

#: What may be wrong with a file.
MISSING, ALTERED, LINK = "is missing", "was altered", "is a link"
STRAY = "is not of this run"

#: What is wrong with each of some files, in words, by name.
Changes = dict[str, str]


@dataclass(frozen=True)
class Checksum(Record):
    """What tells whether a file is still the one that was written."""

    bytes: int
    sha256: str  #: hexadecimal


def checksum(data: bytes) -> Checksum:
    """The checksum of a file that holds ``data``."""
    return Checksum(len(data), hashlib.sha256(data).hexdigest())


def changes(store: Store, files: Mapping[str, Checksum]) -> Changes:
    """The files that are no longer what was written.

    Args:
        store: OUTPUT.
        files: by name; hostile names are not looked at, and count as changed.

    Raises:
        OSError: a file cannot be read.
    """
    found = map_in_order(lambda item: _change(store, *item), list(files.items()), available_cores())
    return {name: change for name, change in zip(files, found, strict=True) if change}


def strays(store: Store, files: Iterable[str]) -> Changes:
    """The Parquet files that are named as if they were parts of a result, but for ``files``.

    Files with other names are nobody's concern: ``load_dataset`` reads what the card lists.
    """
    listed = set(files)
    parts = [n for kind in layout.SHARDED for n in store.names(kind.folder, kind.name_pattern)]
    return {name: STRAY for name in parts if name not in listed}


def described(changed: Changes) -> str:
    """The first of some changes, for a message."""
    words = [f"{name} {change}" for name, change in list(changed.items())[:NAMED]]
    more = len(changed) - len(words)
    return ", ".join(words) + (f" and {more:,} more" if more else "")


def seal(value: Mapping[str, Any]) -> dict[str, Any]:
    """JSON with the digest of all its other fields, see :func:`is_sealed`."""
    return {**value, SEAL: _digest(value)}


def is_sealed(value: Any) -> bool:
    """Whether JSON is what :func:`seal` made.

    >>> is_sealed(seal({"rows": 3})), is_sealed(seal({"rows": 3}) | {"rows": 4})
    (True, False)
    """
    return isinstance(value, dict) and value.get(SEAL) == _digest(value)


def _digest(value: Mapping[str, Any]) -> str:
    """Of the canonical form: keys in order, no spaces, ASCII."""
    fields = {key: item for key, item in value.items() if key != SEAL}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


# --- The report, which can be made anew from the results ------------------------------------


def _report(findings: Iterable[str]) -> set[str]:
    """What ``freqsan report`` makes anew, of a run with some findings."""
    pages = map(layout.finding_page, findings)
    return {layout.PAGE, layout.VALIDATION, *pages}


@dataclass(frozen=True)
class ReportChecksums(Record):
    """The files of ``report/`` that follow from the results, as in ``report/checksums.json``.

    They are apart from the manifest because ``freqsan report`` writes them again, and another
    version may write them otherwise, while a manifest changes only with the results.
    """

    files: dict[str, Checksum]  #: by name


def vouch_for_report(store: Store, findings: Iterable[str]) -> None:
    """Leave the checksums of the report that was just written.

    Args:
        store: OUTPUT.
        findings: the names of those that have a page.
    """
    files = {name: checksum(store.read(name)) for name in sorted(_report(findings))}
    store.write_json(layout.REPORT_CHECKSUMS, seal(ReportChecksums(files).to_json()))


def report_changes(store: Store, findings: Iterable[str]) -> Changes:
    """As :func:`changes`, of the report on a run with some findings.

    Raises:
        OSError: a file cannot be read.
    """
    try:
        sealed = store.read_json(layout.REPORT_CHECKSUMS)
        written = ReportChecksums.from_json(sealed)
    except FileNotFoundError:
        return {layout.REPORT_CHECKSUMS: MISSING}
    except (NotPlainError, ValueError, RecursionError):
        return {layout.REPORT_CHECKSUMS: ALTERED}
    if not is_sealed(sealed) or written.files.keys() != _report(findings):
        return {layout.REPORT_CHECKSUMS: ALTERED}
    return changes(store, written.files)


# --- One file -------------------------------------------------------------------------------


def _change(store: Store, name: str, written: Checksum) -> str | None:
    """What is wrong with a file; None where it is as it was written."""
    if not _is_within(name):
        return "is no name of a file of freqsan's"
    if store.local is not None and (change := _form(store.local, name)):
        return change
    size = store.size(name)
    if size is None:
        return MISSING
    if size != written.bytes:
        return ALTERED
    digest = hashlib.sha256()
    with store.open(name) as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return None if digest.hexdigest() == written.sha256 else ALTERED


def _is_within(name: str) -> bool:
    """Whether a name stays inside the folder that it is relative to."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in name


def _form(folder: Path, name: str) -> str | None:
    """What is wrong with the kind of a file and of the folders it lies in.

    freqsan makes plain files in plain folders: behind a link may be anything, also later.
    """
    path = folder
    for part in PurePosixPath(name).parts:
        path /= part
        try:
            mode = path.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return MISSING
        if stat.S_ISLNK(mode):
            return LINK
    return None if stat.S_ISREG(mode) else "is no plain file"
