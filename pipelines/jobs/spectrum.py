"""``spectrum``: the mean DCT heat map of an image set, the paper's Figure 1."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.batches import encoded_images, judgeable, prepare
from pipelines.runs.guards import check_outside, check_picture
from pipelines.runs.job import Settings
from pipelines.runs.progress import Progress
from sanitizer.errors import InputError
from sanitizer.spectrum import mean_spectrum, save_heat_map


def spectrum(input: str | Path, output: str | Path, **settings: Any) -> dict[str, int]:
    """Draw the mean log-magnitude DCT of all tiles of an image set.

    Args:
        input: any input that ``clean`` reads.
        output: the PNG to write.
        settings: as in :class:`pipelines.runs.job.Settings`.

    Returns:
        ``{"images": ..., "left_out": ...}``: how many were averaged, and how many could not
        be decoded or are too large or too small.

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

    def tiles() -> Iterator[np.ndarray]:
        for shard in source.shards:
            for batch in shard.read():
                prepared = [prepare(d) for d in encoded_images(batch, source.image_column)]
                usable = judgeable(prepared)
                counts["images"] += len(usable)
                counts["left_out"] += len(prepared) - len(usable)
                progress.advance(len(prepared))
                if usable:
                    yield np.concatenate(usable)

    try:
        mean = mean_spectrum(tiles())
    except ValueError as error:
        raise InputError(f"{input}: no image could be averaged ({error})") from error
    progress.finish()
    save_heat_map({Path(input).name or str(input): mean}, path)
    return counts
