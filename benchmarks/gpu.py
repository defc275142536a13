"""What a GPU makes of it: how far its scores are from a CPU's, how fast it is, what bounds a run.

    python -m benchmarks.gpu cifar10_train.parquet --workers 16

First the largest difference of a score. Then images a second through the network, their tiles in
pinned memory, with all that it makes of them (views, DCT) on the GPU. Then whole runs, in turn:
decoding alone by so many processes, ``freqsan clean`` without the scan with the GPU, and without.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.detection_data import decoded, table
from benchmarks.throughput import clean_command, measure, median_ratio
from detector.inputs import Parts
from detector.model import Detector
from detector.runtime import OnGpu, has_gpu

#: Images that are compared, and that go through the network in a round.
COMPARED, IN_A_ROUND = 10_000, 100_000


def main() -> None:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path, help="a Parquet file of images of 32 px")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not has_gpu():
        parser.error("torch finds no GPU here, so there is nothing to measure")
    images = table(options.source)
    on_gpu, on_cpu = Detector.load("freqsan-small", "cuda"), Detector.load("freqsan-small", "cpu")
    parts = [on_cpu.inputs.cut(pixels) for pixels in decoded(images, np.arange(COMPARED))]
    print(f"{COMPARED:,} images: scores differ by at most {difference(on_gpu, on_cpu, parts):.1e}")
    rates = list(rates_of(on_gpu, parts, options.rounds))
    print(f"views and score: {statistics.median(rates):,.0f} images/s, median of {rates}")
    whole_runs(options.source, options.workers, options.rounds)


def difference(one: Detector, other: Detector, parts: list[Parts]) -> float:
    """The largest of a score."""
    return float(np.abs(one.score(parts).values - other.score(parts).values).max())


def rates_of(detector: Detector, parts: list[Parts], rounds: int) -> Iterator[float]:
    """Images a second, each round; one goes before to warm up."""
    run = detector._run
    assert isinstance(run, OnGpu)
    tiles = run.pinned((IN_A_ROUND, *parts[0].tiles.shape[1:]))
    few = np.concatenate([one.tiles for one in parts])
    tiles[:] = few[np.arange(IN_A_ROUND) % len(few)]
    for number in range(-1, rounds):
        began = time.perf_counter()
        run(tiles)
        if number >= 0:
            yield IN_A_ROUND / (time.perf_counter() - began)


def whole_runs(source: Path, workers: int, rounds: int) -> None:
    """The table of decoding alone and of ``clean`` with and without the GPU."""
    here = [sys.executable, "-m", "benchmarks.compared", str(source), "--workers", str(workers)]
    walls: dict[str, list[float]] = {"decoding alone": [], "with the GPU": [], "without": []}
    for _ in range(rounds):
        for name, taken in walls.items():
            with tempfile.TemporaryDirectory() as folder:
                command = clean_command(str(source), folder, workers, "--no-scan")
                hidden = ["env", "CUDA_VISIBLE_DEVICES=-1"] if name == "without" else []
                alone = [*here, "--only", "decode"]
                taken.append(measure(alone if name == "decoding alone" else hidden + command).wall)
    print("| | seconds, each round | times decoding alone |\n|---|---|---|")
    for name, taken in walls.items():
        ratio = median_ratio(taken, walls["decoding alone"])
        print(f"| {name} | {', '.join(f'{wall:.1f}' for wall in taken)} | {ratio:.1f} |")


if __name__ == "__main__":
    main()
