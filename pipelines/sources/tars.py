"""Tars of strangers: read forward only, whatever they claim, archive behind archive.

``tarfile`` believes a tar: it takes a header of gigabytes into memory, walks through eight
exabytes that are not there, and ends at the first mark of an end. Here it reads through a
stream that refuses the first two, and goes on behind the third.
"""

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, cast

from pipelines.sources import files
from sanitizer.errors import FreqsanError, shortened
from sanitizer.images import ImageError

#: Of the headers of one member, with what they carry; names and attributes are far smaller.
HEADER_BYTES = 1 << 20

#: Blocks of zeros in a row; some tars end in many, but what goes on for ever is none.
MAX_ZERO_BLOCKS = (16 << 20) // tarfile.BLOCKSIZE

#: Characters in the name of a member, as in a path.
MAX_NAME = 4096

_GZIP = b"\x1f\x8b"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Member:
    """A member of a tar; it can be read until the next one is asked for."""

    name: str
    size: int  #: bytes that it claims to hold
    header: tarfile.TarInfo  #: as it was read
    _stream: "_Forward"

    def error(self) -> ImageError | None:
        """Why it is not to be read, as far as its header tells."""
        if self.header.islnk() or self.header.issym():
            target = shortened(files.text(self.header.linkname))
            return ImageError("link in a tar", f"leads to {target} and is not followed")
        if not self.header.isreg():
            return ImageError("no file", f"a member of type {self.header.type!r}, expected a file")
        if self.header.issparse():
            return ImageError("sparse file", "its holes are not filled; pack it without --sparse")
        return files.too_large(self.size)

    def read(self) -> bytes:
        """The content, where there is no :meth:`error`.

        Raises:
            tarfile.ReadError: the tar ends before.
            OSError, EOFError, zlib.error: it cannot be read or is damaged.
        """
        return self._stream.content(self.header)


def members(file: IO[bytes]) -> Iterator[Member]:
    """The members of a tar but folders, also of further archives behind the first.

    Args:
        file: the tar, plain or compressed by gzip.

    Raises:
        tarfile.ReadError: it is damaged, or claims more than there is.
        OSError, EOFError, zlib.error: it cannot be read, or its compression is damaged.
    """
    buffered = io.BufferedReader(cast(io.RawIOBase, file))
    packed = buffered.peek(len(_GZIP)).startswith(_GZIP)
    plain = gzip.GzipFile(fileobj=buffered) if packed else buffered
    stream = _Forward(cast(IO[bytes], plain))
    with _Tar(fileobj=cast(IO[bytes], stream), tarinfo=_Header, ignore_zeros=True) as tar:
        for info in tar:
            tar.members = []  # type: ignore[attr-defined]  # they would pile up
            if sum(map(len, tar.pax_headers.values())) > HEADER_BYTES:
                raise tarfile.ReadError(f"global headers of more than {HEADER_BYTES:,} bytes")
            if len(info.name) > MAX_NAME:
                raise tarfile.ReadError(f"a name of {len(info.name):,} characters")
            if info.size < 0:
                raise tarfile.ReadError(f"{files.text(info.name)} has {info.size:,} bytes")
            stream.expect(info, tar.offset)
            if not info.isdir():
                yield Member(info.name, info.size, info, stream)


class _Forward:
    """What ``tarfile`` reads a tar through: forward only, and no more than a header at once."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self._position = 0
        self._left = HEADER_BYTES  #: bytes that may be read until more is expected
        self._ended = False
        self._within = "the first header"

    def expect(self, info: tarfile.TarInfo, end: int) -> None:
        """A member was found: its data goes up to ``end``, and then there may be a header."""
        name = shortened(files.text(info.name))
        self._within = f"{name}, which claims {files.plural(info.size, 'byte')}"
        self._left = end - self._position + HEADER_BYTES

    def expect_header(self) -> None:
        """An archive has ended; another may follow."""
        self._left = HEADER_BYTES

    def content(self, info: tarfile.TarInfo) -> bytes:
        """The data of the member that was found last.

        Raises:
            tarfile.ReadError: the tar ends before it does.
        """
        self.seek(info.offset_data)
        data = self.read(info.size)
        if len(data) < info.size:
            raise self._too_short()
        return data

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> None:
        if position < self._position:
            raise tarfile.ReadError("a member that lies before the one before it")
        while self._position < position:
            if not self.read(min(position - self._position, _CHUNK)):
                raise self._too_short()

    def read(self, size: int) -> bytes:
        if size < 0:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        if size > self._left:
            raise tarfile.ReadError(f"a header of more than {HEADER_BYTES:,} bytes")
        data = self._file.read(size)
        self._position += len(data)
        self._left -= len(data)
        # Once is how a tar ends; ``tarfile`` asks again where it waits for more.
        if size and not data:
            if self._ended:
                raise self._too_short()
            self._ended = True
        return data

    def _too_short(self) -> tarfile.ReadError:
        return tarfile.ReadError(f"ends within {self._within}")


class _Tar(tarfile.TarFile):
    """Knows whether the archive that is read has ended."""

    ended = False
    zeros = 0  #: blocks of zeros since the last header


class _Header(tarfile.TarInfo):
    """A damaged or missing header is an error; ``tarfile`` takes it for the end, or skips it."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> "_Header":
        assert isinstance(tar, _Tar)
        ended, tar.ended = tar.ended, False
        try:
            header = super().fromtarfile(tar)
            tar.zeros = 0
            return header
        except tarfile.EOFHeaderError as error:  # type: ignore[attr-defined]  # a block of zeros
            tar.ended = True
            tar.zeros += 1
            if tar.zeros > MAX_ZERO_BLOCKS:
                raise tarfile.ReadError(
                    "holds megabytes of zeros between or behind its files"
                ) from error
            cast(_Forward, tar.fileobj).expect_header()
            raise
        except tarfile.EmptyHeaderError as error:  # type: ignore[attr-defined]  # no more blocks
            if ended:
                raise
            raise tarfile.ReadError("ends without the mark of an end") from error
        except tarfile.HeaderError as error:
            where = "behind the end of the archive: " if ended else ""
            raise tarfile.ReadError(f"{where}{error}") from error
        except (tarfile.TarError, OSError, EOFError, zlib.error, MemoryError, FreqsanError):
            raise
        except Exception as error:  # whatever hostile bytes lead ``tarfile`` to
            raise tarfile.ReadError(f"damaged header, {type(error).__name__}") from error
