"""How long ``reject`` takes, for one image and for a batch, beside a classifier.

    python -m benchmarks.serving cifar10_train.parquet

Each call is timed on other images, all kinds in turn, so that a busy machine slows them alike;
medians count. The classifier is the standard victim, which takes as long untrained as trained.
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from attacks.victims.model import Victim, placed
from attacks.victims.network import VictimNetwork
from attacks.victims.settings import VICTIMS, VictimProvenance
from freqsan import reject
from sanitizer.images import decode

BATCHES = (1, 256)


def main() -> None:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="Parquet with images of one size")
    parser.add_argument("--calls", type=int, default=30)
    arguments = parser.parse_args()

    rows = arguments.calls * max(BATCHES)
    batch = next(pq.ParquetFile(arguments.data).iter_batches(rows, columns=["image"]))
    encoded = batch.column("image").field("bytes").to_pylist()
    pixels = np.stack([decode(data) for data in encoded])
    settings = VICTIMS["standard"]
    network = placed(VictimNetwork(settings.widths, 10))
    victim = Victim(network, 10, VictimProvenance(settings=settings, seed=0))
    kinds: dict[str, Callable[[slice], object]] = {
        "reject, encoded": lambda part: reject(encoded[part]),
        "reject, pixels": lambda part: reject(pixels[part]),
        "standard victim, pixels": lambda part: victim.predict(pixels[part]),
    }
    times = defaultdict(list)
    for call in range(-2, arguments.calls):  # two to warm up
        for size in BATCHES:
            part = slice(max(call, 0) * size, (max(call, 0) + 1) * size)
            for name, work in kinds.items():
                began = time.perf_counter()
                work(part)
                if call >= 0:
                    times[name, size].append(time.perf_counter() - began)
    for (name, size), seconds in times.items():
        median = statistics.median(seconds)
        ratio = median / statistics.median(times["standard victim, pixels", size])
        print(
            f"{name:<24} {size:>4} images {median * 1e3:>8.1f} ms, "
            f"{median / size * 1e3:.2f} ms an image, {ratio:.2f} x the classifier"
        )


if __name__ == "__main__":
    main()
