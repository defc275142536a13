"""A disk that is too small, and a little larger whenever a run has failed on it.

    unshare --user --map-root-user --mount python -m staircase INPUT MOUNT KIB STEP

mounts a real file system of that size, cleans INPUT into it, gives it so many KiB more after each
failure, and prints how each run ended, a line of JSON each, until one is done.
"""

import functools
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from outputs import digests

from benchmarks.children import DONE, call
from freqsan import clean

#: Runs at most, and seconds for each.
MAX_STEPS, DEADLINE = 10, 120


def main() -> None:
    source, mount = Path(sys.argv[1]), Path(sys.argv[2])
    size, step = int(sys.argv[3]), int(sys.argv[4])
    _mount(mount, f"size={size}k")
    run = functools.partial(
        clean, source, mount / "out", max_clean_loss=0.02, shard_rows=20, workers=1, quiet=True
    )
    for _ in range(MAX_STEPS):
        ending = call(run, deadline=DEADLINE)
        left = sorted(f.name for f in mount.rglob(".part-*"))
        digest = digests(mount / "out", "*.parquet") if ending.kind == DONE else {}
        told = {"kib": size, **asdict(ending), "left": left, "digests": digest}
        print(json.dumps(told), flush=True)
        if ending.kind == DONE:
            break
        size += step
        _mount(mount, f"remount,size={size}k")


def _mount(mount: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(mount)], check=True)


if __name__ == "__main__":
    main()
