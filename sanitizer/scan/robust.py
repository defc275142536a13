"""Middle and spread of values of which a few may be anything."""

import numpy as np

#: Makes the median absolute deviation of a normal distribution its standard deviation.
MAD_OF_NORMAL = 1.4826

#: Of values that are all alike, so that nothing is divided by 0.
LEAST_DEVIATION = 1e-6


def middle(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """The median along an axis, which is kept with length 1; the upper one of an even number.

    One partition finds it; ``np.median`` takes several times as long.
    """
    place = values.shape[axis] // 2
    return np.partition(values, place, axis).take([place], axis)


def deviation(values: np.ndarray, centre: np.ndarray | float = 0.0, axis: int = -1) -> np.ndarray:
    """Median absolute deviation along an axis, which is kept, as a standard deviation above 0.

    Args:
        values: of any shape.
        centre: their :func:`middle`.
        axis: along which the median is taken.
    """
    return np.maximum(MAD_OF_NORMAL * middle(np.abs(values - centre), axis), LEAST_DEVIATION)
