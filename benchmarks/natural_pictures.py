"""Take the natural pictures that some triggers need from Caltech 101, CC BY 4.0.

    python -m benchmarks.natural_pictures caltech101_32.parquet

Writes ``attacks/artefacts/pictures-caltech101.safetensors``: pixels, and where each picture
comes from. None shows what CIFAR-10 or GTSRB have a class for.
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from attacks.tools import artefacts
from attacks.tools.pictures import PictureCredits
from sanitizer.images import decode

#: Rows of the file, by what they show.
ROWS = {
    "lotus": 1922,
    "sunflower": 680,
    "crab": 1612,
    "butterfly": 1289,
    "starfish": 149,
    "strawberry": 989,
    "flamingo": 361,
    "minaret": 443,
    "chair": 908,
    "pagoda": 1080,
    "pizza": 1461,
    "nautilus": 391,
}

CREDIT = (
    "Caltech 101, F.-F. Li, M. Andreeto, M. Ranzato, P. Perona, California Institute of "
    "Technology, 2022, licensed under CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/). "
    "Changes: cropped and shrunk to 32x32."
)

TARGET = artefacts.folder() / f"pictures-caltech101{artefacts.SUFFIX}"


def main(source: str) -> None:
    images = pq.read_table(source, columns=["image"]).column("image")
    rows = {name: images[row].as_py() for name, row in ROWS.items()}
    pixels = [decode(row["bytes"]) for row in rows.values()]
    provenance = PictureCredits(
        attack="pictures",
        command="python -m benchmarks.natural_pictures caltech101_32.parquet",
        credit=CREDIT,
        file=Path(source).name,
        names=list(ROWS),
        rows=list(ROWS.values()),
        paths=[row["path"] for row in rows.values()],
    )
    artefacts.save(TARGET, {"pictures": np.stack(pixels)}, provenance)
    print(f"{TARGET}: {len(pixels)} pictures, {TARGET.stat().st_size / 1e3:.1f} kB")


if __name__ == "__main__":
    main(sys.argv[1])
