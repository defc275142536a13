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
            ValueError: an array is missing, of another shape, or not finite; the message names it.
        """

        def checked(name: str, *shape: int | None) -> np.ndarray:
            if name not in tensors:
                raise ValueError(f"{name!r} is missing")
            found = tensors[name]
            if len(found.shape) != len(shape) or any(
                expected not in (None, length)
                for expected, length in zip(shape, found.shape, strict=True)
            ):
                raise ValueError(f"{name!r} has shape {found.shape}, expected {shape}")
            if not np.isfinite(found).all():
                raise ValueError(f"{name!r} holds numbers that are not finite")
            return found

        native = any(view.name in tensors for view in NATIVE_VIEWS)
        views = VIEWS + NATIVE_VIEWS if native else VIEWS
        rows = [checked(view.name, 3, None).astype(np.float32) for view in views]
        few, many, base = checked("extremes", 3, CELLS)
        return cls(
            scales=[Scale(view, *own[:2]) for view, own in zip(views, rows, strict=True)],
            filters=[own[2] for own in rows],
            offsets=checked("offsets", len(views)),
            reaches=checked("reaches", len(views)),
            weights=checked("weights", len(views)),
            mixture=Mixture(*checked("mixture", 5).tolist()),
            table=ExtremeTable(few, many, base),
        )
