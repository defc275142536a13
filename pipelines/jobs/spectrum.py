"""``spectrum``: the mean DCT heat map of an image set, the paper's Figure 1."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from pipelines.runs.guards import check_outside, check_picture
from pipelines.runs.job import Settings
from pipelines.runs.progress import Progress
from pipelines.runs.public import public
from pipelines.sources.columns import encoded_images
from sanitizer import png
from sanitizer.errors import InputError
from sanitizer.files import write_atomically
from sanitizer.images import ImageError, decode
from sanitizer.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Drawn(Record):
    """Adds to counts the spectrum itself, which a notebook shows.

    It is no field, as this is no dataclass: so it is not written as JSON.
    """

    _title: str
    _values: np.ndarray

    def of(self, title: str, values: np.ndarray) -> Self:
        """The same counts, with the spectrum, under a title."""
        drawn = copy.copy(self)
        for name, value in (("_title", title), ("_values", values)):
            object.__setattr__(drawn, name, value)  # a record is frozen
        return drawn

    @property
    def values(self) -> np.ndarray:
        """(32, 32) float64, the mean of log(1 + |DCT coefficient|), lowest frequencies first."""
        return self._values

    def figure(self) -> "Figure":
        """The heat map, lowest frequencies upper left."""
        from pipelines.results.figures import spectra  # half a second to load

        return spectra({self._title: self._values})

    def _repr_png_(self) -> bytes:
        return png.of_figure(self.figure())


@dataclass(frozen=True)
class SpectrumCounts(Drawn):
    """Images that a spectrum is made of."""

    images: int  #: that were averaged
    left_out: int  #: that cannot be decoded


@public
def spectrum(
    input: str | Path,
    output: str | Path | None = None,
    *,
    split: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    follow_links: bool = False,
    quiet: bool = False,
) -> SpectrumCounts:
    """Draw the mean log-magnitude DCT of all images of a set, in square blocks.

    Args:
        input: any input that ``clean`` reads.
        output: the PNG to write; None: none is written.
        split, image_column, label_column, follow_links, quiet: as in
            :class:`pipelines.runs.job.Settings`.

    Returns:
        How many images were averaged, and how many could not be decoded; with ``figure()``, which
        a notebook shows by itself.

    Raises:
        InputError: unreadable input, or no image in it that can be used.
    """
    path = None if output is None else Path(output)
    chosen = Settings(
        split=split,
        image_column=image_column,
        label_column=label_column,
        follow_links=follow_links,
        quiet=quiet,
    )
    if path is not None:
        check_picture(path)
    source = chosen.open(input)
    if path is not None:
        check_outside(path, source.root)
    # Half a second to load, after all that can be refused without it.
    from sanitizer.spectrum import MeanSpectrum

    left_out = 0
    progress = Progress("averaging", quiet=chosen.quiet)
    progress.start(total=source.rows)

    def decoded() -> Iterator[np.ndarray]:
        nonlocal left_out
        for samples in source.samples():
            for data in encoded_images(samples.batch, source.image_column):
                try:
                    yield decode(data)
                except ImageError:
                    left_out += 1
            progress.advance(len(samples))

    mean = MeanSpectrum.of(decoded())
    if not mean.images:
        raise InputError(f"{input}: not one of its {left_out:,} images could be decoded")
    progress.finish()
    title = Path(input).name or str(input)
    if path is not None:
        from pipelines.report.plots import spectra_png

        write_atomically(path, spectra_png({title: mean.values}))
    return SpectrumCounts(mean.images, left_out).of(title, mean.values)
