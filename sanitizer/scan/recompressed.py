"""Whether a group is only a part of its class that was compressed: a second source, no trigger.

A class that was put together from two sources may be JPEG for one half alone. Those images share
the marks of their compression, which no other class need have. So the others of the class are
compressed in the same way: if that makes them carriers, the carriers may be just that.
"""

import io

import numpy as np
from PIL import Image

from sanitizer.scan.canonical import Compact
from sanitizer.scan.signature import Signature

#: JPEG qualities that are tried. The first takes in 93 % or more of the others where half of a
#: class is JPEG of 40 to 85, and each at most 10 % where some carry one of 21 triggers.
QUALITIES = 75, 90

#: With colours at half the resolution, as most programs write them, and at the full one.
SUBSAMPLINGS = "4:2:0", "4:4:4"

#: Images that are compressed, at most and at least.
TRIED, LEAST_TRIED = 200, 20

#: A group is a compression where it takes in this share of the images that were compressed so.
TAKEN_IN = 0.5


def is_a_compression(signature: Signature, others: Compact) -> bool:
    """Whether images that do not carry a trigger would carry it once they are compressed.

    Args:
        signature: of the trigger.
        others: images of the class that do not carry it. Large ones are not tried: compressed at
            their own size they lose less than 32 x 32 cells can tell.
    """
    some = others[np.random.default_rng(0).permutation(len(others))[:TRIED]]
    pixels = some.pixels[some.are_whole()]
    if len(pixels) < LEAST_TRIED:
        return False
    return any(
        (signature.log_odds(Compact(_jpeg(pixels, quality, colours))) > 0).mean() >= TAKEN_IN
        for colours in SUBSAMPLINGS
        for quality in QUALITIES
    )


def _jpeg(pixels: np.ndarray, quality: int, colours: str) -> np.ndarray:
    """(n, 32, 32, 3) uint8 images as they are after JPEG."""
    after = []
    for image in pixels:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=colours)
        after.append(np.asarray(Image.open(file)))
    return np.stack(after)
