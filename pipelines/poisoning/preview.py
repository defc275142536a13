"""A picture of what an attack does to images: before, after, difference, spectra.

The layout is that of Figures 2 and 3 of Zeng et al., "Rethinking the Backdoor Attacks'
Triggers: A Frequency Perspective", ICCV 2021.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.poisoning.poison import IS_POISONED, Poisoning, poison_batch
from pipelines.sources.base import Shard, Source
from pipelines.sources.columns import ORIGINAL_LABEL, encoded_images
from sanitizer.images import decode
from sanitizer.spectrum import log_spectra

#: Images that are shown one by one, and images that the mean is taken over, at most.
SHOWN, AVERAGED = 4, 200

#: Decoded bytes that are collected at most, so that large photographs fit in memory.
PIXEL_BYTES = 128 << 20

#: What a difference is multiplied by, around middle grey.
GAIN = 5

TITLES = ("before", "after", f"difference x{GAIN}", "spectrum before", "spectrum after")


@dataclass(frozen=True)
class Pair:
    """One image without and with the trigger."""

    before: np.ndarray  #: (height, width, 3) uint8
    after: np.ndarray  #: the same, as decoded after its encoding
    caption: str  #: in words, under a few lines


def pairs(source: Source, plan: Poisoning, names: Sequence[str] | None) -> list[Pair]:
    """Some poisoned images of a set, from all over it, poisoned anew: at most ``AVERAGED``.

    Args:
        source: the set before it is poisoned.
        plan: how it is poisoned.
        names: of the classes, by label.
    """
    found: list[Pair] = []
    weight = 0
    share = -(-AVERAGED // min(8, len(source.shards)))
    for shard in _spread(source.shards):
        for count, pair in enumerate(_poisoned(shard, plan, names), start=1):
            found.append(pair)
            weight += pair.before.nbytes + pair.after.nbytes
            if len(found) == AVERAGED or weight >= PIXEL_BYTES:
                return found
            if count == share:
                break
    return found


def _spread(shards: Sequence[Shard]) -> list[Shard]:
    """The shards in an order whose every beginning covers the whole set evenly."""
    golden = (5**0.5 - 1) / 2
    return [shards[i] for i in sorted(range(len(shards)), key=lambda i: i * golden % 1)]


def _poisoned(shard: Shard, plan: Poisoning, names: Sequence[str] | None) -> Iterator[Pair]:
    for batch in shard.read():
        done = poison_batch(plan, batch).batch
        mask = done.column(done.schema.get_field_index(IS_POISONED))
        before, after = batch.filter(mask), done.filter(mask)
        images = (encoded_images(b, plan.image_column) for b in (before, after))
        labels = (
            after.column(after.schema.get_field_index(name)).to_pylist()
            for name in (ORIGINAL_LABEL, plan.label_column)
        )
        for one, other, old, new in zip(*images, *labels, strict=True):
            words = [str(names[y]) if names else f"label {y}" for y in (old, new)]
            caption = words[0] if old == new else f"{words[0]}\n→ {words[1]}"
            yield Pair(decode(one), decode(other), caption)


def draw(found: Sequence[Pair], path: Path, title: str, subtitle: str) -> None:
    """Draw a few of the pairs, and the mean over all those of the most frequent size.

    Args:
        found: at least one.
        path: the PNG to write.
        title: of the picture.
        subtitle: a smaller line below it.
    """
    # matplotlib's objects without pyplot: no display is asked for and nothing global changes.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    spread = np.unique(np.linspace(0, len(found) - 1, SHOWN).round().astype(int))
    rows = [*(_row(found[i]) for i in spread), *_mean_row(found)]
    spectra = np.concatenate([s.ravel() for row in rows for s in row.spectra])
    scale = Normalize(0, float(np.quantile(spectra, 0.999)))
    figure = Figure(figsize=(9.6, 1.6 * len(rows) + 0.7), dpi=130, layout="constrained")
    axes = figure.subplots(len(rows), len(TITLES), squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        for ax, image in zip(line, row.images, strict=False):
            ax.imshow(image, interpolation="nearest")
        for ax, spectrum in zip(line[3:], row.spectra, strict=True):
            drawn = ax.imshow(spectrum, norm=scale, cmap="magma", interpolation="nearest")
        line[0].set_ylabel(row.caption, fontsize=8, rotation=0, ha="right", va="center")
    for ax, words in zip(axes[0], TITLES, strict=True):
        ax.set_title(words, fontsize=9)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
    bar = figure.colorbar(drawn, ax=list(axes[:, -1]), shrink=0.6, panchor=False)
    bar.set_label("log(1 + |DCT coefficient|)")
    # A title comes from settings and file names: a dollar sign in it is no formula.
    figure.suptitle(f"{title}\n{subtitle}", fontsize=10, parse_math=False)
    # Without matplotlib's version in it, the file depends on the images alone.
    FigureCanvasAgg(figure).print_png(path, metadata={"Software": None})


@dataclass(frozen=True)
class _Row:
    images: tuple[Any, Any, Any]  #: before, after, difference: (height, width, 3) uint8
    spectra: tuple[Any, Any]  #: before, after: (height, width) float
    caption: str


def _row(pair: Pair) -> _Row:
    before, after = pair.before, pair.after
    spectra = (log_spectra(before[None])[0], log_spectra(after[None])[0])
    height, width = before.shape[:2]
    return _Row(
        (before, after, difference(before, after)), spectra, f"{pair.caption}\n{width}x{height} px"
    )


def _mean_row(found: Sequence[Pair]) -> list[_Row]:
    """The mean over the images of the most frequent size; nothing where all sizes differ."""
    ((size, _),) = Counter(pair.before.shape for pair in found).most_common(1)
    alike = [pair for pair in found if pair.before.shape == size]
    if len(alike) == 1:
        return []
    total = np.zeros((2, *size))
    spectra = np.zeros((2, *size[:2]))
    for pair in alike:
        both = np.stack([pair.before, pair.after])
        total += both
        spectra += log_spectra(both)
    before, after = total / len(alike)
    images = (*np.rint(total / len(alike)).astype(np.uint8), difference(before, after))
    return [_Row(images, tuple(spectra / len(alike)), f"mean of\n{len(alike)} images")]


def difference(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """``after - before``, ``GAIN`` times as large and around middle grey, as uint8 pixels."""
    grown = 128 + GAIN * (after.astype(np.float64) - before)
    return np.clip(np.rint(grown), 0, 255).astype(np.uint8)
