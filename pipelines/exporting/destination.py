"""DEST, from the plan of an export to the mark that it is finished.

While an export runs, ``DEST/.freqsan/`` holds what is exported, the names of all files that will be
written, by piece of work, before the first of them is, and a receipt for each piece that is
finished. So an export that was stopped goes on, and one that is replaced leaves nothing behind and
takes nothing with it. In the end ``.freqsan/`` goes and two hidden files stay, which readers of
image sets pass over: the mark, and the names.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.exporting.names import NameSet, is_plain
from pipelines.runs import layout
from pipelines.runs.checksums import is_sealed, seal
from pipelines.runs.guards import check_output, check_space
from pipelines.runs.lock import locked
from pipelines.runs.progress import Progress
from pipelines.runs.store import Store
from pipelines.runs.threads import map_in_order
from pipelines.sources import remote
from sanitizer.cores import available_cores
from sanitizer.errors import InputError, RunError, quoted
from sanitizer.record import Record

#: What stays in DEST: what was exported, and the names of all files with their sizes.
MARK, FILES = ".freqsan-export.json", ".freqsan-files.parquet"

_PLAN = f"{layout.WORK}/export.json"
_PIECES = f"{layout.WORK}/export"

_FILES_SCHEMA = pa.schema([("name", pa.binary()), ("bytes", pa.int64())])

#: Bytes of the blocks that a file system gives a small file beyond its own.
BLOCK_BYTES = 4096

#: What plans are called in messages.
_WORDS = {
    "freqsan": "the version of freqsan",
    "output_sha256": "what OUTPUT holds",
    "form": "--as",
    "split": "--split",
}


@dataclass(frozen=True)
class ExportPlan(Record):
    """What decides what is in DEST."""

    freqsan: str  #: the version
    output_sha256: str  #: of the manifest of OUTPUT
    form: str  #: folder or webdataset
    split: str  #: clean, poisoned or rejected

    def differences(self, other: "ExportPlan") -> str:
        """In what another plan differs; in words."""
        names = [f.name for f in fields(self) if getattr(self, f.name) != getattr(other, f.name)]
        return ", ".join(_WORDS[name] for name in names)


@dataclass(frozen=True)
class Written(Record):
    """What one piece of an export, or all of it, has become."""

    sizes: dict[str, int]  #: bytes of each file, by name
    samples: int
    left_out: dict[str, int]  #: samples that are not there, by why

    @property
    def seen(self) -> int:
        """Samples that were looked at."""
        return self.samples + sum(self.left_out.values())


@dataclass(frozen=True)
class Mark(Record):
    """That an export is finished, and what it was."""

    plan: ExportPlan
    samples: int
    files: int
    bytes: int
    left_out: dict[str, int]  #: samples that are not there, by why
    notes: tuple[str, ...]  #: what the user should know, one line each
    sha256: str = ""  #: of all the other fields


class Form(Protocol):
    """How a set is written, piece by piece."""

    @property
    def pieces(self) -> int:
        """Into how many pieces the work is cut."""

    def names(self, piece: int) -> list[str]:
        """The files that a piece may write; asked for each piece once, in their order."""

    def write(self, dest: Store, piece: int, names: Sequence[str]) -> Written:
        """Write the files of a piece; the pieces may be done by several threads."""

    def notes(self) -> list[str]:
        """What the user should know, when all is written."""


class Destination:
    """The folder that an export writes to.

    Args:
        store: DEST.
        plan: of the export.
    """

    def __init__(self, store: Store, plan: ExportPlan):
        self._store = store
        self._plan = plan

    @contextmanager
    def opened(self, *, overwrite: bool, say: Callable[[str], None]) -> Iterator[Mark | None]:
        """Lock DEST, and see what is in it.

        Args:
            overwrite: replace another export.
            say: is told in a line what this waits for.

        Yields:
            The mark of this very export where it is finished; else None, and there is nothing
            but what this export has written before it was stopped.

        Raises:
            InputError: DEST holds files of somebody else; another export, without ``overwrite``; or
                one whose records cannot be read.
            RunError: this very export is finished there, but files of it are gone or changed.
        """
        check_output(self._store, "DEST")
        with locked(self._store, say):
            yield self._look(overwrite)

    def _look(self, overwrite: bool) -> Mark | None:
        mark, plan = self._read(MARK, Mark), self._read(_PLAN, ExportPlan)
        found = plan or (mark.plan if mark else None)
        if found is None:
            if strangers := self._strangers(()):
                raise InputError(
                    f"{self._store.address} holds {quoted(strangers)}, which no export of freqsan "
                    "has written; nothing in it is touched, give an empty or new DEST"
                )
        elif link := self._link():
            raise InputError(
                f"{self._store.address}: {quoted(link)} is a link, and freqsan writes to plain "
                "folders only; remove it, or give another DEST"
            )
        elif overwrite:
            self._remove(mark is not None)
        elif found != self._plan:
            state = "a finished" if plan is None else "an unfinished"
            raise InputError(
                f"{self._store.address} holds {state} export that differs in "
                f"{self._plan.differences(found)}; give --overwrite to replace it, or another DEST"
            )
        elif mark is not None:
            self._check_complete()
            self._store.remove(layout.WORK)
            return mark
        return None

    def begin(self, needed: int) -> None:
        """Leave the plan, where a stopped export has not.

        Raises:
            RunError: ``needed`` bytes are more than are free.
        """
        if self._read(_PLAN, ExportPlan) is None:
            check_space(self._store, needed)
            self._store.write_json(_PLAN, self._plan.to_json())
        self._store.remove_leftovers()

    def fill(self, form: Form, progress: Progress, total: int, notes: Sequence[str]) -> Mark:
        """Write all pieces that are not finished, and the mark.

        Args:
            form: how.
            progress: of the samples.
            total: of them.
            notes: what the user should know beside what the form tells.

        Raises:
            OSError: a file cannot be written.
        """
        for piece in range(form.pieces):
            self._name(piece, form.names(piece))
        size_of = self._sizes()
        receipts = [self._receipt(piece, size_of) for piece in range(form.pieces)]
        progress.start(total=total, done=sum(receipt.seen for receipt in receipts if receipt))
        todo = [piece for piece, receipt in enumerate(receipts) if receipt is None]
        for written in map_in_order(partial(self._write, form), todo, available_cores()):
            progress.advance(written.seen)
        progress.finish()
        return self._commit(form.pieces, (*notes, *form.notes()))

    # --- Pieces -----------------------------------------------------------------------------

    def _name(self, piece: int, names: list[str]) -> None:
        """Leave the names of the files of a piece, before any of them is written."""
        if not self._store.exists(_names_of(piece)):
            self._store.write_json(_names_of(piece), names)

    def _write(self, form: Form, piece: int) -> Written:
        names = self._store.read_json(_names_of(piece))
        written = form.write(self._store, piece, names)
        self._store.write_json(_receipt_of(piece), seal(written.to_json()))
        return written

    def _receipt(self, piece: int, size_of: Callable[[str], int | None]) -> Written | None:
        """What a finished piece has written, if that is still there, in its size."""
        value = self._read_json(_receipt_of(piece))
        if value is None or not is_sealed(value):
            return None
        receipt = Written.from_json(value)
        whole = all(size_of(name) == size for name, size in receipt.sizes.items())
        return receipt if whole else None

    def _commit(self, pieces: int, notes: tuple[str, ...]) -> Mark:
        """Bring all files to the disk, then say that they are there."""
        self._store.sync()
        samples = files = size = 0
        left_out: dict[str, int] = {}
        staged = self._store.stage(FILES)
        try:
            with pq.ParquetWriter(staged, _FILES_SCHEMA, compression="zstd") as writer:
                for piece in range(pieces):
                    written = Written.from_json(self._store.read_json(_receipt_of(piece)))
                    samples, files = samples + written.samples, files + len(written.sizes)
                    size += sum(written.sizes.values())
                    for why, count in written.left_out.items():
                        left_out[why] = left_out.get(why, 0) + count
                    writer.write_batch(_files_batch(written.sizes))
            self._store.publish(staged, FILES)
        finally:
            staged.unlink(missing_ok=True)
        mark = Mark(self._plan, samples, files, size, left_out, notes)
        sealed = seal(mark.to_json())
        self._store.write_json(MARK, sealed)
        self._store.remove(layout.WORK)
        return Mark.from_json(sealed)

    # --- What is there ----------------------------------------------------------------------

    def _read(self, name: str, kind: type[Any]) -> Any:
        """A record; None where there is no such file.

        Raises:
            InputError: it cannot be read.
        """
        value = self._read_json(name)
        try:
            if kind is Mark and value is not None and not is_sealed(value):
                raise ValueError("its checksum is wrong")
            return None if value is None else kind.from_json(value)
        except ValueError as error:
            raise self._broken(name, error) from error

    def _read_json(self, name: str) -> Any:
        try:
            return self._store.read_json(name)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise self._broken(name, error) from error

    def _broken(self, name: str, error: Exception) -> InputError:
        reason = str(error).partition("\n")[0] or type(error).__name__
        return InputError(
            f"{self._store.locate(name)} cannot be read ({reason}), so nobody knows which files "
            "are of that export; give another DEST"
        )

    def _files(self) -> Iterator[tuple[str, int]]:
        """Name and size of each file of a finished export."""
        try:
            with self._store.open(FILES) as handle, pq.ParquetFile(handle) as file:
                for batch in file.iter_batches(columns=_FILES_SCHEMA.names):
                    for name, size in zip(*map(pa.Array.to_pylist, batch.columns), strict=True):
                        yield name.decode("utf-8", "surrogateescape"), size
        except (OSError, pa.ArrowException, AttributeError) as error:
            raise self._broken(FILES, error) from error

    def _planned(self) -> Iterator[str]:
        """The names of all files that an unfinished export may have written."""
        for name in self._store.names(_PIECES, "*.names.json"):
            yield from map(str, self._read_json(name) or ())

    def _check_complete(self) -> None:
        size_of = self._sizes()
        wrong = [name for name, size in self._files() if size_of(name) != size]
        if wrong:
            more = f" and {len(wrong) - 1:,} more" if len(wrong) > 1 else ""
            raise RunError(
                f"{self._store.address}: {quoted(wrong[0])}{more} is missing or altered since it "
                "was exported; export anew with --overwrite, or to another DEST"
            )

    def _sizes(self) -> Callable[[str], int | None]:
        """What tells the size of a file; of a store elsewhere all are asked for at once."""
        if self._store.local is not None:
            return self._store.size
        listed = {one.name: one.size for one in remote.entries(self._store.address)}
        return listed.get

    def _strangers(self, own: Iterable[str]) -> str | None:
        """The first file in DEST that is not of an export whose files are ``own``."""
        known = NameSet(own)
        for name in (found.lstrip("/") for found in self._store.walk("")):
            ours = name in (MARK, FILES) or name.startswith(f"{layout.WORK}/")
            if not ours and name not in known:
                return name
        return None

    def _link(self) -> str | None:
        """A folder in DEST that is a link: who follows it leaves DEST."""
        root = self._store.local
        if root is None:
            return None
        below = (Path(at, name) for at, folders, _ in os.walk(root) for name in folders)
        return next((str(one.relative_to(root)) for one in below if one.is_symlink()), None)

    def _remove(self, finished: bool) -> None:
        """Remove what an earlier export has written, and nothing else.

        Raises:
            InputError: there are other files among them.
        """
        own = [name for name, _ in self._files()] if finished else list(self._planned())
        if stranger := self._strangers(own):
            raise InputError(
                f"{self._store.address} also holds {quoted(stranger)}, which the export that is "
                "replaced has not written; move that elsewhere, or give another DEST"
            )
        named = list(filter(is_plain, own))
        for name in named:
            self._store.remove(name)
        folders = {str(outer) for name in named for outer in PurePosixPath(name).parents}
        for folder in sorted(folders - {"."}, reverse=True):  # an inner one before the outer
            self._store.remove_empty(folder)
        for name in (MARK, FILES, _PIECES, _PLAN):  # who tells of others goes before them
            self._store.remove(name)


def ignores_case(store: Store) -> bool:
    """Whether a folder that an export has begun in takes ``a`` and ``A`` for the same name."""
    return store.local is not None and (store.local / layout.WORK.upper()).exists()


def _names_of(piece: int) -> str:
    return f"{_PIECES}/{piece:05d}.names.json"


def _receipt_of(piece: int) -> str:
    return f"{_PIECES}/{piece:05d}.json"


def _files_batch(sizes: dict[str, int]) -> pa.RecordBatch:
    names = [name.encode("utf-8", "surrogateescape") for name in sizes]
    columns = [pa.array(names, pa.binary()), pa.array(list(sizes.values()), pa.int64())]
    return pa.RecordBatch.from_arrays(columns, schema=_FILES_SCHEMA)
