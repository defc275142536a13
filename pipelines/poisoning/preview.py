"""A picture of what an attack does to images: before, after, difference, spectra.

The layout is that of Figures 2 and 3 of Zeng et al., "Rethinking the Backdoor Attacks'
Triggers: A Frequency Perspective", ICCV 2021.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.poisoning.poison import poison_batch
from pipelines.poisoning.recipe import IS_POISONED, Recipe
from pipelines.poisoning.triggers import settings_of
from pipelines.sources.base import Shard, Source
from pipelines.sources.columns import ORIGINAL_LABEL, encoded_images
from sanitizer import png
from sanitizer.errors import shortened
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


def preview(source: Source, recipe: Recipe, class_names: Sequence[str] | None) -> bytes | None:
    """A PNG of some images of a set, before and after they are poisoned; None if none is.

    Args:
        source: the set before it is poisoned.
        recipe: how it is poisoned.
        class_names: by label; None where the set has none.
    """
    pairs = poisoned_pairs(source, recipe, class_names)
    if not pairs:
        return None
    settings = ", ".join(f"{name} {v}" for name, v in settings_of(recipe.attack).items())
    title = f"{recipe.attack.title}{f' ({settings})' if settings else ''}"
    set_name = Path(source.location).name or source.location
    encoding = recipe.encoding.name
    encoded = "as they came" if encoding == "keep" else f"as {encoding}"
    return draw(pairs, f"{title}\n{set_name}, encoded {encoded}")


def poisoned_pairs(source: Source, recipe: Recipe, class_names: Sequence[str] | None) -> list[Pair]:
    """Some poisoned images of a set, from all over it, poisoned anew: at most ``AVERAGED``."""
    pairs: list[Pair] = []
    weight = 0
    share = -(-AVERAGED // min(8, len(source.shards)))
    for shard in _spread(source.shards):
        batches = (samples.batch for samples in source.reader.read(shard))
        for count, pair in enumerate(_pairs_of(batches, recipe, class_names), start=1):
            pairs.append(pair)
            weight += pair.before.nbytes + pair.after.nbytes
            if len(pairs) == AVERAGED or weight >= PIXEL_BYTES:
                return pairs
            if count == share:
                break
    return pairs


def _spread(shards: Sequence[Shard]) -> list[Shard]:
    """The shards in an order whose every beginning covers the whole set evenly."""
    golden = (5**0.5 - 1) / 2
    return [shards[i] for i in sorted(range(len(shards)), key=lambda i: i * golden % 1)]


def _pairs_of(
    batches: Iterable[pa.RecordBatch], recipe: Recipe, class_names: Sequence[str] | None
) -> Iterator[Pair]:
    for batch in batches:
        poisoned = poison_batch(recipe, batch).batch
        mask = poisoned.column(poisoned.schema.get_field_index(IS_POISONED))
        before, after = batch.filter(mask), poisoned.filter(mask)
        images = (encoded_images(b, recipe.image_column) for b in (before, after))
        labels = (
            after.column(after.schema.get_field_index(name)).to_pylist()
            for name in (ORIGINAL_LABEL, recipe.label_column)
        )
        for original, triggered, old, new in zip(*images, *labels, strict=True):
            names = [
                shortened(str(class_names[y]) if class_names else f"label {y}", 32)  # in a margin
                for y in (old, new)
            ]
            caption = names[0] if old == new else f"{names[0]}\n→ {names[1]}"
            yield Pair(decode(original), decode(triggered), caption)


@png.own_style()
def draw(pairs: Sequence[Pair], title: str) -> bytes:
    """A PNG of a few of the pairs, and of the mean over all those of the most frequent size.

    Args:
        pairs: at least one.
        title: of the picture; may have several lines.
    """
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    spread = np.unique(np.linspace(0, len(pairs) - 1, SHOWN).round().astype(int))
    rows = [*(_row(pairs[i]) for i in spread), *_mean_row(pairs)]
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
    figure.suptitle(title, fontsize=10, parse_math=False)
    return png.of_figure(figure)


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


def _mean_row(pairs: Sequence[Pair]) -> list[_Row]:
    """The mean over the images of the most frequent size; nothing where all sizes differ."""
    ((size, _),) = Counter(pair.before.shape for pair in pairs).most_common(1)
    alike = [pair for pair in pairs if pair.before.shape == size]
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
