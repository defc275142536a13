"""What a class is compared with: scales and covariances of the set, images of other classes."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from sanitizer.scan.extremes import extreme_cells
from sanitizer.scan.joining import ClassImages, ClassView
from sanitizer.scan.moments import Moments, Whitening
from sanitizer.scan.pictures import thumbnails
from sanitizer.scan.standard import VIEWS, Scale
from sanitizer.scan.views import batches

#: Images by which centres and scales are set.
SCALED = 5_000

#: Images of the set whose covariances stand for all: some 25 for each feature of a view.
SAMPLED = 20_000

#: Images of other classes that a class is compared with.
RESTED = 4_000

#: A class of at least this share of the set is taken out of the covariances that whiten it, or it
#: would hide its own trigger; smaller ones change nothing there.
OWN_SHARE = 0.02

#: Images whose views are held at a time while their moments are added up.
HELD = 1_000


@dataclass(frozen=True)
class Population:
    """A sample of a set."""

    scales: Sequence[Scale]  #: of each view
    moments: Sequence[Moments]  #: of each view, over the sample
    pixels: np.ndarray  #: (n, 32, 32, 3) uint8, the sample in random order
    labels: np.ndarray  #: (n,) of the sample

    @classmethod
    def of(cls, pixels: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Self:
        """Args: pixels: (n, 32, 32, 3) uint8 canonical images; labels: (n,) of any dtype."""
        chosen = rng.permutation(len(pixels))[:SAMPLED]
        pixels, labels = pixels[chosen], labels[chosen]
        looked_at = [batch for _, batch in batches(pixels[:SCALED])]
        scales = [
            Scale.of(view, np.concatenate([view.raw(b) for b in looked_at])) for view in VIEWS
        ]
        return cls(scales, _moments(pixels, scales), pixels, labels)

    def elsewhere(self, label: Hashable) -> np.ndarray:
        """(n, 32, 32, 3) uint8: images of other classes, as many as a class is compared with."""
        return self.pixels[self.labels != label][:RESTED]

    def beside(self, label: Hashable, pixels: np.ndarray, rng: np.random.Generator) -> ClassImages:
        """A class, standardised and whitened by the others.

        Args:
            label: of the class.
            pixels: (n, 32, 32, 3) uint8 images of it, no two of the same picture.
            rng: for the start of the search for its subspaces.
        """
        own = self.labels == label
        rest = self.elsewhere(label)
        moments = self.moments
        if own.mean() >= OWN_SHARE:
            of_class = _moments(self.pixels[own], self.scales)
            moments = [all_ - part for all_, part in zip(moments, of_class, strict=True)]
        views = [
            ClassView.of(inside, outside, Whitening.by(m), rng)
            for inside, outside, m in zip(
                standardised(pixels, self.scales),
                standardised(rest, self.scales),
                moments,
                strict=True,
            )
        ]
        return ClassImages(views, extreme_cells(pixels), extreme_cells(rest), thumbnails(pixels))


def standardised(pixels: np.ndarray, scales: Sequence[Scale]) -> list[np.ndarray]:
    """The views of (n, 32, 32, 3) uint8 images, (n, d) float32 each."""
    views = [np.empty((len(pixels), len(scale.centre)), np.float32) for scale in scales]
    for here, batch in batches(pixels):
        for view, scale in zip(views, scales, strict=True):
            view[here] = scale(batch)
    return views


def _moments(pixels: np.ndarray, scales: Sequence[Scale]) -> list[Moments]:
    """Of each view, a part of the images in memory at a time."""
    total: list[Moments] = []
    for start in range(0, len(pixels), HELD):
        held = standardised(pixels[start : start + HELD], scales)
        part = [Moments.of(view) for view in held]
        total = [a + b for a, b in zip(total, part, strict=True)] if total else part
    return total
