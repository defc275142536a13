"""``spectrum``: the mean DCT heat map of an image set, the paper's Figure 1."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.batches import encoded_images
from pipelines.runs.guards import check_outside, check_picture
from pipelines.runs.job import Settings
from pipelines.runs.progress import Progress
from sanitizer.errors import InputError
from sanitizer.images import ImageError, decode
from sanitizer.spectrum import mean_spectrum, save_heat_map, spectrum_blocks

#: Blocks that are averaged in one go.
BATCH = 1024


def spectrum(input: str | Path, output: str | Path, **settings: Any) -> dict[str, int]:
    """Draw the mean log-magnitude DCT of an image set, over blocks of images of any size.

    Args:
        input: any input that ``clean`` reads.
        output: the PNG to write.
        settings: as in :class:`pipelines.runs.job.Settings`.

    Returns:
        ``{"images": ..., "left_out": ...}``: how many were averaged, and how many could not
        be decoded.

    Raises:
        InputError: unreadable input, or no image in it that can be used.
    """
    chosen, path = Settings(**settings), Path(output)
    check_picture(path)
    source = chosen.open(input)
    check_outside(path, source.root)
    counts = {"images": 0, "left_out": 0}
    progress = Progress("averaging", quiet=chosen.quiet)
    progress.start(total=source.rows)

    def blocks() -> Iterator[np.ndarray]:
        """The blocks of each image that decodes."""
        for shard in source.shards:
            for batch in shard.read():
                for data in encoded_images(batch, source.image_column):
                    try:
                        yield spectrum_blocks(decode(data))
                        counts["images"] += 1
                    except ImageError:
                        counts["left_out"] += 1
                progress.advance(batch.num_rows)

    try:
        mean = mean_spectrum(_batches(blocks()))
    except ValueError as error:
        raise InputError(f"{input}: no image could be averaged ({error})") from error
    progress.finish()
    save_heat_map({Path(input).name or str(input): mean}, path)
    return counts


def _batches(parts: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The same rows, about ``BATCH`` at a time: a transform of a few is slow."""
    waiting: list[np.ndarray] = []
    rows = 0
    for part in parts:
        waiting.append(part)
        rows += len(part)
        if rows >= BATCH:
            yield np.concatenate(waiting)
            waiting, rows = [], 0
    if waiting:
        yield np.concatenate(waiting)
