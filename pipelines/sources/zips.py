"""Zip archives of image folders: one, a folder of them, or a glob; read without unpacking."""

import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from pipelines.sources import annotations, archives, columns, files, metadata
from pipelines.sources.base import BATCH_ROWS, Reading, Samples, Shard, Source, Units, cut
from pipelines.sources.classes import Folders
from pipelines.sources.files import Listing
from pipelines.sources.folder import REFUSAL, is_image, refusal_of
from sanitizer.errors import InputError
from sanitizer.images import ImageError

#: What macOS puts beside the files of an archive.
_RESOURCES = "__MACOSX"

#: Bytes of a store that are read beyond a member.
_AHEAD = 1 << 20

#: A unit is one member, and the archive that it is in.
_UNITS = pa.schema(
    [
        *files.UNIT_FILE,
        *(("start", pa.int64()), ("packed", pa.int64()), ("unpacked", pa.int64())),
        *(("checksum", pa.int64()), ("method", pa.int32())),
        *(("path", pa.string()), ("label", pa.int64())),
        *((columns.SAMPLE_ID, pa.string()), REFUSAL),
    ]
)


def is_zip(name: str) -> bool:
    """Whether a file is a zip, by its extension."""
    return files.suffix(name) == ".zip"


@dataclass(frozen=True)
class ZipReader:
    """Reads members of zips, one row each."""

    root: str  #: absolute folder or URL
    units: Units  #: a member each
    schema: pa.Schema = field(repr=False)  #: of the batches
    beside: tuple[str, ...] = ()  #: the columns that come with the units

    def read(self, shard: Shard, batch_rows: int = BATCH_ROWS) -> Iterator[Samples]:
        """Batches of at most ``batch_rows`` members and about ``BATCH_BYTES``.

        A member that cannot be read, such as an encrypted one, gives a row without bytes, and
        the reason in ``unread``.

        Raises:
            InputError: an archive is gone, has changed or cannot be read.
        """
        run = slice(shard.first, shard.last)
        return columns.batches_beside(
            *(self._rows(shard), lambda: self.units.values(run), self.beside),
            *(self.schema, batch_rows),
        )

    def labels(self, shard: Shard, column: str) -> Iterator[pa.Array]:
        """The labels follow from the names, or come with the units."""
        run = slice(shard.first, shard.last)
        if column in self.beside:
            yield self.units.values(run).field(column)
        else:
            yield pa.array([unit["label"] for unit in self.units[run]], pa.int64())

    def _rows(self, shard: Shard) -> Iterator[columns.Row]:
        units = self.units[shard.first : shard.last]
        for (name, stamp), members in itertools.groupby(units, files.file_of):
            try:
                with files.open_file(self.root, name, stamp, ahead=_AHEAD) as file:
                    for unit in members:
                        member = _member_of(unit)
                        yield _row(unit, member.refusal or archives.content(file, member))
            except OSError as error:
                raise files.unreadable(name, "a zip", error) from error


def _member_of(unit: dict[str, Any]) -> archives.Member:
    return archives.Member(
        name=unit["path"],
        start=unit["start"],
        packed=unit["packed"],
        size=unit["unpacked"],
        checksum=unit["checksum"],
        method=unit["method"],
        refusal=refusal_of(unit),
    )


def _row(unit: dict[str, Any], image: bytes | ImageError) -> columns.Row:
    data, unread = (None, image) if isinstance(image, ImageError) else (image, None)
    values = {
        "image": {"bytes": data, "path": unit["path"]},
        "label": unit["label"],
        columns.SAMPLE_ID: unit[columns.SAMPLE_ID],
    }
    return columns.Row(values, files.text(files.file_of(unit)[0]), len(data or b""), unread)


@dataclass(frozen=True)
class _Entry:
    """A member among those of all archives."""

    archive: str
    member: archives.Member
    inner: str  #: its name in the archive; empty where that is none that can be


def resolve(listing: Listing, reading: Reading) -> Source:
    """Zip archives as a source.

    Each is read as the folder that it would unpack to: folders give labels and splits, and a
    ``metadata.csv`` or the like is read. An id is the name of the member, with that of its archive
    in front where there are several. Where a name occurs again, ``##2`` and so on is added, and of
    a name that leads out of the archive the id is ``<zip>#<number>``.

    Args:
        listing: the files; others than zips are left out, with a note.
        reading: what the user chose. A split is that of the archives' names, such as
            ``train.zip``, or of the folders within.

    Raises:
        InputError: a split must be chosen or does not exist; an archive that is not whole; no
            image, or none that can be read; no such column; a table that cannot be read.
    """
    listing, notes = listing.only(is_zip, "zips")
    named = any(map(files.split_of, listing.names))
    names = files.names_of_split(listing, reading.split if named else None)
    stamps = {name: files.stamp(listing.root, name) for name in names}
    entries = _entries(listing.root, names)
    within = Listing(listing.location, listing.root, tuple(sorted(entries)))
    within, others = _visible(within, entries)
    images = [name for name in within.names if is_image(entries[name].member.name)]
    if not images:
        raise InputError("; ".join((f"{listing.location}: found no images in the zip", *others)))
    inner = {name: entries[name].inner for name in images}
    folders = Folders.of([name for name in inner.values() if name])
    splits = {name: folders.split_of(inner[name]) for name in images}
    wanted = None if named else reading.split
    chosen = files.choose_split(listing.location, splits.values(), wanted)
    read = [name for name in images if splits[name] == chosen]
    if all(entries[name].member.refusal for name in read):
        raise InputError(
            f"{listing.location}: none of its {len(read):,} images can be read, the first as "
            f"{entries[read[0]].member.refusal}"
        )

    def table(name: str) -> annotations.Table:
        entry = entries[name]
        data = archives.whole(listing.root, entry.archive, entry.member)
        return annotations.parsed(name, io.BytesIO(data), reading.label_column)

    said = metadata.joined(within, read, table)
    classes = {name: folders.class_of(inner[name]) for name in images}
    plan = metadata.columns_of(listing.location, classes.values(), said, reading)
    units = (
        files.unit_of(entries[name].archive, stamps[entries[name].archive])
        | _columns_of(entries[name].member)
        | {"label": plan.numbers.get(classes[name] or "")}
        | {columns.SAMPLE_ID: said.ids.get(row, name)}
        for row, name in enumerate(said.names)
    )
    return Source(
        location=listing.location,
        kind="zip",
        reader=ZipReader(
            listing.root, Units.of(units, _UNITS).beside(said.values), plan.schema, plan.beside
        ),
        image_column=plan.image,
        label_column=plan.label,
        class_names=plan.class_names,
        shards=tuple(cut([1] * len(said.names), reading.shard_rows)),
        rows=len(said.names),
        root=listing.local,
        nbytes=files.total_size(stamps.values()),
        notes=(*notes, *others, *said.notes, *plan.notes),
    )


def _columns_of(member: archives.Member) -> dict[str, object]:
    why = member.refusal
    kind, _, detail = str(why).partition(": ")
    return {
        "path": member.name,
        "start": member.start,
        "packed": member.packed,
        "unpacked": member.size,
        "checksum": member.checksum,
        "method": member.method,
        "refusal": {"kind": kind, "detail": detail} if why is not None else None,
    }


def _entries(root: str, names: Sequence[str]) -> dict[str, _Entry]:
    """The members of all archives by their ids."""
    entries: dict[str, _Entry] = {}
    for name in names:
        try:
            found = archives.members(root, name)
        except OSError as error:
            raise files.unreadable(name, "a zip", error) from error
        for number, member in enumerate(found):
            inner = "" if _leads_out(member) else member.name
            first = inner or f"{files.text(name)}#{number}"
            first = f"{files.text(name)}/{inner}" if inner and len(names) > 1 else first
            entry, again = first, 1
            while entry in entries:
                again += 1
                entry = f"{first}##{again}"
            entries[entry] = _Entry(name, member, inner)
    return entries


def _leads_out(member: archives.Member) -> bool:
    return member.refusal is not None and member.refusal.kind == archives.OUTSIDE


def _visible(within: Listing, entries: dict[str, _Entry]) -> tuple[Listing, tuple[str, ...]]:
    """The images and tables in archives, and notes on what else there is."""
    hidden = [name for name in within.names if _is_hidden(entries[name].member.name)]
    notes: tuple[str, ...] = ()
    if hidden:
        notes = (f"left out {files.plural(len(hidden), 'hidden file')}: {files.some(hidden)}",)
        unseen = set(hidden)
        within = replace(within, names=tuple(n for n in within.names if n not in unseen))
    within, others = within.only(
        lambda name: is_image(entries[name].member.name) or metadata.is_metadata(name), "images"
    )
    return within, notes + others


def _is_hidden(name: str) -> bool:
    parts = name.split("/")
    return _RESOURCES in parts or any(p.startswith(".") and p != ".." for p in parts)
