"""``freqsan clean`` on a Dask cluster: two workers against one, in turn.

    python -m benchmarks.dask_scaling cifar10_train.parquet                              # 50,000
    python -m benchmarks.dask_scaling cifar10_train.parquet --images 10000 --rounds 2    # a look

Each worker is a process with one thread; the scheduler and the workers run on this machine, in
directories of their own. Both clusters are there all the time, warmed up, and take turns at being
first. Beside the whole command the passes are timed, which are what the workers do: the rest, the
listing, the decision and the report, is the driver's alone.
"""

import argparse
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.clusters import Cluster, dask_cluster
from freqsan import clean
from pipelines.runs import chain

#: Of a shard; so few that two workers end at about the same time.
SHARD_ROWS = 500


def timed(source: Path, cluster: Cluster, *, scan: bool) -> tuple[float, float]:
    """Seconds of a whole run, and of its passes together."""
    taken = 0.0
    run_pass = chain.run_pass

    def run_and_time(*arguments: Any) -> Any:
        nonlocal taken
        began = time.perf_counter()
        try:
            return run_pass(*arguments)
        finally:
            taken += time.perf_counter() - began

    chain.run_pass = run_and_time
    began = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory() as folder:
            clean(
                *(source, Path(folder, "out")),
                scan=scan,
                shard_rows=SHARD_ROWS,
                quiet=True,
                **cluster.settings,
            )
            return time.perf_counter() - began, taken
    finally:
        chain.run_pass = run_pass


def main() -> None:
    """Run both clusters in turn, and print every round and the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path, help="a Parquet file of images")
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scan", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        table = pq.read_table(options.source).slice(0, options.images)
        source, little = folder / "set.parquet", folder / "little.parquet"
        pq.write_table(table, source, row_group_size=SHARD_ROWS)
        pq.write_table(table.slice(0, 2 * SHARD_ROWS), little, row_group_size=SHARD_ROWS // 4)
        clusters = {}
        for workers in (1, 2):
            place = folder / f"cluster-{workers}"
            place.mkdir()
            clusters[workers] = stack.enter_context(dask_cluster(place, workers))
            timed(little, clusters[workers], scan=options.scan)
        rounds: list[dict[int, tuple[float, float]]] = []
        for number in range(options.rounds):
            order = sorted(clusters, reverse=number % 2 == 1)
            rounds.append({n: timed(source, clusters[n], scan=options.scan) for n in order})
            print(f"round {number + 1}: {rounds[-1]}", flush=True)
    print(f"\n{table.num_rows:,} images, shards of {SHARD_ROWS}")
    print("| what | one worker, s | two workers, s | one / two, each round | median |")
    print("|---|---|---|---|---|")
    for place, what in enumerate(("whole command", "passes")):
        one, two = ([each[n][place] for each in rounds] for n in (1, 2))
        ratios = [a / b for a, b in zip(one, two, strict=True)]
        cells = (", ".join(f"{v:.1f}" for v in values) for values in (one, two))
        each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"| {what} | {' | '.join(cells)} | {each} | {statistics.median(ratios):.2f} |")


if __name__ == "__main__":
    main()
