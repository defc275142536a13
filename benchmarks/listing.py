"""What it costs to list an input of a million files, on a disk and in a store.

    python -m benchmarks.listing                  # both tables
    python -m benchmarks.listing --files 100000   # a quicker look

The files on the disk are tiny and are made for it, a hundred folders of them; the store answers
with pages of a thousand keys that are made up on the way, so that nothing but freqsan's own work is
measured. Each is resolved to a source in a process of its own, as ``freqsan clean`` does first.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

from pipelines.sources import open_source

#: The smallest PNG file that a folder of images may hold.
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)

FOLDERS = 100

#: Keys in a page of a listing, as S3 has it.
PAGE = 1000


class Pretended(MemoryFileSystem):
    """As much of S3 as a listing asks for; an address ends in the number of keys."""

    protocol = "pretended"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.removeprefix("pretended://")

    def info(self, path: str, **options: object) -> dict[str, Any]:
        return {"name": path, "type": "directory", "size": 0}

    def split_path(self, path: str) -> tuple[str, str, None]:
        bucket, _, key = path.partition("/")
        return bucket, key, None

    def call_s3(
        self, method: str, Bucket: str, Prefix: str, ContinuationToken: str = "0"
    ) -> dict[str, Any]:
        total, first = int(Bucket), int(ContinuationToken)
        last = min(total, first + PAGE)
        keys = (f"{Prefix}{name_of(i, total)}" for i in range(first, last))
        found = [{"Key": key, "Size": len(PIXEL), "ETag": f'"{hash(key):032x}"'} for key in keys]
        return {
            "Contents": found,
            "IsTruncated": last < total,
            "NextContinuationToken": str(last),
        }


def name_of(number: int, total: int) -> str:
    """The name of a file, in one of so many folders."""
    folder = number * FOLDERS // total
    return f"class-{folder:03d}/{number:08d}.png"


def main() -> None:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=1_000_000)
    total = parser.parse_args().files
    print("| input | files | CPU seconds | seconds | peak MB, less what an empty one takes |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for number in range(total):
            path = Path(folder, name_of(number, total))
            if not number * FOLDERS % total:
                path.parent.mkdir()
            path.write_bytes(PIXEL)
        row("folder", folder, total)
    row("store", f"pretended://{total}/set", total)


def row(what: str, location: str, total: int) -> None:
    """Measure one input in a process of its own, and print it."""
    cpu, wall, peak = in_child(location)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "1.png").write_bytes(PIXEL)
        _, _, base = in_child(folder)
    print(f"| {what} | {total:,} | {cpu:.1f} | {wall:.1f} | {peak - base:,.0f} |", flush=True)


def in_child(location: str) -> tuple[float, float, float]:
    """CPU seconds, seconds and peak MB of resolving an input."""
    fresh = multiprocessing.get_context("spawn")
    with fresh.Pool(1) as pool:
        result: tuple[float, float, float] = pool.apply(resolved, (location,))
    return result


def resolved(location: str) -> tuple[float, float, float]:
    """The same, in this process."""
    fsspec.register_implementation("pretended", Pretended, clobber=True)
    began, cpu = time.perf_counter(), time.process_time()
    source = open_source(location)
    source.digest()
    source.reader.units.to_bytes()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return time.process_time() - cpu, time.perf_counter() - began, peak


if __name__ == "__main__":
    main()
