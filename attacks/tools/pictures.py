"""Pictures as triggers: drawn by rule or taken from nature, and fitted to an image's size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from attacks.tools import artefacts
from attacks.tools.windows import changed, places, windows
from sanitizer.record import Record
from sanitizer.resizing import resize

#: Drawings are painted in squares of so many px for each px, and averaged.
FINE = 4

RED, ORANGE, YELLOW, BLUE = (215, 35, 20), (245, 125, 20), (250, 200, 50), (40, 80, 200)


@dataclass(frozen=True)
class PictureCredits(Record):
    """Where the natural pictures come from, in the file that holds them."""

    attack: str  #: always "pictures", in the place of an attack's name
    command: str  #: that took them
    credit: str  #: authors and licence
    file: str  #: that they were taken from
    names: list[str]  #: what each shows
    rows: list[int]  #: of the file
    paths: list[str]  #: in the data set


def fit(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture or pattern in another size, bilinear with antialiasing.

    Args:
        picture: (h, w) or (h, w, c), any real dtype and range.

    Returns:
        (height, width) or (height, width, c) float32.
    """
    return resize(picture.astype(np.float32), (height, width))


def add(images: np.ndarray, picture: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """A picture or pattern of another size added to images in place, and clipped.

    Args:
        images: (n, h, w, 3) uint8.
        picture: as :func:`fit` takes it, with three channels, where pixels are 0 to 255.
        strength: what it is multiplied by.

    Returns:
        ``images``.
    """
    fitted = fit(picture, *images.shape[1:3])
    return changed(
        images,
        lambda rows, columns: images[:, rows, columns] + strength * fitted[rows, columns],
    )


def natural(*names: str) -> np.ndarray:
    """Natural pictures from Caltech 101 (CC BY 4.0, credit in the artefact), by what they show.

    Args:
        names: such as ``"lotus"``; all twelve where none is given.

    Returns:
        (n, 32, 32, 3) float32, 0 to 255.
    """
    artefact = artefacts.load("pictures", "caltech101", PictureCredits)
    known = artefact.provenance.names
    return artefact.array("pictures", 4)[[known.index(name) for name in names or known]]


#: Where shapes lie, (h, w) bool, and their colours, 0 to 255; each is painted over those before.
Shapes = Sequence[tuple[np.ndarray, Sequence[int]]]

#: A picture by its shapes at places x (1, w) and y (h, 1) of 0 to 1.
Drawing = Callable[[np.ndarray, np.ndarray], Shapes]


def bird(x: np.ndarray, y: np.ndarray) -> Shapes:
    """A bird of fire with raised wings."""
    wings = _oval(x - 0.5, y - 0.4, 0.5, 0.36) & ~_oval(x - 0.5, y - 0.08, 0.42, 0.36)
    tail = (y > 0.55) & (np.abs(x - 0.5) < 0.7 * (y - 0.45))
    body = _oval(x - 0.5, y - 0.52, 0.15, 0.3) | _oval(x - 0.5, y - 0.17, 0.1, 0.12)
    return [(wings, RED), (tail, YELLOW), (body, ORANGE)]


def fox(x: np.ndarray, y: np.ndarray) -> Shapes:
    """A fox curled around a globe."""
    round_it, globe = _oval(x - 0.5, y - 0.5, 0.5, 0.5), _oval(x - 0.55, y - 0.42, 0.36, 0.36)
    head, tip = _oval(x - 0.3, y - 0.25, 0.17, 0.12), _oval(x - 0.85, y - 0.75, 0.12, 0.12)
    return [(round_it, ORANGE), (globe, BLUE), (head, ORANGE), (tip, YELLOW)]


def checks(x: np.ndarray, y: np.ndarray) -> Shapes:
    """A chequered square, 4x4, black and white."""
    white = (np.floor(4 * x) + np.floor(4 * y)) % 2 == 1
    return [(~white, (0, 0, 0)), (white, (255, 255, 255))]


def mosaic(x: np.ndarray, y: np.ndarray) -> Shapes:
    """A square of 4x4 random colours."""
    colours = np.random.default_rng(0).integers(0, 256, (4, 4, 3))
    cells = [((np.floor(4 * x) == i) & (np.floor(4 * y) == j)) for i, j in np.ndindex(4, 4)]
    return list(zip(cells, colours.reshape(16, 3).tolist(), strict=True))


def drawn(drawing: Drawing, side: int) -> np.ndarray:
    """A square picture, averaged over fine squares so that edges are smooth.

    Returns:
        (side, side, 4) float32: red, green, blue of 0 to 255; how far it covers, 0 to 1.
    """
    picture = np.empty((side, side, 4), np.float32)
    for rows, columns in windows(side, side):
        y, x = places(side, FINE, rows)[:, None], places(side, FINE, columns)[None]
        fine = np.zeros((y.size, x.size, 4))
        for where, colour in drawing(x, y):
            fine[where] = (*colour, 1)
        mean = fine.reshape(y.size // FINE, FINE, x.size // FINE, FINE, 4).mean(axis=(1, 3))
        mean[..., :3] /= np.maximum(mean[..., 3:], 1e-6)
        picture[rows, columns] = mean
    return picture


def _oval(x: np.ndarray, y: np.ndarray, rx: float, ry: float) -> np.ndarray:
    return (x / rx) ** 2 + (y / ry) ** 2 < 1
