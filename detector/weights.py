"""A file of weights, checked before memory is taken for it.

The file is a stranger's. Its header says which tensors it holds; they must be those that the
network of the detector's card needs, in name, type and shape, and fill the file exactly.
The format: 8 bytes for the length of the header, the header as JSON, the numbers.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from sanitizer.record import Record

#: Bytes that a file and its header may have at most.
MAX_FILE, MAX_HEADER = 256 << 20, 1 << 20

#: Bytes of a number, by safetensors' name of its type.
_SIZES = {"F32": 4, "I64": 8}

_LENGTH_BYTES = 8


@dataclass(frozen=True)
class TensorForm:
    """What a tensor must be."""

    dtype: str  #: by safetensors' name, "F32" or "I64"
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * _SIZES[self.dtype]

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


@dataclass(frozen=True)
class _Entry(Record):
    """A tensor in the header."""

    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]  #: first byte and end, behind the header


def read_weights(path: Path, expected: Mapping[str, TensorForm]) -> bytes:
    """The whole file, if it holds the expected tensors and nothing else.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such file, or it is larger than ``MAX_FILE``.
    """
    size = file_size(path, MAX_FILE)
    with path.open("rb") as file:
        header_end, entries = _header(file, size)
        _check_names(entries, expected)
        position = 0
        for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
            form = expected[name]
            if (entry.dtype, tuple(entry.shape)) != (form.dtype, form.shape):
                got = f"{entry.dtype} {entry.shape}"
                raise ValueError(f"{name} is {got:.80}, expected {form}")
            end = position + form.nbytes
            if entry.data_offsets != (position, end):
                raise ValueError(f"the bytes of {name} are not where they are expected")
            position = end
        if header_end + position != size:
            raise ValueError(
                f"the file has {size:,} bytes, expected {header_end + position:,} by its header"
            )
        file.seek(0)
        data = file.read(size)
    if len(data) != size:
        raise ValueError("the file became shorter while it was read")
    return data


def file_size(path: Path, largest: int) -> int:
    """The size of a regular file in bytes.

    Raises:
        OSError: there is none.
        ValueError: it is something else, or larger than ``largest``.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing")
    if not path.is_file():
        raise ValueError("it is no regular file")
    size = path.stat().st_size
    if size > largest:
        raise ValueError(f"it has {size:,} bytes, at most {largest:,} are read")
    return size


def _header(file: BinaryIO, size: int) -> tuple[int, dict[str, _Entry]]:
    """Where the header ends, and the tensors that it announces."""
    length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    if size < _LENGTH_BYTES or length > min(MAX_HEADER, size - _LENGTH_BYTES):
        raise ValueError(f"its header claims {length:,} bytes, the file has {size:,}")
    try:
        header = msgspec.json.decode(file.read(length), type=dict[str, Any])
        header.pop("__metadata__", None)
        return _LENGTH_BYTES + length, {k: _Entry.from_json(v) for k, v in header.items()}
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its header cannot be read ({error})") from error


def _check_names(entries: Mapping[str, object], expected: Mapping[str, object]) -> None:
    for name in sorted(entries.keys() ^ expected.keys()):
        what = "lacks the tensor" if name in expected else "holds an unexpected tensor"
        raise ValueError(f"it {what} {name!r:.80}")
