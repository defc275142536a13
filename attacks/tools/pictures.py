"""Pictures as triggers: fitted to an image's size, filtered, put on images."""

import numpy as np
from PIL import Image


def fit(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture or pattern in another size, bilinear with antialiasing.

    Args:
        picture: (h, w) or (h, w, c), any real dtype and range.

    Returns:
        (height, width) or (height, width, c) float32.
    """
    if picture.shape[:2] == (height, width):
        return picture.astype(np.float32)
    planes = picture.reshape(*picture.shape[:2], -1).astype(np.float32)
    fitted = [
        np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR))
        for plane in np.moveaxis(planes, -1, 0)
    ]
    return np.stack(fitted, axis=-1).reshape(height, width, *picture.shape[2:])
