"""Pictures as triggers: drawn by rule or taken from nature, and fitted to an image's size."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attacks.tools import artefacts
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


def bird(side: int) -> np.ndarray:
    """A bird of fire with raised wings, as :func:`_drawn` gives it."""
    x, y = _grid(side)
    wings = _oval(x - 0.5, y - 0.4, 0.5, 0.36) & ~_oval(x - 0.5, y - 0.08, 0.42, 0.36)
    tail = (y > 0.55) & (np.abs(x - 0.5) < 0.7 * (y - 0.45))
    body = _oval(x - 0.5, y - 0.52, 0.15, 0.3) | _oval(x - 0.5, y - 0.17, 0.1, 0.12)
    return _drawn((wings, RED), (tail, YELLOW), (body, ORANGE))


def fox(side: int) -> np.ndarray:
    """A fox curled around a globe, as :func:`_drawn` gives it."""
    x, y = _grid(side)
    round_it, globe = _oval(x - 0.5, y - 0.5, 0.5, 0.5), _oval(x - 0.55, y - 0.42, 0.36, 0.36)
    head, tip = _oval(x - 0.3, y - 0.25, 0.17, 0.12), _oval(x - 0.85, y - 0.75, 0.12, 0.12)
    return _drawn((round_it, ORANGE), (globe, BLUE), (head, ORANGE), (tip, YELLOW))


def checks(side: int) -> np.ndarray:
    """A chequered square, 4x4, black and white, as :func:`_drawn` gives it."""
    x, y = _grid(side)
    white = (np.floor(4 * x) + np.floor(4 * y)) % 2 == 1
    return _drawn((~white, (0, 0, 0)), (white, (255, 255, 255)))


def mosaic(side: int) -> np.ndarray:
    """A square of 4x4 random colours, as :func:`_drawn` gives it."""
    x, y = _grid(side)
    colours = np.random.default_rng(0).integers(0, 256, (4, 4, 3))
    cells = [((np.floor(4 * x) == i) & (np.floor(4 * y) == j)) for i, j in np.ndindex(4, 4)]
    return _drawn(*zip(cells, colours.reshape(16, 3).tolist(), strict=True))


def _grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates x (1, n) and y (n, 1) of 0 to 1, as fine as painted."""
    at = (np.arange(side * FINE) + 0.5) / (side * FINE)
    return at[None], at[:, None]


def _oval(x: np.ndarray, y: np.ndarray, rx: float, ry: float) -> np.ndarray:
    return (x / rx) ** 2 + (y / ry) ** 2 < 1


def _drawn(*shapes: tuple[np.ndarray, Sequence[int]]) -> np.ndarray:
    """A picture of shapes painted one over another, averaged so that edges are smooth.

    Args:
        shapes: where on the fine grid, (n, n) bool, and the colour there, 0 to 255.

    Returns:
        (n / FINE, n / FINE, 4) float32: red, green, blue of 0 to 255; how far it covers, 0 to 1.
    """
    side = len(shapes[0][0])
    picture = np.zeros((side, side, 4))
    for where, colour in shapes:
        picture[where] = (*colour, 1)
    picture = picture.reshape(side // FINE, FINE, side // FINE, FINE, 4).mean(axis=(1, 3))
    picture[..., :3] /= np.maximum(picture[..., 3:], 1e-6)
    return picture.astype(np.float32)
