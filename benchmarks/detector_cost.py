"""What it costs to judge an image, beside decoding it, on one core.

    python -m benchmarks.detector_cost cifar10_train.parquet imagenette224.parquet

Sets of images are taken in turn, so that a busy machine slows decoding and judging alike; medians
count, of the ratio in each turn too. The images of 32 px are PNGs as they came; the larger ones are
JPEGs of quality 75, enlarged from 224 px where that is not enough.
"""

import argparse
import io
import statistics
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from detector.model import Detector
from sanitizer.cores import allow_threads
from sanitizer.images import decode, read_header
from sanitizer.resizing import Filter, resize

#: Images of one turn by the longer side in pixels, and their height and width.
LARGE = {"224x224": (64, (224, 224)), "500x375": (32, (375, 500)), "4000x3000": (4, (3000, 4000))}

#: Images of 32 px of one turn.
SMALL = 512


def main() -> None:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("small", type=Path, help="Parquet with PNGs of 32x32 px")
    parser.add_argument("large", type=Path, help="Parquet with larger pictures")
    parser.add_argument("--detector", default="freqsan-small")
    parser.add_argument("--turns", type=int, default=15)
    arguments = parser.parse_args()
    allow_threads(1)

    detector = Detector.load(arguments.detector)
    print(f"{detector.identity}, {detector.card.multiply_adds:,} multiply-adds for 32x32 px")
    sets = {"32x32 PNG": first(arguments.small, SMALL)}
    for name, (count, size) in LARGE.items():
        pictures = [decode(data) for data in first(arguments.large, count)]
        sets[f"{name} JPEG"] = [as_jpeg(resize(p, size, Filter.BICUBIC)) for p in pictures]
    for name, encoded in sets.items():
        print(f"{name:<14} {measure(detector, encoded, arguments.turns)}", flush=True)


def first(path: Path, count: int) -> list[bytes]:
    """The first images of a Parquet file, encoded."""
    batch = next(pq.ParquetFile(path).iter_batches(count, columns=["image"]))
    images: list[bytes] = batch.column("image").field("bytes").to_pylist()
    return images


def as_jpeg(pixels: np.ndarray) -> bytes:
    """As a camera's software would write it, if it were frugal."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=75)
    return buffer.getvalue()


def measure(detector: Detector, encoded: list[bytes], turns: int) -> str:
    """Microseconds an image takes to decode, to cut and to score, and the ratio to decoding."""
    headers = [read_header(data) for data in encoded]
    decoding, cutting, scoring = [], [], []
    for turn in range(-2, turns):  # two to warm up
        began = time.perf_counter()
        pixels = [decode(data) for data in encoded]
        decoded = time.perf_counter()
        parts = [detector.inputs.cut(p, h) for p, h in zip(pixels, headers, strict=True)]
        cut = time.perf_counter()
        detector.score(parts)
        scored = time.perf_counter()
        if turn >= 0:
            decoding.append((decoded - began) / len(encoded) * 1e6)
            cutting.append((cut - decoded) / len(encoded) * 1e6)
            scoring.append((scored - cut) / len(encoded) * 1e6)
    ratio = np.median((np.array(cutting) + scoring) / decoding)
    medians = [statistics.median(times) for times in (decoding, cutting, scoring)]
    words = ("decoding {:,.0f}", "cutting {:,.0f}", "scoring {:,.0f}")
    told = ", ".join(w.format(m) for w, m in zip(words, medians, strict=True))
    return f"{len(parts[0]):>3} parts: {told} us an image; {ratio:.2f} x decoding"


if __name__ == "__main__":
    main()
