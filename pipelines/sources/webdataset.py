"""WebDataset tars: one, a folder of them, or a glob; consecutive members with one key are a row."""

import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pyarrow as pa

from pipelines.sources import columns, files
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
from sanitizer.errors import InputError

#: Samples of the first tar that tell the columns.
SAMPLED = 5

#: Where members go that have no column of their own, so that none is lost.
OTHER = "__other__"
_OTHER_TYPE = pa.list_(pa.struct([("extension", pa.string()), ("bytes", pa.binary())]))

#: 64 bits have at most 19 digits; no leading zeros, plus signs or underscores.
_NUMBER = re.compile(rb"0|-?[1-9][0-9]{0,18}")

_TEXT = ("txt", "text", "json")
_OWN_COLUMNS = ("image", "label", "__key__", OTHER, columns.SAMPLE_ID)
_ERRORS = (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError)


def is_tar(name: str) -> bool:
    """Whether a file is a tar, compressed or not, by its extension."""
    return name.lower().endswith((".tar", ".tar.gz", ".tgz"))


@dataclass(frozen=True)
class Sample:
    """Consecutive members of a tar with the same key."""

    key: str
    members: dict[str, bytes | None]  #: by extension without a dot; None where not readable

    def image_extensions(self) -> list[str]:
        """The extensions of those members that are images."""
        return [e for e in self.members if "." + e.rpartition(".")[2] in SUFFIXES]


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
        ``MAX_FILE_BYTES``, gives a row without bytes. Where a key occurs again, ``##2`` and
        so on is added to the id.

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
        file = files.text(name)
        seen: set[str] = set()
        for sample in _samples(self.root, name, stamp):
            sample_id = f"{file}#{sample.key}"
            again = 2
            while sample_id in seen:
                sample_id = f"{file}#{sample.key}##{again}"
                again += 1
            seen.add(sample_id)
            weight = sum(len(data or b"") for data in sample.members.values())
            yield columns.Row(self._row(sample, sample_id), file, weight)

    def _row(self, sample: Sample, sample_id: str) -> dict[str, Any]:
        members = dict(sample.members)
        row: dict[str, Any] = {"__key__": sample.key, columns.SAMPLE_ID: sample_id}
        extension = self.image or next(iter(sample.image_extensions()), None)
        image = members.pop(extension, None) if extension else None
        row["image"] = {"bytes": image, "path": f"{sample.key}.{extension}"}
        extensions = {name: name for name in self.schema.names if name not in _OWN_COLUMNS}
        if self.label is not None:
            extensions["label"] = self.label
        for column, extension in extensions.items():
            data = members.get(extension)
            row[column] = None if data is None else self._value(column, data)
            if data is None or row[column] is not None:
                members.pop(extension, None)
        row[OTHER] = [{"extension": e, "bytes": data} for e, data in members.items()] or None
        return row

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
    ``label`` where there is a ``.cls``, one for each further extension (text for txt and
    json, else bytes), ``__key__``. Labels are numbers where those of the first samples are
    whole numbers of 64 bits in their usual notation, else text without the space around it,
    so that ``007`` stays what it is. A member with another extension, met later, or one that
    does not fit its column is kept in ``__other__``, byte for byte.

    Args:
        listing: the files; others than tars are left out, with a note.
        reading: what the user chose. Columns are extensions: without a choice, the images
            have any usual one and the labels ``cls``. ``shard_rows`` is not used, since a tar
            can only be read from its start.

    Raises:
        InputError: a split must be chosen or does not exist; no sample, no image, or
            several in one sample; no such extension; a tar that is not whole.
    """
    listing, notes = listing.only(is_tar, "tars")
    names = files.names_of_split(listing, reading.split)
    samples = list(islice(_samples(listing.root, names[0]), SAMPLED))
    where = f"{listing.location}: the first samples of {files.text(names[0])}"
    image, label = _lower(reading.image_column), _lower(reading.label_column)
    extensions = list(dict.fromkeys(e for sample in samples for e in sample.members))
    for wanted in filter(None, (image, label)):
        if wanted not in extensions:
            known = ", ".join(extensions) or "nothing"
            raise InputError(f"{where} have no .{wanted}, only {known}")
    label = label or ("cls" if "cls" in extensions else None)
    images = {image} if image else _image_extensions(samples, where)
    schema = _schema(samples, [e for e in extensions if e not in images | {label}], label)
    stamps = [files.stamp(listing.root, name) for name in names]
    units = [files.unit_of(name, stamp) for name, stamp in zip(names, stamps, strict=True)]
    return Source(
        location=listing.location,
        kind="webdataset",
        reader=TarReader(listing.root, Units.of(units, _UNITS), image, label, schema),
        image_column="image",
        label_column="label" if label else None,
        class_names=None,
        shards=tuple(
            Shard(first, last)
            for first, last in runs_up_to(SHARD_BYTES, [s.size or SHARD_BYTES for s in stamps])
        ),
        rows=None,
        root=listing.local,
        nbytes=files.total_size(stamps),
        notes=notes,
    )


def _image_extensions(samples: list[Sample], where: str) -> set[str | None]:
    for sample in samples:
        if len(several := sample.image_extensions()) > 1:
            names = ", ".join(several[:3]) + (", …" if len(several) > 3 else "")
            raise InputError(
                f"{where} have several images each: {names}; choose one with --image-column, "
                "or rename them, as a key ends at the first dot of a name"
            )
    extensions: set[str | None] = {e for sample in samples for e in sample.image_extensions()}
    if not extensions:
        raise InputError(f"{where} hold no images; expected .jpg, .png or the like")
    return extensions


def _schema(samples: list[Sample], others: list[str], label: str | None) -> pa.Schema:
    fields = [pa.field("image", columns.IMAGE_TYPE)]
    if label is not None:
        labels = [s.members.get(label) for s in samples]
        values = [_whole_number(data) for data in labels if data is not None]
        numbers = bool(values) and None not in values
        fields.append(pa.field("label", pa.int64() if numbers else pa.string()))
    for name in others:
        if name not in _OWN_COLUMNS:
            fields.append(pa.field(name, pa.string() if name in _TEXT else pa.binary()))
    fields += [pa.field("__key__", pa.string()), pa.field(OTHER, _OTHER_TYPE)]
    return columns.output_schema(pa.schema(fields), "image")


def _samples(root: str, name: str, stamp: files.Stamp = files.UNKNOWN) -> Iterator[Sample]:
    """The samples of one tar; a member whose extension the sample has already starts another."""
    sample: Sample | None = None
    try:
        for key, extension, data in _members(root, name, stamp):
            if sample and (key != sample.key or extension in sample.members):
                yield sample
                sample = None
            sample = sample or Sample(key, {})
            sample.members[extension] = data
    except _ERRORS as error:
        raise files.unreadable(name, "a tar", error) from error
    if sample:
        yield sample


def _members(root: str, name: str, stamp: files.Stamp) -> Iterator[tuple[str, str, bytes | None]]:
    """Key, extension and bytes of each member but folders and hidden files."""
    with (
        files.open_file(root, name, stamp) as file,
        tarfile.open(fileobj=file, mode="r|*", tarinfo=_StrictHeader) as tar,
    ):
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # they would pile up
            path = files.text(member.name.removeprefix("./"))
            folder, slash, base = path.rpartition("/")
            if member.isdir() or base.startswith("."):
                continue
            stem, _, extension = base.partition(".")
            content = tar.extractfile(member) if member.isfile() else None
            small = member.size <= files.MAX_FILE_BYTES
            yield (
                folder + slash + stem,
                extension.lower(),
                content.read() if content and small else None,
            )


class _StrictHeader(tarfile.TarInfo):
    """A damaged or missing header is an error; ``tarfile`` takes it for the end of the tar."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> "_StrictHeader":
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the two blocks at the end
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error


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
