"""Tars of strangers: what they claim is not believed, and nothing in them is passed over."""

import gzip
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from commands import run
from reading import reasons_of, rows_of

from pipelines.sources import files, open_source, tars, webdataset
from sanitizer.errors import InputError

#: The two blocks of zeros that end an archive.
END = bytes(1024)

Compress = Callable[[bytes], bytes]


def member(name: str, data: bytes = b"", **fields: Any) -> bytes:
    """A member as it lies in a tar, whatever its header claims.

    Args:
        name: of the member.
        data: what follows the header, filled up to whole blocks.
        fields: of the header, such as ``size``.
    """
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512)


def pax(kind: bytes = tarfile.XHDTYPE, **records: object) -> bytes:
    """A pax header for the member behind it."""
    data = b""
    for key, value in records.items():
        record = f" {key.replace('__', '.')}={value}\n".encode()
        size = len(record) + 1
        while len(str(size)) + len(record) != size:
            size += 1
        data += b"%d" % size + record
    return member("pax", data, type=kind)


@pytest.fixture
def whole(real_images: list[bytes]) -> bytes:
    """A sample."""
    return member("0.png", real_images[0]) + member("0.cls", b"1")


@pytest.fixture
def put(tmp_path: Path) -> Callable[[bytes], Path]:
    """Writes a tar; returns its path."""

    def write(data: bytes) -> Path:
        path = tmp_path / ("a.tar.gz" if data.startswith(b"\x1f\x8b") else "a.tar")
        path.write_bytes(data)
        return path

    return write


def plain(data: bytes) -> bytes:
    return data


LONG_NAME = {"type": tarfile.GNUTYPE_LONGNAME}
SPARSE_MAP = pax(GNU__sparse__major=1, GNU__sparse__minor=0, GNU__sparse__realsize=1 << 40)

#: What follows a whole sample, and what is said of it.
CLAIMS = {
    "a size": (member("x.png", size=8 << 30), r"ends within x\.png, which claims 8,589,934,592"),
    "a size of many digits": (member("x.png", size=2**87), r"ends within x\.png, which claims 154"),
    "a size by pax": (
        pax(size=10**30) + member("x.png"),
        r"ends within x\.png, which claims 1,000",
    ),
    "a size of a hidden member": (member(".x", size=8 << 30), r"ends within \.x, which claims 8,5"),
    "a negative size": (member("x.png", size=-512), r"x\.png has -512 bytes"),
    "a negative size by pax": (pax(size=-9) + member("x.png", b"x"), r"x\.png has -9 bytes"),
    "a pax header": (
        member("p", size=8 << 30, type=tarfile.XHDTYPE),
        "a header of more than 1,048",
    ),
    "a long name": (member("p", size=8 << 30, **LONG_NAME), "a header of more than 1,048,576 byt"),
    "a long name of less than nothing": (member("p", size=-512, **LONG_NAME), "a header of -512 b"),
    "a name": (member("x" * 5000), "a name of 5,000 characters"),
    "names for names": (member("n", b"x\0", **LONG_NAME) * 600, "damaged header, RecursionError"),
    "a map of holes without end": (
        SPARSE_MAP + member("x.png", b"999999\n"),
        "damaged header, ValueError",
    ),
    "global headers": (
        b"".join(pax(tarfile.XGLTYPE, **{f"k{i}": "v" * 90_000}) + member(".x") for i in range(20)),
        "global headers of more than 1,048,576 bytes",
    ),
    "junk behind its end": (END + b"junk" * 512, "behind the end of the archive: "),
    "part of a block behind its end": (END + b"junk", "behind the end of the archive: truncated"),
}


@pytest.mark.parametrize("compress", [plain, gzip.compress])
@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("before", [0, 6])
def test_what_a_tar_claims_falsely_ends_in_one_line(
    put: Callable[[bytes], Path], whole: bytes, claim: str, compress: Compress, before: int
) -> None:
    data, message = CLAIMS[claim]
    # Before it, either too few samples to tell the columns, or enough.
    path = put(compress(whole * before + data + (b"" if "end" in claim else END)))
    with pytest.raises(
        InputError, match=rf"^a\.tar(\.gz)?: cannot be read as a tar.*{message}"
    ) as e:
        rows_of(open_source(path))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("compress", [plain, gzip.compress])
def test_archives_behind_the_first_are_read(
    put: Callable[[bytes], Path], whole: bytes, real_images: list[bytes], compress: Compress
) -> None:
    second = member("1.png", real_images[1]) + END * 20
    for padding in (END[:512], END, bytes(2 * tars.HEADER_BYTES)):
        rows = rows_of(open_source(put(compress(whole + padding) + compress(second))))
        assert [row["image"]["bytes"] for row in rows] == real_images[:2]


def test_members_of_other_kinds_have_their_own_reason(
    put: Callable[[bytes], Path], whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 50_000)
    others = (
        member("symlink.png", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("hardlink.png", type=tarfile.LNKTYPE, linkname="0.png"),
        member("pipe.png", type=tarfile.FIFOTYPE),
        pax(GNU__sparse__map="0,1", GNU__sparse__size=1 << 50) + member("sparse.png", b"x"),
        member("text.txt", b"no image"),
        member("large.png", bytes(50_001)),
    )
    source = open_source(put(whole + b"".join(others) + END))
    assert reasons_of(source) == {
        "a.tar#symlink": "link in a tar: leads to /etc/passwd and is not followed",
        "a.tar#hardlink": "link in a tar: leads to 0.png and is not followed",
        "a.tar#pipe": "no file: a member of type b'6', expected a file",
        "a.tar#sparse": "sparse file: its holes are not filled; pack it without --sparse",
        "a.tar#text": "no image: the extensions of this sample are txt",
        "a.tar#large": "file too large: 50,001 bytes, the limit is 50,000",
    }
    assert rows_of(source)[-1]["image"]["path"] == "large.png"


@pytest.mark.parametrize(
    "members",
    [
        [member(f"x.{i}", bytes(9_000)) for i in range(10)],
        [member(f"x.{i}") for i in range(60)],
        [member(f"x.{i}" + "n" * 3_000) for i in range(20)],
    ],
    ids=["large", "many", "long names"],
)
def test_a_sample_is_bounded_with_all_its_members(
    put: Callable[[bytes], Path],
    whole: bytes,
    real_images: list[bytes],
    members: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webdataset, "MAX_SAMPLE_BYTES", 50_000)
    huge = member("x.png", real_images[0]) + b"".join(members)
    source = open_source(put(whole * 5 + huge + member("y.png", real_images[1]) + END))
    reason = "sample too large: its members take more than 50,000 bytes together"
    assert reasons_of(source) == {"a.tar#x": reason}
    *_, x, y = rows_of(source)
    assert (x["image"], x["__other__"]) == ({"bytes": None, "path": "x"}, None)
    assert y["image"]["bytes"] == real_images[1]
    told = f"the first samples of a.tar cannot be read ({reason}); put smaller ones first"
    for image_column in (None, "png"):
        with pytest.raises(InputError, match=f"{re.escape(told)}$"):
            open_source(put(huge + END), image_column=image_column)


def test_extensions_make_only_so_many_columns(
    put: Callable[[bytes], Path], whole: bytes, real_images: list[bytes]
) -> None:
    many = b"".join(member(f"0.{i}", b"%d" % i) for i in range(1_000))
    source = open_source(put(whole + many + END))
    own = ["image", "label", "__key__", "__other__", "sample_id"]
    assert len(source.schema) == webdataset.MAX_COLUMNS + len(own)
    (row,) = rows_of(source)
    assert row["99"] == b"99"
    assert row["__other__"][0] == {"extension": "100", "bytes": b"100"}
    assert len(row["__other__"]) == 900


def test_a_key_may_occur_ever_again(put: Callable[[bytes], Path], real_images: list[bytes]) -> None:
    again = member("x.png", real_images[0])
    rows = rows_of(open_source(put(member("x##3.png", b"") + again * 3_000 + END)))
    ids = [row["sample_id"] for row in rows]
    assert ids[:4] == ["a.tar#x##3", "a.tar#x", "a.tar#x##2", "a.tar#x##4"]
    assert len(set(ids)) == 3_001


#: Reads tars with bounds that are small, and prints what of each, and by how many bytes all but
#: the first have raised the peak.
READ_ALL = """
import resource, sys
from pipelines.sources import files, open_source, tars, webdataset
from sanitizer.errors import InputError

def read(path):
    try:
        return sum(map(len, open_source(path).samples()))
    except InputError as error:
        return error

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

files.MAX_FILE_BYTES = webdataset.MAX_SAMPLE_BYTES = files.BATCH_BYTES = 8 << 20
small, *bombs = sys.argv[1:]
print(read(small))
before = peak()
for bomb in bombs:
    print(read(bomb))
print(peak() - before)
"""


def bombs() -> Iterator[tuple[bytes, str]]:
    """What follows a whole sample, and how many samples or which error that makes."""
    yield b"".join(member(f"x.{i}", bytes(4 << 20)) for i in range(25)), "2"
    yield member("x.png", bytes(100 << 20)), "2"
    yield b"".join(member(f"x.{i}") for i in range(20_000)), "2"
    yield b"".join(member(f".{i}", bytes(5_000)) for i in range(20_000)), "1"
    yield pax(comment="x" * (100 << 20)) + member("x.png"), "a header of more than 1,048,576 bytes"
    yield member("n", b"x" * (100 << 20), **LONG_NAME), "a header of more than 1,048,576 bytes"
    yield member("x.png", size=8 << 30) + bytes(100 << 20), "ends within x.png, which claims 8,589"
    yield bytes(20 << 20), "holds megabytes of zeros"


def test_bombs_take_little_memory(tmp_path: Path, whole: bytes) -> None:
    paths, said = [], []
    for bomb, expected in chain([(b"", "1")], bombs()):
        paths.append(tmp_path / f"{len(paths)}.tar.gz")
        paths[-1].write_bytes(gzip.compress(whole + bomb + END, compresslevel=1))
        said.append(expected)
    run = [sys.executable, "-c", READ_ALL, *map(str, paths)]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    *told, grown = done.stdout.splitlines()
    for line, expected in zip(told, said, strict=True):
        assert expected in line
    assert int(grown) < 60 << 20


def test_how_much_there_is_of_a_tar_is_told_in_bytes_and_then_in_images(
    put: Callable[[bytes], Path], real_images: list[bytes], tmp_path: Path
) -> None:
    tar = put(b"".join(member(f"{i}.png", real_images[0]) for i in range(3)) + END)
    lines = run("score", tar, tmp_path / "out").stderr.splitlines()
    assert lines[0] == f"scoring: images in {round(tar.stat().st_size / 1e3)} kB to do"
    assert "splitting: 3 images to do" in lines


def test_what_is_one_byte_is_no_bytes(put: Callable[[bytes], Path], whole: bytes) -> None:
    tar = put(whole + member("x.png", size=1))
    with pytest.raises(InputError, match=r"ends within x\.png, which claims 1 byte\)"):
        rows_of(open_source(str(tar)))
