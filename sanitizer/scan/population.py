"""What a class is compared with: scales and covariances of the set, images of other classes."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from sanitizer.scan.canonical import Compact
from sanitizer.scan.contents import Contents, usual_distance
from sanitizer.scan.extremes import extreme_cells
from sanitizer.scan.joining import ClassImages, ClassView
from sanitizer.scan.kept import ROWS, Kept
from sanitizer.scan.moments import Moments, Whitening
from sanitizer.scan.pictures import thumbnails
from sanitizer.scan.standard import NATIVE_VIEWS, VIEWS, Scale, needs_sums

#: Images by which centres and scales are set.
SCALED = 5_000

#: Images of the set whose covariances stand for all: some 25 for each feature of a view.
SAMPLED = 20_000

#: Images of the set that a class is compared with, but for its own.
RESTED = 4_000

#: Images of other classes that a class can be compared with, at least: what natural groups share
#: is absent from few images by chance.
LEAST_ELSEWHERE = 100

#: A class of at least this share of the set is taken out of the covariances that whiten it, or it
#: would hide its own trigger; smaller ones change nothing there.
OWN_SHARE = 0.02


@dataclass(frozen=True)
class Population:
    """A sample of a set."""

    scales: Sequence[Scale]  #: of each view
    images: Compact  #: the first of the sample, which is in random order
    #: Each view of the first ``RESTED``, standardised. In half the bits, whose rounding is a
    #: thousandth of the noise.
    views: Sequence[np.ndarray]
    low: np.ndarray  #: (n, d) the first view of the whole sample
    kept: Kept  #: all views of it: each class of a few takes its own images out of the covariances
    moments: Sequence[Moments]  #: of each view, over the sample
    labels: np.ndarray  #: (n,) of the sample

    @classmethod
    def of(cls, images: Compact, labels: np.ndarray, rng: np.random.Generator) -> Self:
        """Args: images: of a set; labels: (n,) of any dtype.

        Views of native pixels are looked at where an image is larger than its canonical form.
        """
        chosen = rng.permutation(len(images))[:SAMPLED]
        kinds = VIEWS if images.native is None else VIEWS + NATIVE_VIEWS
        raw = [np.empty((len(chosen[:SCALED]), kind.features), np.float32) for kind in kinds]
        for here, batch in images.batches(order=chosen[:SCALED]):
            for kind, values in zip(kinds, raw, strict=True):
                values[here] = kind.raw(batch)
        scales = [Scale.of(kind, values) for kind, values in zip(kinds, raw, strict=True)]
        del raw
        features = [kind.features for kind in kinds]
        first = [np.empty((len(chosen[:RESTED]), d), np.float16) for d in features]
        low = np.empty((len(chosen), features[0]), np.float16)
        kept, moments = Kept(features), [Moments.none(d) for d in features]
        for start in range(0, len(chosen), ROWS):
            here = slice(start, start + ROWS)
            views = standardised(images, scales, np.float16, chosen[here])
            kept.add(views)
            moments = _with(moments, views)
            low[here] = views[0]
            for held, view in zip(first, views, strict=True):
                held[here] = view[: max(0, RESTED - start)]
        of_all = images[chosen[: 2 * RESTED]]
        return cls(scales, of_all, first, low, kept, moments, labels[chosen])

    def elsewhere(self, label: Hashable) -> Compact:
        """Images of other classes, as many as a class is compared with."""
        return self.images[:RESTED][self.labels[:RESTED] != label]

    def can_compare(self, label: Hashable) -> bool:
        """Whether there are enough images of other classes."""
        return int(np.count_nonzero(self.labels[:RESTED] != label)) >= LEAST_ELSEWHERE

    def unseen(self, label: Hashable) -> Compact:
        """Further images of other classes.

        Of a small set there are too few, and they are those that the class is compared with.
        """
        enough = len(self.labels) >= 2 * RESTED
        further = slice(RESTED, 2 * RESTED) if enough else slice(RESTED)
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
            whitenings = [Whitening.by(moments) for moments in self._moments_of_others(own)]
            rest = [
                whitening(view[others])
                for whitening, view in zip(whitenings, self.views, strict=True)
            ]
        else:
            whitenings = self._whitenings
            rest = [view[others] for view in self._white_rest]
        inside = standardised(images, self.scales)
        contents = self._contents(inside[0], own)
        views = [ClassView.of(*view, rng) for view in zip(inside, rest, whitenings, strict=True)]
        kinds = [scale.view for scale in self.scales]
        rest_pixels = self.images.pixels[:RESTED][others]
        cells = extreme_cells(images.pixels), extreme_cells(rest_pixels)
        thumbs = thumbnails(images.pixels), thumbnails(rest_pixels)
        labels = self.labels[:RESTED][others]
        return ClassImages(kinds, views, *cells, *thumbs, labels, contents)

    def _contents(self, inside: np.ndarray, own: np.ndarray) -> Contents:
        """What a class shows, beside the others that it is compared with.

        Args:
            inside: (n, d) of the class, standardised low frequencies.
            own: (n,) bool, images of the sample that are of the class.
        """
        low, fresh = self.low, self._fresh
        others = ~own[:RESTED]
        makers = self._makers
        if own.mean() >= OWN_SHARE:
            makers = _of_others(makers, low[fresh:], own[fresh:])
        return Contents.of(
            inside,
            low[:RESTED][others].astype(np.float32),
            np.flatnonzero(others) < fresh,
            Whitening.by(makers),
            self._usual_distance,
        )

    def _moments_of_others(self, own: np.ndarray) -> list[Moments]:
        """Of each view, over all but (n,) bool of the sample.

        Summed over whichever are fewer: what is left of large sums would be their rounding.
        """
        few = _are_few(own)
        moments = [Moments.none(len(one.total)) for one in self.moments]
        for views in self.kept.read(np.flatnonzero(own if few else ~own)):
            moments = _with(moments, views)
        if not few:
            return moments
        return [of_all - one for of_all, one in zip(self.moments, moments, strict=True)]

    # What all classes are compared with is made once.

    @property
    def _fresh(self) -> int:
        """How many images, the first ones, are compared by what they show."""
        return min(RESTED, len(self.labels) // 2)

    @cached_property
    def _makers(self) -> Moments:
        """Of the low frequencies of the images that make the coordinates of contents."""
        return Moments.of(self.low[self._fresh :])

    @cached_property
    def _usual_distance(self) -> float:
        white = Whitening.by(self._makers)(self.low[: self._fresh])
        return usual_distance(white, self.labels[: self._fresh])

    @cached_property
    def _whitenings(self) -> list[Whitening]:
        return [Whitening.by(moments) for moments in self.moments]

    @cached_property
    def _white_rest(self) -> list[np.ndarray]:
        return [w(view) for w, view in zip(self._whitenings, self.views, strict=True)]


def _of_others(moments: Moments, view: np.ndarray, own: np.ndarray) -> Moments:
    """Those of all but a class, as by :meth:`Population._moments_of_others`.

    Args:
        moments: of all.
        view: (n, d) of all.
        own: (n,) bool, those of the class.
    """
    return moments - Moments.of(view[own]) if _are_few(own) else Moments.of(view[~own])


def _are_few(own: np.ndarray) -> bool:
    return bool(2 * np.count_nonzero(own) < len(own))


def _with(moments: Sequence[Moments], views: Sequence[np.ndarray]) -> list[Moments]:
    """Moments of each view, with those of further rows."""
    return [one + Moments.of(view) for one, view in zip(moments, views, strict=True)]


def standardised(
    images: Compact,
    scales: Sequence[Scale],
    dtype: type[np.floating] = np.float32,
    order: np.ndarray | None = None,
) -> list[np.ndarray]:
    """The views of n images, (n, d) each.

    Args:
        images: some images.
        scales: of the views.
        dtype: of what is returned.
        order: (n,) rows of the images that are seen; None: all.
    """
    count = len(images) if order is None else len(order)
    views = [np.empty((count, len(scale.centre)), dtype) for scale in scales]
    for here, batch in images.batches(needs_sums(scales), order):
        for view, scale in zip(views, scales, strict=True):
            view[here] = scale(batch)
    return views
