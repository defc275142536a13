"""``spectrum``: the mean DCT heat map of an image set, the paper's Figure 1."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.runs.guards import check_outside, check_picture
from pipelines.runs.job import Settings
from pipelines.runs.progress import Progress
from pipelines.runs.public import public
from pipelines.sources.columns import encoded_images
from sanitizer.errors import InputError
from sanitizer.files import write_atomically
from sanitizer.images import ImageError, decode
from sanitizer.record import Record


@dataclass(frozen=True)
class SpectrumCounts(Record):
    """Images that a spectrum is made of."""

    images: int  #: that were averaged
    left_out: int  #: that cannot be decoded


@public
def spectrum(
    input: str | Path,
    output: str | Path,
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
        output: the PNG to write.
        split, image_column, label_column, follow_links, quiet: as in
            :class:`pipelines.runs.job.Settings`.

    Returns:
        How many images were averaged, and how many could not be decoded.

    Raises:
        InputError: unreadable input, or no image in it that can be used.
    """
    path = Path(output)
    chosen = Settings(
        split=split,
        image_column=image_column,
        label_column=label_column,
        follow_links=follow_links,
        quiet=quiet,
    )
    check_picture(path)
    source = chosen.open(input)
    check_outside(path, source.root)
    # Half a second to load, after all that can be refused without it.
    from pipelines.report.plots import spectra_png
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
    write_atomically(path, spectra_png({Path(input).name or str(input): mean.values}))
    return SpectrumCounts(mean.images, left_out)
