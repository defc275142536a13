"""What the detector misses in large photos: a patch in places that none of its tiles reads.

    python -m benchmarks.large_photos imagenette224.parquet

Test pictures (rows 3,000 and up) are enlarged bicubically, as there are no larger ones, and a patch
of random colours of so many pixels is put somewhere. The threshold is the 99 % quantile of the same
pictures without it. The patch is no flat square, so that the rule for these does not help.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.detection_data import decoded, table
from detector.model import Detector
from sanitizer.cores import allow_threads
from sanitizer.metrics import threshold_at_fpr, wilson
from sanitizer.resizing import Filter, resize

#: Sides of the pictures, and of the patches, in pixels.
SIDES, PATCHES = (224, 448, 896, 1792, 3584), (8, 16, 32, 64, 128)

Place = Callable[[int, int, np.random.Generator], tuple[int, int]]


def corner(length: int, side: int, rng: np.random.Generator) -> tuple[int, int]:
    """Up to 8 px from a corner."""
    near = rng.integers(0, 9, 2)
    ends = np.where(rng.random(2) < 0.5, near, length - side - near)
    return int(ends[0]), int(ends[1])


def edge(length: int, side: int, rng: np.random.Generator) -> tuple[int, int]:
    """Up to 8 px from the middle half of an edge."""
    near, along = int(rng.integers(0, 9)), int(rng.integers(length // 4, 3 * length // 4 - side))
    across = near if rng.random() < 0.5 else length - side - near
    return (across, along) if rng.random() < 0.5 else (along, across)


def middle(length: int, side: int, rng: np.random.Generator) -> tuple[int, int]:
    """In the middle."""
    return (length - side) // 2, (length - side) // 2


def anywhere(length: int, side: int, rng: np.random.Generator) -> tuple[int, int]:
    """At random."""
    row, column = rng.integers(0, length - side + 1, 2)
    return int(row), int(column)


PLACES: dict[str, Place] = {
    "corner": corner,
    "edge": edge,
    "middle": middle,
    "anywhere": anywhere,
}


def main() -> None:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--detector", default="freqsan-small")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    allow_threads(1)

    detector = Detector.load(arguments.detector)
    images: pa.StructArray = table(arguments.pictures)
    rows = np.random.default_rng(arguments.seed).choice(
        np.arange(3000, len(images)), arguments.images, replace=False
    )
    print(f"{detector.identity}, {arguments.images} pictures, seed {arguments.seed}")
    print(_line(["side", "read at its own resolution", "patch", *PLACES]))
    print(_line(["---"] * (3 + len(PLACES))))
    pictures = decoded(images, np.sort(rows))
    for side in SIDES:
        large = [resize(p, (side, side), Filter.BICUBIC) for p in pictures]
        cut = detector.inputs.cut(large[0])
        read = cut.about.native * detector.inputs.side**2 / side**2
        threshold = threshold_at_fpr(_scores(detector, large), 0.01)
        for patch in (size for size in PATCHES if size <= side // 4):
            cells = []
            for place in PLACES.values():
                rng = np.random.default_rng([arguments.seed, side, patch])
                found = _scores(detector, [_stamped(p, patch, place, rng) for p in large])
                n = int((found > threshold).sum())
                low, high = wilson(n, len(found))
                cells.append(f"{n / len(found):.0%} [{low:.0%}, {high:.0%}]")
            print(_line([f"{side}", f"{min(1, read):.1%}", f"{patch}", *cells]), flush=True)


def _stamped(pixels: np.ndarray, side: int, place: Place, rng: np.random.Generator) -> np.ndarray:
    """With a patch of 4x4 random colours."""
    row, column = place(len(pixels), side, rng)
    colours = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    stamped = pixels.copy()
    patch = resize(colours, (side, side), Filter.NEAREST)
    stamped[row : row + side, column : column + side] = patch
    return stamped


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _scores(detector: Detector, images: list[np.ndarray]) -> np.ndarray:
    return detector.score([detector.inputs.cut(pixels) for pixels in images]).values


if __name__ == "__main__":
    main()
