"""Pictures that are the same but for their crop, light or encoding.

Frames of a video, reposts and mirrors of one photograph share everything, and would be taken for
images that share a trigger. So a class is searched among pictures that differ, one of each.
"""

import math

import numpy as np

from sanitizer.scan.robust import deviation, middle

#: Side of a thumbnail, in cells.
CELLS = 8

#: Pictures are the same where their thumbnails, less the mean of the class, correlate by more.
SAME = 0.9

#: Pictures are alike, and may be frames of one track, where their content correlates by more than
#: this. Content is whitened: photographs, which vary in 170 ways and more, hardly ever do.
ALIKE = 0.3

#: Pictures that vary in few ways, such as digits, correlate more by chance: one over the root of
#: the ways is a standard deviation, and this many of them are no likeness.
BY_CHANCE = 3.9

#: Images of all classes vary in at least this share of the ways of others like them. A class of
#: CIFAR-10 varies in 0.74 to 0.89 of the ways of all, large ones of GTSRB in 0.33 to 0.86.
ALL_WAYS = 0.92

#: Of the grey of a cell in a class, so that nothing is divided by 0.
LEAST_VARIANCE = 1e-6

#: Images show something by a number whose variance is at least this share of what is usual.
#: Digits on black have no colours, and borders that never vary but by a trigger.
LEAST_SHARE = 0.01

#: Grey levels by which a picture differs from the mean of its class, at least, to have a shape.
LEAST_SHAPE = 0.01

#: Rows of correlations that are held at a time.
ROWS = 512


def thumbnails(pixels: np.ndarray) -> np.ndarray:
    """(n, 64) float32: mean grey of 8 x 8 cells of (n, 32, 32, 3) uint8 images."""
    n, width, colours = len(pixels), *pixels.shape[2:]
    rows = pixels.reshape(n * CELLS, pixels.shape[1] // CELLS, width * colours).sum(
        1, dtype=np.uint32
    )
    # Of whole numbers, so the sums are exact.
    in_cell = np.repeat(np.eye(CELLS, dtype=np.float32), width // CELLS * colours, 0)
    sums = rows.astype(np.float32) @ in_cell
    of_cell = pixels.shape[1] * width * colours // CELLS**2
    return (sums / np.float32(of_cell)).reshape(n, CELLS * CELLS)


def different_pictures(thumbs: np.ndarray, enough: int | None = None) -> np.ndarray:
    """Indices of images of which no earlier one that is kept shows the same picture.

    Args:
        thumbs: (n, 64) of a class, as :func:`thumbnails` makes them.
        enough: not many more than the first so many are looked for; None: all are.

    Returns:
        (k,) int64, ascending.
    """
    centred = thumbs - thumbs.mean(0)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    # Those that are no different from the mean are all the same picture.
    centred = np.where(norms > LEAST_SHAPE, centred / (norms + 1e-6), 1 / CELLS)
    kept = np.ones(len(thumbs), bool)
    for start in range(0, len(thumbs), ROWS):
        alike = centred[start : start + ROWS] @ centred[start:].T > SAME
        # Nearly all are like themselves alone.
        for offset in np.flatnonzero(np.count_nonzero(alike, axis=1) > 1).tolist():
            if kept[start + offset]:
                kept[start + offset + 1 :] &= ~alike[offset, offset + 1 :]
        done = kept[: start + ROWS]
        if enough is not None and np.count_nonzero(done) >= enough:
            return np.flatnonzero(done)
    return np.flatnonzero(kept)


def varying(values: np.ndarray) -> np.ndarray:
    """(d,) bool, by which of the numbers images of many classes show different things.

    Args:
        values: (m, d) of these images, thumbnails or whitened content.
    """
    # Robustly: a few images of other classes may carry a trigger, too.
    variances = deviation(values, middle(values, 0), 0)[0] ** 2
    varied: np.ndarray = variances >= LEAST_SHARE * variances.mean()
    return varied


def effective_count(content: np.ndarray, ways_of_all: float) -> float:
    """How many different pictures some images are: each counts 1 among as many as are like it.

    A hundred frames of five tracks are some twenty pictures, and what they share is no more than
    twenty pictures may share by chance. What all of them share is taken out before, so a trigger
    makes no two of them alike.

    Args:
        content: (n, d) float32, whitened low frequencies.
        ways_of_all: in how many :func:`ways` pictures of all classes vary.
    """
    least = max(ALIKE, BY_CHANCE / math.sqrt(ways_of_all))
    centred = content - content.mean(0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True) + 1e-6
    starts = range(0, len(centred), ROWS)
    alike = [(centred[start : start + ROWS] @ centred.T > least).sum(1) for start in starts]
    return float((1 / np.maximum(np.concatenate(alike), 1)).sum())


def ways(content: np.ndarray) -> float:
    """In how many directions (n, d) vectors vary, 1 or more: the participation ratio of their
    variances.
    """
    centred = content - content.mean(0)
    small = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred
    squares = float((small * small).sum())
    return float(np.trace(small)) ** 2 / squares if squares else 1.0


def some(content: np.ndarray, count: int) -> np.ndarray:
    """At most ``count`` of (n, d) vectors, drawn by lot, the same ones every time."""
    return np.random.default_rng(0).permutation(content)[:count]


def ways_against(content: np.ndarray, others: np.ndarray) -> float:
    """In how many :func:`ways` (n, d) vectors vary against as many of (m, d) others."""
    count = min(len(content), len(others))
    return ways(some(content, count)) / ways(some(others, count))


def variety(thumbs: np.ndarray, members: np.ndarray) -> np.ndarray:
    """(k, c) how much each cell varies among some pictures of a class, against all of it; 1 where
    it does not.

    Args:
        thumbs: (n, c) cells of the class.
        members: (n, k) bool, of each of k groups.
    """
    variances = thumbs.var(0)
    varied = variances >= LEAST_VARIANCE
    scaled = (thumbs - thumbs.mean(0)) / np.sqrt(np.maximum(variances, LEAST_VARIANCE))
    shares = members.T / np.maximum(members.sum(0), 1)[:, None].astype(np.float32)
    return np.where(varied, shares @ scaled**2 - (shares @ scaled) ** 2, 1.0)
