"""A trigger that was found, in a form that finds it in any other image."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Self

import numpy as np

from sanitizer.scan.canonical import Compact
from sanitizer.scan.extremes import CELLS, ExtremeTable, extreme_cells
from sanitizer.scan.joining import ClassView, Trigger, clipped
from sanitizer.scan.mixture import Mixture
from sanitizer.scan.standard import NATIVE_VIEWS, VIEWS, Scale, needs_sums

#: Numbers in a file are at most this large: sums of their products are finite in float32.
LARGEST = 1e9


@dataclass(frozen=True)
class Signature:
    """A few thousand numbers that take images to log odds of carrying a trigger."""

    scales: Sequence[Scale]  #: of each view
    filters: Sequence[np.ndarray]  #: of each view, (d,) float32, of standardised features
    offsets: np.ndarray  #: (v,), taken off what the filters give
    reaches: np.ndarray  #: (v,), at which that is clipped
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
            scales,
            filters,
            np.array(offsets) + trigger.centres,
            trigger.reaches,
            trigger.weights,
            trigger.mixture,
            trigger.table,
        )

    def scores(self, images: Compact) -> np.ndarray:
        """(n,) float64, how far each of n images lies along the trigger."""
        scores = np.empty(len(images))
        for here, batch in images.batches(needs_sums(self.scales)):
            by_view = [s(batch) @ f for s, f in zip(self.scales, self.filters, strict=True)]
            scores[here] = clipped(np.stack(by_view, 1) - self.offsets, self.reaches) @ self.weights
        return scores

    @property
    def farthest(self) -> float:
        """No score lies as far from 0 as this."""
        return float(self.reaches @ self.weights)

    def log_odds(self, images: Compact) -> np.ndarray:
        """(n,) of carrying the trigger, for images of the class where it was found."""
        return self.mixture.log_odds(self.scores(images)) + self.table.outside(
            extreme_cells(images.pixels)
        )

    def tensors(self) -> dict[str, np.ndarray]:
        """All of it as named arrays, to be stored; :meth:`of_tensors` reads them."""
        tensors = {
            "offsets": self.offsets,
            "reaches": self.reaches,
            "weights": self.weights,
            "mixture": np.array(astuple(self.mixture)),
            "extremes": np.stack([self.table.few, self.table.many, self.table.base]),
        }
        for scale, direction in zip(self.scales, self.filters, strict=True):
            tensors[scale.view.name] = np.stack([scale.centre, scale.scale, direction])
        return tensors

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, np.ndarray]) -> Self:
        """The signature that :meth:`tensors` gave.

        Raises:
            ValueError: an array is missing, of another shape, or holds numbers with which no
                trigger would be found; the message names it.
        """

        def checked(name: str, *shape: int) -> np.ndarray:
            if name not in tensors:
                raise ValueError(f"{name!r} is missing")
            found = tensors[name]
            if found.shape != shape:
                raise ValueError(f"{name!r} has shape {found.shape}, expected {shape}")
            if not (np.abs(found) <= LARGEST).all():
                raise ValueError(
                    f"{name!r} holds numbers that are not finite or beyond {LARGEST:g}"
                )
            return found

        def above_0(name: str, numbers: np.ndarray) -> np.ndarray:
            if not (numbers > 0).all():
                raise ValueError(f"{name!r} holds numbers that are not above 0, as all must be")
            return numbers

        native = any(view.name in tensors for view in NATIVE_VIEWS)
        views = VIEWS + NATIVE_VIEWS if native else VIEWS
        rows = [checked(view.name, 3, view.features).astype(np.float32) for view in views]
        for view, (_, scale, _) in zip(views, rows, strict=True):
            above_0(view.name, scale)
        few, many, base = checked("extremes", 3, CELLS)
        above_0("extremes", base)
        if min(few.min(), many.min()) < 0:
            raise ValueError("'extremes' holds weights below 0")
        weights = checked("weights", len(views))
        if weights.min() < 0 or not weights.any():
            raise ValueError("'weights' holds numbers below 0, or only zeros")
        mixture = Mixture(*checked("mixture", 5).tolist())
        if not (0 < mixture.share < 1 and min(mixture.many_sd, mixture.few_sd) > 0):
            raise ValueError(
                "'mixture' has a share outside 0 to 1, or a deviation that is not above 0"
            )
        return cls(
            scales=[Scale(view, *own[:2]) for view, own in zip(views, rows, strict=True)],
            filters=[own[2] for own in rows],
            offsets=checked("offsets", len(views)),
            reaches=above_0("reaches", checked("reaches", len(views))),
            weights=weights,
            mixture=mixture,
            table=ExtremeTable(few, many, base),
        )
