"""WebDataset tars: one, a folder of them, or a glob; consecutive members with one key are a row."""

import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pyarrow as pa

from pipelines.sources import columns, files, tars
from pipelines.sources.base import (
    BATCH_ROWS,
    Reading,
    Samples,
    Shard,
    Source,
    Units,
    label_column_of,
    runs_up_to,
)
from pipelines.sources.files import Listing
from pipelines.sources.folder import SUFFIXES
from sanitizer.errors import InputError, shortened
from sanitizer.images import ImageError

#: Samples of the first tar that tell the columns, and how many of their extensions become one.
SAMPLED, MAX_COLUMNS = 5, 100

#: Bytes that one sample may hold, and what a member counts beside its own.
MAX_SAMPLE_BYTES, MEMBER_BYTES = files.MAX_FILE_BYTES, 1 << 10

#: Where members go that have no column of their own, so that none is lost.
OTHER = "__other__"
_OTHER_TYPE = pa.list_(pa.struct([("extension", pa.string()), ("bytes", pa.binary())]))

#: 64 bits have at most 19 digits; no leading zeros, plus signs or underscores.
_NUMBER = re.compile(rb"0|-?[1-9][0-9]{0,18}")

_TEXT = ("txt", "text", "json")
_OWN_COLUMNS = ("image", "label", "__key__", OTHER, columns.SAMPLE_ID)


def is_tar(name: str) -> bool:
    """Whether a file is a tar, compressed or not, by its extension."""
    return name.lower().endswith((".tar", ".tar.gz", ".tgz"))


@dataclass
class Sample:
    """Consecutive members of a tar with the same key."""

    key: str
    #: by extension without a dot, the bytes or why they were not read
    members: dict[str, bytes | ImageError] = field(default_factory=dict)
    #: their headers, likewise
    headers: dict[str, tarfile.TarInfo] = field(default_factory=dict)
    weight: int = 0  #: bytes, about, that it takes
    error: ImageError | None = None  #: why nothing of it is kept

    def continues(self, key: str, extension: str) -> bool:
        """Whether a member belongs to this sample; one whose extension it has does not."""
        return key == self.key and extension not in self.members

    def add(self, extension: str, member: tars.Member) -> None:
        """Read one more member, unless all together are too large."""
        error = member.error()
        self.weight += MEMBER_BYTES + len(extension) + (0 if error else member.size)
        if self.weight > MAX_SAMPLE_BYTES:
            self.members.clear()
            self.headers.clear()
            self.error = ImageError(
                "sample too large",
                f"its members take more than {MAX_SAMPLE_BYTES:,} bytes together",
            )
        else:
            self.members[extension] = error or member.read()
            self.headers[extension] = member.header

    def image_extensions(self) -> list[str]:
        """The extensions of those members that are images."""
        return [e for e in self.members if "." + e.rpartition(".")[2] in SUFFIXES]

    def image(self, extension: str | None) -> bytes | ImageError:
        """The member that is the image, or why there is none."""
        if self.error is not None:
            return self.error
        if extension in self.members:
            return self.members[extension]
        known = shortened(", ".join(self.members))
        return ImageError("no image", f"the extensions of this sample are {known}")


#: A unit is one tar.
_UNITS = pa.schema(files.UNIT_FILE)

#: Small tars share a shard of about so many bytes.
SHARD_BYTES = 32 << 20


@dataclass(frozen=True)
class TarReader:
    """Reads tars, each from its start to its end."""

    root: str  #: absolute folder or URL
    units: Units  #: a tar each
    image: str | None  #: extension of the images; None for any usual one
    label: str | None  #: extension of the labels
    schema: pa.Schema = field(repr=False)  #: of the batches

    def read(self, shard: Shard, batch_rows: int = BATCH_ROWS) -> Iterator[Samples]:
        """Batches of at most ``batch_rows`` samples and about ``BATCH_BYTES``.

        A sample without an image, or with one that is a link or larger than
        ``MAX_FILE_BYTES``, gives a row without bytes, and the reason in ``unread``. So does a
        sample that takes more than ``MAX_SAMPLE_BYTES``, of which nothing else is kept
        either. Where a key occurs again, ``##2`` and so on is added to the id.

        A member that does not fit its column, such as a label that is not a whole number
        where those of the first samples were, or text that is not UTF-8, gives a null there
        and goes to ``__other__`` as it is.

        Raises:
            InputError: a tar is gone, has changed or is not whole.
        """
        return columns.batches(self._rows(shard), self.schema, batch_rows)

    def labels(self, shard: Shard, column: str) -> Iterator[pa.Array]:
        """As :meth:`read`: a tar can only be read whole."""
        return label_column_of(self, shard, column)

    def _rows(self, shard: Shard) -> Iterator[columns.Row]:
        for unit in self.units[shard.first : shard.last]:
            yield from self._rows_of_tar(*files.file_of(unit))

    def _rows_of_tar(self, name: str, stamp: files.Stamp) -> Iterator[columns.Row]:
        for sample_id, sample in samples_of(self.root, name, stamp):
            yield self._row(sample, sample_id, files.text(name))

    def _row(self, sample: Sample, sample_id: str, file: str) -> columns.Row:
        extension = self.image or next(iter(sample.image_extensions()), None)
        image = sample.image(extension)
        data, unread = (None, image) if isinstance(image, ImageError) else (image, None)
        members = {
            name: None if isinstance(data, ImageError) else data
            for name, data in sample.members.items()
            if name != extension
        }
        row: dict[str, Any] = {
            "__key__": sample.key,
            columns.SAMPLE_ID: sample_id,
            "image": {
                "bytes": data,
                "path": f"{sample.key}.{extension}" if extension else sample.key,
            },
        }
        extensions = {name: name for name in self.schema.names if name not in _OWN_COLUMNS}
        if self.label is not None:
            extensions["label"] = self.label
        for column, extension in extensions.items():
            data = members.get(extension)
            row[column] = None if data is None else self._value(column, data)
            if data is None or row[column] is not None:
                members.pop(extension, None)
        row[OTHER] = [{"extension": e, "bytes": data} for e, data in members.items()] or None
        return columns.Row(row, file, min(sample.weight, MAX_SAMPLE_BYTES), unread)

    def _value(self, column: str, data: bytes) -> bytes | str | int | None:
        """What a member is in its column; None where it does not fit."""
        kind = self.schema.field(column).type
        if pa.types.is_integer(kind):
            return _whole_number(data)
        if not pa.types.is_string(kind):
            return data
        text = _decoded(data)
        return text.strip() if text is not None and column == "label" else text


def resolve(listing: Listing, reading: Reading) -> Source:
    """WebDataset tars as a source; a shard is one tar, or several small ones.

    The columns follow from the first ``SAMPLED`` samples of the first tar: ``image``,
    ``label`` where there is a ``.cls``, one for each further extension up to ``MAX_COLUMNS``
    (text for txt and json, else bytes), ``__key__``. Labels are numbers where those of the
    first samples are whole numbers of 64 bits in their usual notation, else text without the
    space around it, so that ``007`` stays what it is. A member with another extension, met
    later, or one that does not fit its column is kept in ``__other__``, byte for byte.

    Args:
        listing: the files; others than tars are left out, with a note. So are hidden members,
            with one where they are among the first samples.
        reading: what the user chose. Columns are extensions: without a choice, the images
            have any usual one and the labels ``cls``. ``shard_rows`` is not used, since a tar
            can only be read from its start.

    Raises:
        InputError: a split must be chosen or does not exist; no sample, no image, or
            several in one sample; no such extension, or one for both images and labels; a tar
            that is not whole; only samples that are too large among the first.
    """
    listing, notes = listing.only(is_tar, "tars")
    names = files.names_of_split(listing, reading.split)
    where = f"{listing.location}: the first samples of {files.text(names[0])}"
    image, label = _lower(reading.image_column), _lower(reading.label_column)
    hidden: list[str] = []
    samples = islice(_samples(listing.root, names[0], hidden=hidden), SAMPLED)
    looks = [_Look.at(sample, label or "cls") for sample in samples]
    if looks and all(look.error for look in looks):
        raise InputError(f"{where} cannot be read ({looks[0].error}); put smaller ones first")
    extensions = list(dict.fromkeys(e for look in looks for e in look.extensions))
    for wanted in filter(None, (image, label)):
        if wanted not in extensions:
            known = shortened(", ".join(extensions)) or "nothing"
            raise InputError(f"{where} have no .{wanted}, only {known}")
    if hidden:
        notes += (
            "hidden members of tars are left out; there are some among the first samples of "
            f"{files.text(names[0])}: {files.some(hidden)}",
        )
    label = label or ("cls" if "cls" in extensions and image != "cls" else None)
    images = {image} if image else _image_extensions(looks, where)
    if label in images:
        raise InputError(
            f"{where}: .{label} holds the images, so it cannot hold the labels; choose another "
            "--label-column or leave it out"
        )
    schema = _schema(looks, [e for e in extensions if e not in images | {label}], label)
    stamps = [files.stamp(listing.root, name) for name in names]
    units = [files.unit_of(name, stamp) for name, stamp in zip(names, stamps, strict=True)]
    runs = list(runs_up_to(SHARD_BYTES, [s.size or SHARD_BYTES for s in stamps]))
    return Source(
        location=listing.location,
        kind="webdataset",
        reader=TarReader(listing.root, Units.of(units, _UNITS), image, label, schema),
        image_column="image",
        label_column="label" if label else None,
        class_names=None,
        shards=tuple(Shard(first, last) for first, last in runs),
        rows=None,
        root=listing.local,
        nbytes=files.total_size(stamps),
        # To count samples is to read all tars to their ends; bytes are known at once.
        shard_bytes=tuple(files.total_size(stamps[first:last]) for first, last in runs),
        notes=notes,
    )


@dataclass(frozen=True)
class _Look:
    """What a sample tells of the columns."""

    extensions: list[str]
    images: list[str]  #: those of images
    number: bool | None  #: whether the label is a whole number; None where there is none
    error: ImageError | None  #: why nothing of it was read

    @classmethod
    def at(cls, sample: Sample, label: str) -> "_Look":
        """Look at a sample, whose label has the extension ``label``."""
        data = sample.members.get(label)
        number = _whole_number(data) is not None if isinstance(data, bytes) else None
        return cls(list(sample.members), sample.image_extensions(), number, sample.error)


def _image_extensions(looks: list[_Look], where: str) -> set[str | None]:
    for look in looks:
        if len(look.images) > 1:
            raise InputError(
                f"{where} have several images each: {files.some(look.images)}; choose one with "
                "--image-column, or rename them, as a key ends at the first dot of a name"
            )
    extensions: set[str | None] = {e for look in looks for e in look.images}
    if not extensions:
        raise InputError(f"{where} hold no images; expected .jpg, .png or the like")
    return extensions


def _schema(looks: list[_Look], others: list[str], label: str | None) -> pa.Schema:
    fields = [pa.field("image", columns.IMAGE_TYPE)]
    if label is not None:
        told = {look.number for look in looks} - {None}
        numbers = told == {True}
        fields.append(pa.field("label", pa.int64() if numbers else pa.string()))
    for name in others[:MAX_COLUMNS]:
        if name not in _OWN_COLUMNS:
            fields.append(pa.field(name, pa.string() if name in _TEXT else pa.binary()))
    fields += [pa.field("__key__", pa.string()), pa.field(OTHER, _OTHER_TYPE)]
    return columns.output_schema(pa.schema(fields), "image")


def samples_of(
    root: str, name: str, stamp: files.Stamp = files.UNKNOWN
) -> Iterator[tuple[str, Sample]]:
    """The samples of one tar with their ids, in their order.

    Args:
        root: absolute folder or URL.
        name: of the tar in it.
        stamp: what it was when it was listed.

    Raises:
        InputError: it is gone, has changed or is not whole.
    """
    file = files.text(name)
    seen: dict[str, int] = {}  # how often each id was asked for
    for sample in _samples(root, name, stamp):
        sample_id = wanted = f"{file}#{sample.key}"
        while sample_id in seen:
            seen[wanted] += 1
            sample_id = f"{wanted}##{seen[wanted]}"
        seen[sample_id] = 1
        yield sample_id, sample


def _samples(
    root: str,
    name: str,
    stamp: files.Stamp = files.UNKNOWN,
    hidden: list[str] | None = None,
) -> Iterator[Sample]:
    """The samples of one tar, from its members but hidden ones, whose names go to ``hidden``."""
    sample: Sample | None = None
    try:
        with files.open_file(root, name, stamp) as file:
            for member in tars.members(file):
                folder, slash, base = member.name.removeprefix("./").rpartition("/")
                if base.startswith("."):
                    if hidden is not None and len(hidden) <= files.SOME:  # or they pile up
                        hidden.append(member.name)
                    continue
                stem, _, extension = base.partition(".")
                # Each as text by itself: an odd byte in an extension leaves the key as it is.
                key, extension = files.text(folder + slash + stem), files.text(extension.lower())
                if sample and not sample.continues(key, extension):
                    yield sample
                    sample = None
                sample = sample or Sample(key)
                sample.add(extension, member)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise files.unreadable(name, "a tar", error) from error
    if sample:
        yield sample


def _lower(extension: str | None) -> str | None:
    return extension.lower().removeprefix(".") if extension else None


def _decoded(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _whole_number(data: bytes) -> int | None:
    """The number that these bytes write in the usual way, if it fits 64 bits."""
    written = data.strip()
    if not _NUMBER.fullmatch(written):
        return None
    value = int(written)
    return value if -(2**63) <= value < 2**63 else None
