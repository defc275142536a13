"""A folder of image files; its sub-folders are classes, or splits with classes below."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from pipelines.sources import annotations, columns, files, metadata
from pipelines.sources.base import BATCH_ROWS, Reading, Samples, Shard, Source, Units, cut
from pipelines.sources.classes import Folders
from pipelines.sources.files import Listing
from pipelines.sources.remote import asking, is_remote
from sanitizer.errors import InputError
from sanitizer.images import ImageError

#: Extensions of images, those that freqsan cannot decode too: they shall end among the
#: rejects instead of being passed over.
SUFFIXES = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".avif",
        ".heic",
        ".heif",
        ".jxl",
        ".ppm",
        ".pgm",
        ".pbm",
        ".ico",
        ".jp2",
        ".svg",
    )
)


def is_image(name: str) -> bool:
    """Whether a file counts as a sample, by its extension."""
    return files.suffix(name) in SUFFIXES


#: A unit is one file.
_UNITS = pa.schema([*files.UNIT_FILE, ("label", pa.int64())])

#: Why a file is not read, where that is known before.
REFUSAL = ("refusal", pa.struct([("kind", pa.string()), ("detail", pa.string())]))

#: Or one row of a table on files: with an id where that is not the name of the file, why it is not
#: read, if it was not found, and the other columns as ``VALUES``.
ROW_UNITS = pa.schema(
    [
        *_UNITS,
        (columns.SAMPLE_ID, pa.string()),
        REFUSAL,
    ]
)


def refusal_of(unit: Mapping[str, Any]) -> ImageError | None:
    """What the column ``REFUSAL`` of a unit says."""
    refusal = unit.get(REFUSAL[0])
    return ImageError(**refusal) if refusal else None


@dataclass(frozen=True)
class FolderReader:
    """Reads image files, one row each."""

    root: str  #: absolute folder or URL
    units: Units  #: a file each; ``label`` is null where it has none
    follow_links: bool  #: also where they lead out of ``root``
    schema: pa.Schema = field(repr=False)  #: of the batches
    image: str = "image"  #: the column of the images
    #: the columns that come with the units, as what a table says of the images
    beside: tuple[str, ...] = ()
    file: str = "."  #: that the rows come from

    def read(self, shard: Shard, batch_rows: int = BATCH_ROWS) -> Iterator[Samples]:
        """Batches of at most ``batch_rows`` files and about ``BATCH_BYTES``.

        A file that cannot be read, such as a broken link, gives a row without bytes, and the
        reason in ``unread``.

        Raises:
            InputError: a file has changed or vanished since it was listed, or the folder has.
            Unreachable: the store that they are in does not give one.
        """
        run = slice(shard.first, shard.last)
        return columns.batches_beside(
            *(self._rows(shard), lambda: self.units.values(run), self.beside),
            *(self.schema, batch_rows),
        )

    def labels(self, shard: Shard, column: str) -> Iterator[pa.Array]:
        """The labels follow from the names, or come with the units."""
        if column in self.beside:
            yield self.units.values(slice(shard.first, shard.last)).field(column)
            return
        labels = [unit["label"] for unit in self.units[shard.first : shard.last]]
        yield pa.array(labels, pa.int64())

    def _rows(self, shard: Shard) -> Iterator[columns.Row]:
        for unit in self.units[shard.first : shard.last]:
            name, stamp = files.file_of(unit)
            image = refusal_of(unit) or self._image(name, stamp)
            data, unread = (None, image) if isinstance(image, ImageError) else (image, None)
            path = files.text(name)
            values = {
                self.image: {"bytes": data, "path": path},
                "label": unit["label"],
                columns.SAMPLE_ID: unit.get(columns.SAMPLE_ID) or path,
            }
            yield columns.Row(values, self.file, len(data or b""), unread)

    def _image(self, name: str, stamp: files.Stamp) -> bytes | ImageError:
        """The content of a file, or why it cannot be read, nor could be when it was listed.

        Raises:
            InputError: it has changed or vanished since, or the folder has.
            Unreachable: the store that it is in does not give it.
        """
        if stamp == files.OUTSIDE:
            return ImageError(
                "link out of INPUT",
                f"leads to {files.target(self.root, name)} and was not followed; give "
                "--follow-links to follow such links",
            )
        if error := files.too_large(stamp.size or 0):
            return error
        most = files.MAX_FILE_BYTES + 1 if stamp.size is None else stamp.size
        try:
            with files.open_file(self.root, name, stamp, self.follow_links) as file:
                data = file.read(most)
        except OSError as failure:
            self._check_unreadable(name, stamp)
            if is_remote(self.root):  # a store that contradicts itself says nothing of the image
                with asking(f"{self.root}/{name}"):
                    raise ConnectionError(str(failure)) from failure
            return files.unread(self.root, name, failure)
        return files.too_large(len(data)) or data

    def _check_unreadable(self, name: str, stamp: files.Stamp) -> None:
        """See that a file which cannot be read could not be when it was listed, either."""
        if not files.exists(self.root):
            raise InputError(f"{self.root}: the folder is gone")
        if stamp == files.UNKNOWN:
            return
        try:
            files.check(self.root, name, stamp)
        except OSError as error:
            raise InputError(
                f"{files.text(name)}: was there when the run began and is not any more "
                f"({error.strerror or error}); put it back, or start again with --overwrite"
            ) from error


def resolve(listing: Listing, reading: Reading) -> Source:
    """An image folder as a source.

    Labels are those of a table beside the images, see :mod:`pipelines.sources.metadata`; else
    the folders give them, as :class:`Folders` says, in sorted order. An image beside class
    folders has a null label; without folders there is no ``label``, nor where there is a table and
    a single folder.

    Args:
        listing: the files; others than images and those tables are left out, with a note.
        reading: what the user chose.

    Raises:
        InputError: a split must be chosen or does not exist, there is no such column, all
            images are links out of the input, or a table cannot be read.
    """
    stamps = listing.stamps
    listing, notes = listing.only(
        lambda name: (
            is_image(name) or (metadata.is_metadata(name) and stamps.get(name) != files.OUTSIDE)
        ),
        "images",
    )
    images = [name for name in listing.names if is_image(name)]
    folders = Folders.of(images)
    chosen = files.choose_split(listing.location, set(map(folders.split_of, images)), reading.split)
    names = [name for name in images if folders.split_of(name) == chosen]
    if all(listing.stamps[name] == files.OUTSIDE for name in names):
        raise InputError(
            f"{listing.location}: all of its images ({len(names):,}) are links out of INPUT, "
            f"such as {files.text(names[0])} to {files.target(listing.root, names[0])}; give "
            "--follow-links to follow such links"
        )
    said = metadata.joined(
        listing,
        names,
        lambda name: annotations.read(
            listing.root, name, listing.stamps.get(name, files.UNKNOWN), reading.label_column
        ),
    )
    plan = metadata.columns_of(listing.location, map(folders.class_of, images), said, reading)
    units = (
        files.unit_of(name, listing.stamps[name])
        | {
            "label": plan.numbers.get(folders.class_of(name) or ""),
            columns.SAMPLE_ID: said.ids.get(row),
        }
        for row, name in enumerate(said.names)
    )
    kind = _UNITS if said.values is None else ROW_UNITS
    return Source(
        location=listing.location,
        kind="image folder",
        reader=FolderReader(
            listing.root,
            Units.of(units, kind).beside(said.values),
            listing.follow_links,
            plan.schema,
            beside=plan.beside,
        ),
        image_column=plan.image,
        label_column=plan.label,
        class_names=plan.class_names,
        shards=tuple(cut([1] * len(said.names), reading.shard_rows)),
        rows=len(said.names),
        root=listing.local,
        nbytes=files.total_size(listing.stamps[name] for name in said.names),
        notes=(*notes, *said.notes, *plan.notes),
    )
