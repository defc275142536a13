"""Screenshots, charts and documents, drawn: clean images that no camera made.

Flat areas, straight edges and letters are what they consist of. A detector that knows only
photographs takes them for patches and watermarks.
"""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sanitizer.resizing import Filter, resize

Rng = np.random.Generator

#: What letters, bars and icons are drawn on, in pixels: some of it is seen by one view.
CANVAS = 160

#: Sizes of letters in pixels.
LETTERS = (8, 26)

#: Views of a page.
VIEWS = 4

#: Filters that pages are shrunk with.
FILTERS = (Filter.BILINEAR, Filter.BICUBIC, Filter.LANCZOS, Filter.BOX)


def graphics(n: int, side: int, rng: Rng) -> np.ndarray:
    """Views of drawn pages, several of each page.

    Args:
        n: views.
        side: of a view in pixels, at most 160.

    Returns:
        (n, side, side, 3) uint8.
    """
    drawn = -(-n // VIEWS) * VIEWS
    # In one array: in a list each would hold on to its page.
    views = np.empty((drawn, side, side, 3), np.uint8)
    for first in range(0, drawn, VIEWS):
        page = _page(rng)
        for number in range(first, first + VIEWS):
            views[number] = _view(page, side, rng)
    return views[:n]


def _view(page: np.ndarray, side: int, rng: Rng) -> np.ndarray:
    """A part of a page: half the time as drawn, else shrunk, as a screenshot's thumbnail is."""
    if rng.random() < 0.5:
        shrunk = int(rng.integers(side, CANVAS + 1))
        page = resize(page, (shrunk, shrunk), FILTERS[rng.integers(len(FILTERS))])
    top, left = (int(start) for start in rng.integers(0, len(page) - side + 1, 2))
    return page[top : top + side, left : left + side]


def _page(rng: Rng) -> np.ndarray:
    """A whole page, (160, 160, 3) uint8: a background, boxes on it, lines of text, a chart."""
    is_dark = rng.random() < 0.3
    paper, ink = _shade(rng, dark=is_dark), _shade(rng, dark=not is_dark)
    image = Image.new("RGB", (CANVAS, CANVAS), paper)
    if rng.random() < 0.3:
        image = Image.fromarray(_gradient(paper, _colour(rng), rng))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(2, 12))):
        _box(draw, rng)
    for _ in range(int(rng.integers(1, 5))):
        _lines_of_text(draw, ink, rng)
    if rng.random() < 0.3:
        _chart(draw, rng)
    return np.asarray(image)


def _box(draw: ImageDraw.ImageDraw, rng: Rng) -> None:
    """A window, a button, a bar of tools or an icon."""
    left, top = (int(x) for x in rng.integers(-20, CANVAS, 2))
    width, height = (int(x) for x in np.exp(rng.uniform(np.log(4), np.log(CANVAS), 2)))
    box = (left, top, left + width, top + height)
    outline = _colour(rng) if rng.random() < 0.5 else None
    radius = int(rng.integers(0, 9)) if rng.random() < 0.5 else 0
    if rng.random() < 0.15:
        draw.ellipse(box, fill=_colour(rng), outline=outline)
    else:
        draw.rounded_rectangle(box, radius, fill=_colour(rng), outline=outline)


def _lines_of_text(draw: ImageDraw.ImageDraw, ink: tuple[int, ...], rng: Rng) -> None:
    """Some lines of letters and digits at random."""
    font = ImageFont.load_default(int(rng.integers(*LETTERS)))
    letters = rng.choice(list("abcdefghijklmnopqrstuvwxyz   ABCDEFGHIJ 0123456789.,"), (5, 30))
    text = "\n".join("".join(line) for line in letters[: rng.integers(1, 6)])
    colour = ink if rng.random() < 0.7 else _colour(rng)
    left, top = (int(x) for x in rng.integers(-10, CANVAS, 2))
    draw.multiline_text((left, top), text, colour, font)


def _chart(draw: ImageDraw.ImageDraw, rng: Rng) -> None:
    """Bars, or a curve over a grid of lines."""
    colour, thick = _colour(rng), int(rng.integers(1, 4))
    step = int(rng.integers(6, 24))
    places = range(0, CANVAS, step)
    heights = rng.integers(0, CANVAS, len(places)).tolist()
    if rng.random() < 0.5:
        for place, height in zip(places, heights, strict=True):
            draw.rectangle((place, CANVAS - height, place + step // 2, CANVAS), fill=colour)
        return
    for place in places:
        draw.line((0, place, CANVAS, place), fill=(200, 200, 200))
    draw.line(list(zip(places, heights, strict=True)), fill=colour, width=thick)


def _gradient(first: tuple[int, ...], second: tuple[int, ...], rng: Rng) -> np.ndarray:
    """From one colour to another, downwards or to the right, (160, 160, 3) uint8."""
    ramp = np.linspace(0, 1, CANVAS)[:, None, None]
    colours = np.array(first) + ramp * (np.array(second) - np.array(first))
    filled = np.broadcast_to(np.rint(colours).astype(np.uint8), (CANVAS, CANVAS, 3))
    return filled if rng.random() < 0.7 else filled.transpose(1, 0, 2)


def _shade(rng: Rng, *, dark: bool) -> tuple[int, ...]:
    """Nearly white or nearly black, mostly without colour."""
    spread = rng.integers(0, 60, 3) if rng.random() < 0.3 else np.full(3, rng.integers(0, 40))
    return tuple(int(level) for level in (spread if dark else 255 - spread))


def _colour(rng: Rng) -> tuple[int, ...]:
    return tuple(int(level) for level in rng.integers(0, 256, 3))
