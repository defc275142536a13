"""What grows with the number of shards and images of a run on Dask, measured without images.

    python -m benchmarks.dask_size --shards 1000 10000 50000 --images 1000000 4000000

For each number of shards: the seconds and the memory that the driver takes to hand out a pass, the
seconds until a cluster has done it where a shard is no work, the memory of the scheduler, and the
seconds to list and read that many receipts. For each number of images: what the driver holds of
their scores while it decides. Each is measured in a process of its own.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.clusters import dask_cluster

#: Rows of a shard.
ROWS = 2000


def peak() -> int:
    """Of the resident memory of this process, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def hand_out(address: str, shards: int) -> None:
    """A pass over so many shards that are no work; prints seconds, and the memory of both sides."""
    import apache_beam as beam

    from pipelines.runs.cluster import Cluster

    elements = [(i, (i, i + 1, 0, ROWS)) for i in range(shards)]
    before = peak()

    def build(pipeline: beam.Pipeline) -> object:
        return (
            pipeline
            | beam.Create(elements, reshuffle=False)
            | beam.Reshuffle()
            | beam.Map(lambda element: element[0])
        )

    began = time.perf_counter()
    Cluster(address).run(build, shards, ())
    print(f"{time.perf_counter() - began:.1f} | {before} | {peak()}", end="")


def receipts(folder: str, shards: int) -> None:
    """Write, list and read so many receipts; prints seconds and bytes of one."""
    from pipelines.runs import layout
    from pipelines.runs.manifest import FileFacts
    from pipelines.runs.output import Output
    from pipelines.runs.passes import Receipt
    from pipelines.runs.store import Store

    store = Store(folder)
    names = (layout.CLEAN, layout.POISONED, layout.REJECTED, layout.SCORES)
    for i in range(shards):
        files = {file.name(i, shards): FileFacts(5 << 20, "0" * 64, rows=ROWS) for file in names}
        Output.write_receipt(store, "split", Receipt(i, ROWS, {"clean": ROWS}, files))
    output = object.__new__(Output)
    output.store = store
    began = time.perf_counter()
    found = output.receipts("split")
    assert len(found) == shards
    read = time.perf_counter() - began
    began = time.perf_counter()
    output.receipts("split", skip=found)
    size = store.size(layout.receipt("split", 0))
    print(f"{read:.1f} | {time.perf_counter() - began:.1f} | {size}", end="")


def decide(images: int) -> None:
    """Gather and decide over so many scores; prints seconds, and the memory per image."""
    from pipelines.judging.classes import Classes
    from pipelines.judging.decided import Decided, Scanned
    from pipelines.judging.judging import Judging
    from pipelines.judging.policies import choose_policy, find_detector
    from pipelines.judging.score import gathered
    from pipelines.runs.job import Settings

    policy = choose_policy("fdr", None, None)
    settings = Settings(quiet=True)
    judging = Judging.begin(find_detector("freqsan-small"), policy, None, settings, scan=False)
    rng = np.random.default_rng(0)

    def tables() -> Iterator[pa.Table]:
        for _ in range(images // ROWS):
            scores = rng.beta(1, 8, ROWS).astype(np.float32)
            yield pa.table(
                {
                    "score": scores,
                    "p_value": np.clip(1 - scores.astype(np.float64), 1e-4, 1),
                    "parts": np.full(ROWS, 1),
                    "encoding": rng.integers(0, 2, ROWS),
                    "width": np.full(ROWS, 32),
                    "height": np.full(ROWS, 32),
                    "label": rng.integers(0, 1000, ROWS),
                }
            )

    before, began = peak(), time.perf_counter()
    scored = gathered(tables, judging.scorer(), policy.max_clean_loss)
    Decided.of(scored, Classes(), Scanned(), policy)
    bytes_each = ((peak() - before) << 20) / images
    print(f"{time.perf_counter() - began:.1f} | {peak()} | {bytes_each:.0f}", end="")


def apart(what: str, *arguments: object) -> str:
    """Call a function of this module in a process of its own; what it prints."""
    command = [sys.executable, "-m", "benchmarks.dask_size", "--call", what, *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return done.stdout


def resident(process: int) -> int:
    """Of a process, MiB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) >> 10


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shards", type=int, nargs="*", default=[1000, 10_000, 50_000])
    parser.add_argument("--images", type=int, nargs="*", default=[1_000_000, 4_000_000])
    parser.add_argument("--call", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.call:
        what, *arguments = options.call
        if what == "hand_out":
            hand_out(arguments[0], int(arguments[1]))
        elif what == "receipts":
            receipts(arguments[0], int(arguments[1]))
        else:
            decide(int(arguments[0]))
        return
    print("| shards | pass without work, s | driver before, MiB | driver, MiB | scheduler, MiB |")
    print("|---|---|---|---|---|")
    for shards in options.shards:
        with tempfile.TemporaryDirectory() as folder, dask_cluster(Path(folder)) as cluster:
            told = apart("hand_out", cluster.address, shards)
            print(f"| {shards:,} | {told} | {resident(cluster.scheduler.pid)} |", flush=True)
    print("\n| receipts | read all, s | list all, s | bytes of one |\n|---|---|---|---|")
    for shards in options.shards:
        with tempfile.TemporaryDirectory() as folder:
            print(f"| {shards:,} | {apart('receipts', folder, shards)} |", flush=True)
    print("\n| images | decide, s | driver, MiB | bytes an image |\n|---|---|---|---|")
    for images in options.images:
        print(f"| {images:,} | {apart('decide', images)} |", flush=True)


if __name__ == "__main__":
    main()
