"""Zip archives of strangers: nothing is unpacked to the disk, whatever they claim.

The directory of an archive is read once, by ``zipfile``. A member is read from where its directory
says that it is, by itself, so that a worker needs no directory of a million files; and never more
than it claims to be, so that no bomb goes off.
"""

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple

from pipelines.sources import files
from sanitizer.errors import InputError, quoted
from sanitizer.images import ImageError

#: Bytes of a directory, which is in memory whole: about a million members.
MAX_DIRECTORY = 128 << 20

#: Bytes at the end of an archive in which ``zipfile`` looks for its directory.
_MAX_END = 1 << 17

#: How members are stored that are read: as they are, or by deflate.
_STORED, _DEFLATED = 0, 8

_ENCRYPTED = 1

#: Why a member is not read whose name is none in a folder, as it is counted.
OUTSIDE = "name out of the zip"

#: Before the data of a member: mark; versions and flags; ways of storing; times; checksum and
#: sizes; lengths of its name and of what else there is.
_HEADER = struct.Struct("<4s3H2H3I2H")


class Member(NamedTuple):
    """A file in an archive, as the directory has it."""

    name: str  #: with ``/`` separators; may occur twice
    start: int  #: where its header is, in bytes
    packed: int  #: bytes in the archive
    size: int  #: bytes once unpacked
    checksum: int
    method: int
    refusal: ImageError | None  #: why it is not read


def members(root: str, name: str) -> list[Member]:
    """The files in an archive, but for folders.

    Raises:
        InputError: it is no zip, damaged, in several parts, or its directory is too large.
        OSError: it is missing or cannot be read.
    """
    with files.open_file(root, name) as file:
        try:
            with zipfile.ZipFile(_Bounded(file)) as opened:
                infos = [info for info in opened.infolist() if not info.filename.endswith("/")]
        except (
            zipfile.BadZipFile,
            OSError,
            ValueError,
            NotImplementedError,
            struct.error,
        ) as error:
            raise files.unreadable(name, "a zip", error) from error
    found = [_member(info) for info in infos]
    return list(_without_overlaps(found))


class _Bounded:
    """A file that gives no more at once than a directory may take."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if size > MAX_DIRECTORY:
            raise ValueError(f"a directory of more than {MAX_DIRECTORY >> 20} MiB")
        return self._file.read(size if size >= 0 else _MAX_END)

    def close(self) -> None:
        """The file is closed by whoever opened it."""


def _member(info: zipfile.ZipInfo) -> Member:
    name = info.filename.replace("\\", "/")
    return Member(
        *(name, info.header_offset, info.compress_size, info.file_size, info.CRC),
        info.compress_type,
        _refusal(info, name),
    )


def _refusal(info: zipfile.ZipInfo, name: str) -> ImageError | None:
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "" in parts or "." in parts or name[1:2] == ":":
        return ImageError(OUTSIDE, f"{quoted(name)} is no path in a folder")
    if info.flag_bits & _ENCRYPTED:
        return ImageError("encrypted", "the zip holds it under a password; unpack it with that")
    if stat.S_ISLNK(info.external_attr >> 16):
        return ImageError("link in a zip", "leads elsewhere and is not followed")
    if info.compress_type not in (_STORED, _DEFLATED):
        way = f"packed in way {info.compress_type} of zips, which is not read"
        return ImageError("unsupported compression", f"{way}; pack it again by deflate")
    return files.too_large(info.file_size)


def _without_overlaps(found: Sequence[Member]) -> Iterator[Member]:
    """The same; of members that share their data all but the first are not read.

    Else a bomb of a megabyte is many thousand images.
    """
    ends: dict[int, int] = {}
    furthest = -1
    for number in sorted(range(len(found)), key=lambda i: found[i].start):
        ends[number] = furthest
        member = found[number]
        furthest = max(furthest, member.start + _HEADER.size + member.packed)
    for number, member in enumerate(found):
        if member.start < ends[number] and member.refusal is None:
            shared = ImageError("overlapping files", "shares its bytes in the zip with another")
            member = member._replace(refusal=shared)
        yield member


def content(file: IO[bytes], member: Member) -> bytes | ImageError:
    """The data of a member, or why it cannot be read.

    Args:
        file: the archive.
        member: one without a ``refusal``.

    Raises:
        OSError: the archive cannot be read.
    """
    file.seek(member.start)
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size or not header.startswith(b"PK\3\4"):
        return ImageError("truncated or corrupt", "the zip has no such file where it says")
    *_, name_length, extra_length = _HEADER.unpack(header)
    file.seek(member.start + _HEADER.size + name_length + extra_length)
    packed = file.read(min(member.packed, files.MAX_FILE_BYTES + (1 << 20)))
    if member.method == _DEFLATED:
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = unpacker.decompress(packed, member.size + 1)
        except zlib.error as error:
            return ImageError("truncated or corrupt", f"the zip is damaged here ({error})")
    else:
        data = packed
    if len(data) != member.size or zlib.crc32(data) != member.checksum:
        return ImageError(
            "truncated or corrupt", "is not what the zip says of its size or checksum"
        )
    return data


def whole(root: str, name: str, member: Member) -> bytes:
    """The data of a member that the set needs.

    Raises:
        InputError: it cannot be read.
    """
    if member.refusal is not None:
        raise InputError(f"{files.text(name)}: {member.name}: {member.refusal}")
    try:
        with files.open_file(root, name) as file:
            data = content(file, member)
    except OSError as error:
        raise files.unreadable(name, "a zip", error) from error
    if isinstance(data, ImageError):
        raise InputError(f"{files.text(name)}: {member.name}: {data}")
    return data
