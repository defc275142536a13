"""Resizing, as Pillow does it: antialiased where an image shrinks."""

import numpy as np
from PIL import Image

#: The filters by name; bilinear is what common training code uses.
Filter = Image.Resampling


def resize(
    pixels: np.ndarray, size: tuple[int, int], resample: Filter = Filter.BILINEAR
) -> np.ndarray:
    """An image in another size; one that has the size already stays what it is.

    Args:
        pixels: (h, w, 3) uint8; or (h, w) or (h, w, c) of another real dtype, of any range.
        size: height and width in px.

    Returns:
        (height, width, ...): uint8 for uint8 colours, else float32.
    """
    height, width = size
    if pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3:
        if pixels.shape[:2] == size:
            return pixels
        return np.asarray(Image.fromarray(pixels).resize((width, height), resample))
    pixels = pixels.astype(np.float32)
    if pixels.shape[:2] == size:
        return pixels
    planes = np.moveaxis(pixels.reshape(*pixels.shape[:2], -1), -1, 0)
    resized = np.empty((height, width, len(planes)), np.float32)
    for channel, plane in enumerate(planes):
        resized[..., channel] = np.asarray(Image.fromarray(plane).resize((width, height), resample))
    return resized.reshape(height, width, *pixels.shape[2:])


def shrunk_to(pixels: np.ndarray, longest: int) -> np.ndarray:
    """(h, w, 3) uint8 pixels with no side above ``longest`` px, in the same proportions."""
    height, width = pixels.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return pixels
    return resize(pixels, (max(1, round(height * scale)), max(1, round(width * scale))))
