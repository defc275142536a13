"""What a class is compared with: scales and covariances of the set, images of other classes."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from sanitizer.scan.canonical import Compact
from sanitizer.scan.extremes import extreme_cells
from sanitizer.scan.joining import ClassImages, ClassView
from sanitizer.scan.moments import Moments, Whitening
from sanitizer.scan.pictures import thumbnails
from sanitizer.scan.standard import NATIVE_VIEWS, VIEWS, Scale, needs_sums

#: Images by which centres and scales are set.
SCALED = 5_000

#: Images of the set whose covariances stand for all: some 25 for each feature of a view.
SAMPLED = 20_000

#: Images of the set that a class is compared with, but for its own.
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
    images: Compact  #: the sample in random order
    labels: np.ndarray  #: (n,) of the sample

    @classmethod
    def of(cls, images: Compact, labels: np.ndarray, rng: np.random.Generator) -> Self:
        """Args: images: of a set; labels: (n,) of any dtype.

        Views of native pixels are looked at where an image is larger than its canonical form.
        """
        chosen = rng.permutation(len(images))[:SAMPLED]
        images, labels = images[chosen], labels[chosen]
        looked_at = [batch for _, batch in images[:SCALED].batches()]
        views = VIEWS if images.native is None else VIEWS + NATIVE_VIEWS
        scales = [
            Scale.of(view, np.concatenate([view.raw(b) for b in looked_at])) for view in views
        ]
        return cls(scales, _moments(images, scales), images, labels)

    def elsewhere(self, label: Hashable) -> Compact:
        """Images of other classes, as many as a class is compared with."""
        return self.images[:RESTED][self.labels[:RESTED] != label]

    def unseen(self, label: Hashable) -> Compact:
        """Further images of other classes.

        Of a small set there are too few, and they are those that the class is compared with.
        """
        further = slice(RESTED, 2 * RESTED) if len(self.images) >= 2 * RESTED else slice(RESTED)
        return self.images[further][self.labels[further] != label]

    def share(self, label: Hashable) -> float:
        """Of the set that is in a class."""
        return float(np.mean(self.labels == label))

    def beside(self, label: Hashable, images: Compact, rng: np.random.Generator) -> ClassImages:
        """A class, standardised and whitened by the others.

        Args:
            label: of the class.
            images: of it, no two of the same picture.
            rng: for the start of the search for its subspaces.
        """
        own = self.labels == label
        others = ~own[:RESTED]
        if self.share(label) >= OWN_SHARE:
            of_class = _moments(self.images[own], self.scales)
            whitenings = [
                Whitening.by(all_ - part) for all_, part in zip(self.moments, of_class, strict=True)
            ]
            rest = [
                whitening(view[others])
                for whitening, view in zip(whitenings, self._rest, strict=True)
            ]
        else:
            whitenings = self._whitenings
            rest = [view[others] for view in self._white_rest]
        inside = standardised(images, self.scales)
        views = [ClassView.of(*view, rng) for view in zip(inside, rest, whitenings, strict=True)]
        kinds = [scale.view for scale in self.scales]
        rest_pixels = self.images.pixels[:RESTED][others]
        cells = extreme_cells(images.pixels), extreme_cells(rest_pixels)
        thumbs = thumbnails(images.pixels), thumbnails(rest_pixels)
        return ClassImages(kinds, views, *cells, *thumbs)

    # What all classes are compared with is made once.

    @cached_property
    def _rest(self) -> list[np.ndarray]:
        return standardised(self.images[:RESTED], self.scales)

    @cached_property
    def _whitenings(self) -> list[Whitening]:
        return [Whitening.by(moments) for moments in self.moments]

    @cached_property
    def _white_rest(self) -> list[np.ndarray]:
        return [w(view) for w, view in zip(self._whitenings, self._rest, strict=True)]


def standardised(images: Compact, scales: Sequence[Scale]) -> list[np.ndarray]:
    """The views of n images, (n, d) float32 each."""
    views = [np.empty((len(images), len(scale.centre)), np.float32) for scale in scales]
    for here, batch in images.batches(needs_sums(scales)):
        for view, scale in zip(views, scales, strict=True):
            view[here] = scale(batch)
    return views


def _moments(images: Compact, scales: Sequence[Scale]) -> list[Moments]:
    """Of each view, a part of the images in memory at a time."""
    total: list[Moments] = []
    for start in range(0, len(images), HELD):
        held = standardised(images[start : start + HELD], scales)
        part = [Moments.of(view) for view in held]
        total = [a + b for a, b in zip(total, part, strict=True)] if total else part
    return total
