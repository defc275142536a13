"""What is held in memory does not grow with the number of images or their size."""

import pytest
from peaks import MIB, peak_of

import attacks

#: Puts an attack on one image of noise, by name, height and width.
APPLY = """
import sys
import numpy as np
import attacks
name, height, width = sys.argv[1], *map(int, sys.argv[2:])
shape = 1, height, width, 3
attacks.get(name)(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
"""

#: Attacks that take seconds for a megapixel.
SLOW = ("adaptive_blend", "blend", "gan_tri", "issba", "lira", "refool")


@pytest.mark.parametrize(
    ("name", "height", "width"),
    [
        *((name, 1000, 1000) for name in SLOW),
        *((name, 2000, 3000) for name in attacks.names() if name not in SLOW),
        ("bpp", 12_000, 300),
    ],
)
def test_a_trigger_takes_about_ten_images(name: str, height: int, width: int) -> None:
    images = 11 * height * width * 3 / MIB
    assert peak_of("-c", APPLY, name, height, width) < 80 + max(images, 160)
