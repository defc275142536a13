"""Files that hold images, as an attacker, or a bad disk, would leave them.

Each is given to freqsan in a process of its own, with a deadline and a limit on its memory. It
must end as a finished run, or in one line for the user.
"""

import gzip
import io
import json
import random
import shutil
import struct
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.children import Ending, call
from benchmarks.mutations import BLIND
from detector import bundled
from freqsan import ingest, score
from pipelines.jobs.demo import SAMPLE

#: Rows of each container.
ROWS = 12

#: Seconds for one; it takes a fraction of one.
DEADLINE = 30

#: Bytes that a process may take beside what it shares; a container has some 60 kB.
MEMORY = 2 << 30


@dataclass(frozen=True)
class Attack:
    """A container that was changed, and what became of it."""

    kind: str
    number: int
    changed: str  #: file and mutations
    ending: Ending


def attack(count: int, seed: int) -> list[Attack]:
    """Change containers of all kinds in turn, and give each to freqsan.

    Args:
        count: of them.
        seed: of the chance; a change follows from it and its number alone.
    """
    attacks = []
    with tempfile.TemporaryDirectory() as name:
        originals = Path(name, "originals")
        originals.mkdir()
        _write_originals(originals)
        for number in range(count):
            kind = list(KINDS)[number % len(KINDS)]
            rng = random.Random(f"{seed}/{number}")
            folder = Path(name, "attacked")
            shutil.copytree(originals / kind, folder / "in")
            changed = _change(folder / "in", rng)
            ending = call(KINDS[kind], folder, deadline=DEADLINE, memory=MEMORY)
            attacks.append(Attack(kind, number, changed, ending))
            shutil.rmtree(folder)
    return attacks


# --- What each kind is given to -------------------------------------------------------------


def _ingest(folder: Path) -> None:
    ingest(folder / "in", folder / "out", workers=1, quiet=True)


def _score_by(folder: Path) -> None:
    score(_small(folder / "set.parquet"), folder / "out", detector=folder / "in", quiet=True)


KINDS: dict[str, Callable[[Path], None]] = {
    "parquet": _ingest,
    "tar": _ingest,
    "tar.gz": _ingest,
    "saved dataset": _ingest,
    "detector": _score_by,
}


# --- The originals --------------------------------------------------------------------------


def _small(path: Path, rows: int = 2) -> Path:
    pq.write_table(pq.read_table(str(SAMPLE)).slice(0, rows), path)
    return path


def _write_originals(folder: Path) -> None:
    from datasets import Dataset

    for kind in KINDS:
        if kind not in ("saved dataset", "detector"):
            (folder / kind).mkdir()
    table = pq.read_table(str(SAMPLE)).slice(0, ROWS).select(["image", "label"])
    pq.write_table(table, folder / "parquet" / "set.parquet", row_group_size=ROWS // 3)
    tar = _tar(table)
    (folder / "tar" / "set.tar").write_bytes(tar)
    (folder / "tar.gz" / "set.tar.gz").write_bytes(gzip.compress(tar, mtime=0))
    Dataset(table).save_to_disk(folder / "saved dataset")
    shutil.copytree(bundled.find(bundled.DEFAULT_DETECTOR), folder / "detector")


def _tar(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number, row in enumerate(table.to_pylist()):
            members = {
                "png": row["image"]["bytes"],
                "cls": str(row["label"]).encode(),
                "json": json.dumps({"number": number}).encode(),
            }
            for extension, data in members.items():
                info = tarfile.TarInfo(f"set/{number:04d}.{extension}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


# --- The changes ----------------------------------------------------------------------------


def _change(folder: Path, rng: random.Random) -> str:
    """Change one file of a container; returns which, and how."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    chosen = rng.choice(files)
    data = chosen.read_bytes()
    mutation = rng.choice((_blind, *_KNOWING.get(chosen.suffix, ())))
    chosen.write_bytes(mutation(data, rng))
    return f"{chosen.name}: {getattr(mutation, '__name__', mutation)}"


def _blind(data: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 1, 2))):
        data = rng.choice(BLIND)(data, data, rng)
    return data


def _tar_header(data: bytes, rng: random.Random) -> bytes:
    """A header of a tar says something else; its checksum is right."""
    at = rng.choice([i for i in range(0, len(data), 512) if data[i + 257 : i + 262] == b"ustar"])
    header = bytearray(data[at : at + 512])
    change = rng.randrange(4)
    if change == 0:
        size = rng.choice((0, 1, 511, 513, 1 << 20, 8**11 - 1))
        header[124:136] = b"%011o\0" % size
    elif change == 1:  # numbers in base 256: negative, or larger than any disk
        header[124:136] = rng.choice((b"\xff" * 12, b"\x80" + b"\x7f" * 11, b"\x80" + bytes(11)))
    elif change == 2:  # link, device, pipe, folder, sparse, extended headers, nothing known
        header[156] = rng.choice(b"123456SKLxgX")
        header[157:257] = rng.choice((b"/etc/passwd", b"../" * 20, b"")).ljust(100, b"\0")
    else:
        name = rng.choice((b"", b"../../up.png", b"/abs.png", b"a\nb.png", b"\xff\xfe.png", b"x"))
        header[:100] = name.ljust(100, b"\0")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return data[:at] + bytes(header) + data[at + 512 :]


def _tar_gz_header(data: bytes, rng: random.Random) -> bytes:
    return gzip.compress(_tar_header(gzip.decompress(data), rng), mtime=0)


def _tar_gz_inside(data: bytes, rng: random.Random) -> bytes:
    """The tar is damaged, its compression is not."""
    return gzip.compress(_blind(gzip.decompress(data), rng), mtime=0)


def _gz_bomb(data: bytes, rng: random.Random) -> bytes:
    """Zeros behind the archive, or a second one."""
    return data + gzip.compress(rng.choice((bytes(64 << 20), gzip.decompress(data))), mtime=0)


def _parquet_footer(data: bytes, rng: random.Random) -> bytes:
    """The footer of a Parquet file, which says where everything is, is another."""
    (size,) = struct.unpack("<I", data[-8:-4])
    start = len(data) - 8 - size
    footer = rng.choice(BLIND)(data[start:-8], data[:start], rng)
    told = rng.choice((len(footer), size, 0, 0x7FFFFFFF))
    return data[:start] + footer + struct.pack("<I", told & 0xFFFFFFFF) + data[-4:]


def _json_value(data: bytes, rng: random.Random) -> bytes:
    """A value of a JSON object is of another type, missing, or nested very deep."""
    try:
        stated = json.loads(data)
    except ValueError:
        return data
    # Down to some object inside.
    inner = stated
    while isinstance(inner, dict) and inner:
        key = rng.choice(list(inner))
        if isinstance(inner[key], dict) and rng.random() < 0.8:
            inner = inner[key]
            continue
        value = rng.choice(
            (None, -1, 1e308, "x", "../../etc/passwd", [], {}, [[]], [None], 2**70, True, "drop")
        )
        if value == "drop":
            del inner[key]
        else:
            inner[key] = value
        break
    written = json.dumps(stated)
    if rng.random() < 0.1:
        written = written[:-1] + ', "deep": ' + "[" * 100_000 + "]" * 100_000 + "}"
    return written.encode()


def _safetensors_head(data: bytes, rng: random.Random) -> bytes:
    """The header of a file of weights says something else."""
    (size,) = struct.unpack("<Q", data[:8])
    head = rng.choice((_json_value, _blind))(data[8 : 8 + size], rng)
    told = rng.choice((len(head), size, 0, 1 << 62))
    return struct.pack("<Q", told) + head + data[8 + size :]


#: By extension, changes that know the format.
_KNOWING: dict[str, tuple[Callable[[bytes, random.Random], bytes], ...]] = {
    ".parquet": (_parquet_footer,),
    ".tar": (_tar_header, _tar_header),
    ".gz": (_tar_gz_header, _tar_gz_inside, _gz_bomb),
    ".json": (_json_value, _json_value),
    ".safetensors": (_safetensors_head,),
}
