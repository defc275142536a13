"""Mean DCT heat maps: what the paper's Figure 1 shows of clean and poisoned sets."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from sanitizer.blocks import blocks
from sanitizer.dct import dct2

#: Side of the square blocks that an image's spectrum is the mean of, in pixels.
BLOCK = 32

#: Blocks along each side of an image at most, so that memory is bounded for one of any size.
MOST_BLOCKS = 8


def spectrum_blocks(pixels: np.ndarray) -> np.ndarray:
    """The blocks of an image of any size that its spectrum is the mean of.

    Args:
        pixels: (height, width, 3) uint8, at least one pixel.

    Returns:
        (k, BLOCK, BLOCK, 3) uint8, evenly spread; k from 1 to 64.
    """
    return blocks(pixels, BLOCK, MOST_BLOCKS)


def log_spectra(images: np.ndarray) -> np.ndarray:
    """The log-magnitude DCT of each image, averaged over its channels.

    Args:
        images: (n, height, width, channels), any real dtype, 0 to 255.

    Returns:
        (n, height, width) float32, 0 or above; ``[..., 0, 0]`` is the lowest frequency.
    """
    return np.log1p(np.abs(dct2(images))).mean(axis=1)


def mean_spectrum(batches: Iterable[np.ndarray]) -> np.ndarray:
    """The mean of :func:`log_spectra` over all images; one batch is in memory at a time.

    Args:
        batches: (n, height, width, channels) each, the same height and width throughout.

    Returns:
        (height, width) float64, 0 or above.

    Raises:
        ValueError: no image at all, or images of different sizes.
    """
    total: np.ndarray | None = None
    count = 0
    for batch in batches:
        if not len(batch):
            continue
        size = batch.shape[1:3]
        if total is None:
            total = np.zeros(size)
        if total.shape != size:
            raise ValueError(f"expected images of one size, got {total.shape} and then {size}")
        total += log_spectra(batch).sum(axis=0, dtype=np.float64)
        count += len(batch)
    if total is None:
        raise ValueError("expected at least one image, got none")
    return total / count


def save_heat_map(spectra: Mapping[str, np.ndarray], path: Path) -> None:
    """Draw spectra side by side, on one colour scale, lowest frequencies upper left.

    Args:
        spectra: (height, width) each, by title; at least one.
        path: the PNG to write.
    """
    # matplotlib's objects without pyplot: no display is asked for and nothing global changes.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4 * len(spectra) + 0.9, 3.6), dpi=150, layout="constrained")
    axes = figure.subplots(1, len(spectra), squeeze=False)[0]
    scale = Normalize(
        min(float(s.min()) for s in spectra.values()), max(float(s.max()) for s in spectra.values())
    )
    for ax, (title, spectrum) in zip(axes, spectra.items(), strict=True):
        drawn = ax.imshow(spectrum, norm=scale, cmap="magma", interpolation="nearest")
        # A title comes from a file name: a dollar sign in it is no formula.
        ax.set_title(title, fontsize=10, parse_math=False)
        ax.set_xlabel("horizontal frequency")
    axes[0].set_ylabel("vertical frequency")
    figure.colorbar(drawn, ax=list(axes), label="mean of log(1 + |DCT coefficient|)")
    # Without matplotlib's version in it, the file depends on the spectra alone.
    FigureCanvasAgg(figure).print_png(path, metadata={"Software": None})
