"""Pictures that are the same but for their crop, light or encoding.

Frames of a video, reposts and mirrors of one photograph share everything, and would be taken for
images that share a trigger. So a class is searched among pictures that differ, one of each.
"""

import numpy as np

#: Side of a thumbnail, in cells.
CELLS = 8

#: Pictures are the same where their thumbnails, less the mean of the class, correlate by more.
SAME = 0.9

#: Pictures are alike, and may be frames of one track, where their content correlates by more than
#: this. Content is whitened: different photographs hardly ever do.
ALIKE = 0.3

#: Images of all classes vary in at least this share of the ways of others like them. A class of
#: CIFAR-10 varies in 0.72 to 0.86 of the ways of all, large ones of GTSRB in 0.4 to 0.87.
ALL_WAYS = 0.92

#: Of the grey of a cell in a class, so that nothing is divided by 0.
LEAST_VARIANCE = 1e-6

#: Rows of correlations that are held at a time.
ROWS = 512


def thumbnails(pixels: np.ndarray) -> np.ndarray:
    """(n, 64) float32: mean grey of 8 x 8 cells of (n, 32, 32, 3) uint8 images."""
    n, side = len(pixels), pixels.shape[1] // CELLS
    cells = pixels.reshape(n, CELLS, side, CELLS, side, 3)
    return cells.mean((2, 4, 5), dtype=np.float32).reshape(n, CELLS * CELLS)


def different_pictures(thumbs: np.ndarray) -> np.ndarray:
    """Indices of images of which no earlier one that is kept shows the same picture.

    Args:
        thumbs: (n, 64) of a class, as :func:`thumbnails` makes them.

    Returns:
        (k,) int64, ascending.
    """
    centred = thumbs - thumbs.mean(0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True) + 1e-6
    kept = np.ones(len(thumbs), bool)
    for start in range(0, len(thumbs), ROWS):
        alike = centred[start : start + ROWS] @ centred.T > SAME
        for offset, row in enumerate(alike):
            if kept[start + offset]:
                kept[start + offset + 1 :] &= ~row[start + offset + 1 :]
    return np.flatnonzero(kept)


def effective_count(content: np.ndarray) -> float:
    """How many different pictures some images are: each counts 1 among as many as are like it.

    A hundred frames of five tracks are some twenty pictures, and what they share is no more than
    twenty pictures may share by chance. What all of them share is taken out before, so a trigger
    makes no two of them alike.

    Args:
        content: (n, d) float32, whitened low frequencies.
    """
    centred = content - content.mean(0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True) + 1e-6
    starts = range(0, len(centred), ROWS)
    alike = [(centred[start : start + ROWS] @ centred.T > ALIKE).sum(1) for start in starts]
    return float((1 / np.maximum(np.concatenate(alike), 1)).sum())


def ways(content: np.ndarray) -> float:
    """In how many directions (n, d) vectors vary: the participation ratio of their variances."""
    centred = content - content.mean(0)
    small = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred
    return float(np.trace(small)) ** 2 / float((small * small).sum())


def some(content: np.ndarray, count: int) -> np.ndarray:
    """At most ``count`` of (n, d) vectors, drawn by lot, the same ones every time."""
    return np.random.default_rng(0).permutation(content)[:count]


def ways_against(content: np.ndarray, others: np.ndarray) -> float:
    """In how many :func:`ways` (n, d) vectors vary against as many of (m, d) others."""
    count = min(len(content), len(others))
    return ways(some(content, count)) / ways(some(others, count))


def variety(thumbs: np.ndarray, members: np.ndarray) -> np.ndarray:
    """(k, 64) how much each cell varies among some pictures of a class, against all of it.

    Args:
        thumbs: (n, 64) of the class.
        members: (n, k) bool, of each of k groups.
    """
    scaled = thumbs - thumbs.mean(0)
    scaled /= np.sqrt(np.maximum(scaled.var(0), LEAST_VARIANCE))
    shares = members.T / np.maximum(members.sum(0), 1)[:, None].astype(np.float32)
    return shares @ scaled**2 - (shares @ scaled) ** 2
