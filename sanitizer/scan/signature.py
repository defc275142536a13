"""A trigger that was found, in a form that finds it in any other image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from sanitizer.scan.extremes import ExtremeTable, extreme_cells
from sanitizer.scan.joining import ClassView, Trigger
from sanitizer.scan.mixture import Mixture
from sanitizer.scan.standard import Scale
from sanitizer.scan.views import batches


@dataclass(frozen=True)
class Signature:
    """A few thousand numbers that take canonical images to log odds of carrying a trigger."""

    scales: Sequence[Scale]  #: of each view
    filters: Sequence[np.ndarray]  #: of each view, (d,) float32, of standardised features
    offsets: np.ndarray  #: (v,), taken off what the filters give
    weights: np.ndarray  #: (v,), of the views
    mixture: Mixture  #: of the joined scores in the class where it was found
    table: ExtremeTable

    @classmethod
    def of(cls, trigger: Trigger, views: Sequence[ClassView], scales: Sequence[Scale]) -> Self:
        """The signature of a trigger in the coordinates of a class."""
        filters, offsets = [], []
        for view, direction in zip(views, trigger.directions, strict=True):
            unwhitened = view.whitening.matrix @ direction
            filters.append(unwhitened)
            offsets.append(float(view.whitening.mean @ unwhitened + view.mean @ direction))
        return cls(
            scales, filters, np.array(offsets), trigger.weights, trigger.mixture, trigger.table
        )

    def scores(self, pixels: np.ndarray) -> np.ndarray:
        """(n,) float64, how far each of (n, 32, 32, 3) uint8 images lies along the trigger."""
        scores = np.empty(len(pixels))
        for here, batch in batches(pixels):
            by_view = [s(batch) @ f for s, f in zip(self.scales, self.filters, strict=True)]
            scores[here] = (np.stack(by_view, 1) - self.offsets) @ self.weights
        return scores

    def log_odds(self, pixels: np.ndarray) -> np.ndarray:
        """(n,) of carrying the trigger, for images of the class where it was found."""
        return self.mixture.log_odds(self.scores(pixels)) + self.table.outside(
            extreme_cells(pixels)
        )
