"""A folder of image files; its sub-folders are classes, or splits with classes below."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from pipelines.sources import columns, files
from pipelines.sources.base import BATCH_ROWS, Reading, Samples, Shard, Source, Units, cut
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


@dataclass(frozen=True)
class FolderReader:
    """Reads image files, one row each."""

    root: str  #: absolute folder or URL
    units: Units  #: a file each; ``label`` is null where it has none
    follow_links: bool  #: also where they lead out of ``root``
    schema: pa.Schema = field(repr=False)  #: of the batches

    def read(self, shard: Shard, batch_rows: int = BATCH_ROWS) -> Iterator[Samples]:
        """Batches of at most ``batch_rows`` files and about ``BATCH_BYTES``.

        A file that cannot be read, such as a broken link, gives a row without bytes, and the
        reason in ``unread``.

        Raises:
            InputError: a file has changed or vanished since it was listed, or the folder has.
            Unreachable: the store that they are in does not give one.
        """
        return columns.batches(self._rows(shard), self.schema, batch_rows)

    def labels(self, shard: Shard, column: str) -> Iterator[pa.Array]:
        """The labels follow from the names."""
        labels = [unit["label"] for unit in self.units[shard.first : shard.last]]
        yield pa.array(labels, pa.int64())

    def _rows(self, shard: Shard) -> Iterator[columns.Row]:
        for unit in self.units[shard.first : shard.last]:
            name, stamp = files.file_of(unit)
            image = self._image(name, stamp)
            data, unread = (None, image) if isinstance(image, ImageError) else (image, None)
            sample_id = files.text(name)
            values = {
                "image": {"bytes": data, "path": sample_id},
                "label": unit["label"],
                "sample_id": sample_id,
            }
            yield columns.Row(values, ".", len(data or b""), unread)

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

    The first folder level gives the labels, in sorted order. Where its folders all are
    called like splits, the level below does, over all splits, so that labels mean the same
    in each. An image beside class folders has a null label; without folders there is no
    ``label``.

    Args:
        listing: the files; others than images are left out, with a note.
        reading: what the user chose.

    Raises:
        InputError: a split must be chosen or does not exist, there is no such column, or all
            images are links out of the input.
    """
    listing, notes = listing.only(is_image, "images")
    folders = {name.partition("/")[0] for name in listing.names if "/" in name}
    depth = int(all(folder.lower() in files.SPLIT_NAMES for folder in folders))
    splits = {_split_of(name, depth) for name in listing.names}
    chosen = files.choose_split(listing.location, splits, reading.split)
    names = [name for name in listing.names if _split_of(name, depth) == chosen]
    if all(listing.stamps[name] == files.OUTSIDE for name in names):
        raise InputError(
            f"{listing.location}: all of its images ({len(names):,}) are links out of INPUT, "
            f"such as {files.text(names[0])} to {files.target(listing.root, names[0])}; give "
            "--follow-links to follow such links"
        )

    of_classes = {_class_of(name, depth) for name in listing.names}
    classes = sorted(map(files.text, filter(None, of_classes)))
    index = {name: i for i, name in enumerate(classes)}
    units = (
        files.unit_of(name, listing.stamps[name])
        | {"label": index.get(files.text(_class_of(name, depth) or ""))}
        for name in names
    )
    schema, image, label = columns.roles(listing.location, _schema(classes), reading)
    return Source(
        location=listing.location,
        kind="image folder",
        reader=FolderReader(listing.root, Units.of(units, _UNITS), listing.follow_links, schema),
        image_column=image,
        label_column=label,
        class_names=tuple(classes) or None,
        shards=tuple(cut([1] * len(names), reading.shard_rows)),
        rows=len(names),
        root=listing.local,
        nbytes=files.total_size(listing.stamps[name] for name in names),
        notes=notes,
    )


def _split_of(name: str, depth: int) -> str | None:
    """The split of a file: its first folder where classes lie ``depth`` 1 below the root."""
    return name.partition("/")[0] if depth and "/" in name else None


def _class_of(name: str, depth: int) -> str | None:
    """The folder of a file at ``depth`` below the root, None for a file that lies above it."""
    folders = name.split("/")[:-1]
    return folders[depth] if len(folders) > depth else None


def _schema(classes: list[str]) -> pa.Schema:
    fields = [pa.field("image", columns.IMAGE_TYPE)]
    features: dict[str, object] = {"image": {"_type": "Image"}}
    if classes:
        fields.append(pa.field("label", pa.int64()))
        features["label"] = {"names": classes, "_type": "ClassLabel"}
    return columns.with_features(pa.schema(fields), features)
