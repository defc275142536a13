"""Whether the detector can judge a set at all: a look ahead."""

from collections import Counter

from pipelines.runs.progress import Progress
from pipelines.sources.base import Source
from pipelines.sources.columns import encoded_images, sample_ids
from sanitizer.images import refusal
from sanitizer.summary import kinds_in_words

#: Images that are looked at before the work begins.
AHEAD = 256


def look_ahead(source: Source, *, quiet: bool) -> None:
    """Say at once which of the first images cannot be judged, as far as headers tell.

    Nothing is decompressed, and of an input that is not on this machine nothing is read, so
    this takes a fraction of a second.

    Args:
        source: whose first shard is looked at.
        quiet: say nothing.

    Raises:
        InputError: the first shard is unreadable.
    """
    if quiet or source.root is None or not source.shards:
        return
    # A batch is enough: large pictures make small ones.
    samples = next(source.reader.read(source.shards[0], AHEAD))
    ids = sample_ids(samples.batch)
    encoded = encoded_images(samples.batch, source.image_column)
    refusals = (
        (sample_id, samples.unread.get(row) or refusal(data))
        for row, (sample_id, data) in enumerate(zip(ids, encoded, strict=True))
    )
    errors = [(sample_id, error) for sample_id, error in refusals if error is not None]
    if errors:
        kinds = Counter(error.kind for _, error in errors)
        first_id, first = errors[0]
        which = "all" if len(errors) == len(ids) else f"{len(errors):,}"
        Progress("looking ahead").say(
            f"warning: {which} of the first {len(ids):,} images cannot be judged and will "
            f"be rejected ({kinds_in_words(kinds)}), such as {first_id}: {first}"
        )
