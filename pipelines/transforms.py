"""freqsan's passes as Beam transforms, for pipelines of your own.

    import apache_beam as beam
    from pipelines.transforms import ReadImages, ScoreImages, SplitByVerdict

    with beam.Pipeline() as pipeline:
        verdicts = pipeline | ReadImages("photos/") | ScoreImages() | SplitByVerdict()
        verdicts.poisoned | beam.Map(lambda one: (one.sample_id, one.reason)) | beam.Map(print)

They do less than ``freqsan clean``, which looks at the whole set before it decides:

- Each image is judged by itself, against the clean images whose scores are stored with the
  detector, or against yours. ``clean`` judges each kind of image of which a set has enough by the
  set itself, and notices where the stored images do not fit; here an unusual set may lose more
  clean images than promised.
- No class is searched for a trigger that its images share, which finds most of what a single image
  does not show.
- Nothing is written, resumed, checked or reported: that is for the pipeline around.

What they share with it is the code that reads, decodes and scores: an image has the same score.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam

from detector.bundled import DEFAULT_DETECTOR
from pipelines.judging.calibration import calibrate, load_detector
from pipelines.judging.policies import choose_policy, find_detector
from pipelines.judging.score import Scorer, assess, look_at
from pipelines.judging.split import reason
from pipelines.runs.public import checked
from pipelines.sources import open_source
from pipelines.sources.base import SHARD_ROWS, Reader, Shard
from pipelines.sources.columns import encoded_images, sample_ids
from sanitizer.errors import InputError
from sanitizer.images import ImageError
from sanitizer.policy import ROUNDING, Budget, FalseDiscovery
from sanitizer.records import CLEAN, POISONED, REJECTED

#: Images that are scored together: the fewest and the most.
BATCH = (16, 256)


@dataclass(frozen=True)
class Sample:
    """An image of an input."""

    sample_id: str  #: as in all that freqsan writes
    source: str  #: file, tar or folder that it came from, relative to the input
    label: Any  #: the input's own; None where it has none
    image: bytes | None  #: encoded, as it lies in the input; None where it could not be read
    unread: str | None = None  #: why not: a category, a colon, and words


@dataclass(frozen=True)
class ScoredImage:
    """An image, and how suspicious it is."""

    sample: Sample
    score: float | None  #: 0 to 1, higher is more suspicious; None where it cannot be judged
    p_value: float | None  #: the share of clean images that score as high; None likewise
    as_high: int | None  #: how many they are; None likewise
    compared: int | None  #: out of how many; None likewise
    error: str | None  #: why it cannot be judged, in words; None where it can


@dataclass(frozen=True)
class JudgedImage:
    """An image, and what was decided of it."""

    scored: ScoredImage
    verdict: str  #: ``"clean"``, ``"poisoned"`` or ``"rejected"``
    reason: str  #: what decided, in words

    @property
    def sample_id(self) -> str:
        """Of the image."""
        return self.scored.sample.sample_id


class ReadImages(beam.PTransform):
    """The images of an input: ``pipeline | ReadImages(location)`` gives :class:`Sample`.

    Every kind of input that ``freqsan clean`` takes. It is listed once, where the pipeline is
    built, and the list travels to the workers, a few hundred bytes for each file; they read the
    images themselves, so the input must lie where all of them see it. Columns beside the image and
    the label are not read.

    Args:
        location: a folder of images, Parquet, tars, a saved dataset, a Hub id, or a URL.
        split: which split, where the input has several.
        image_column: found by itself where None.
        label_column: found by itself where None.
        shard_rows: about so many images are read by one worker in one go.
        follow_links: also links that lead out of the input.

    Raises:
        InputError: it is unreadable, empty or no image set, or an argument cannot be taken.
    """

    @checked
    def __init__(
        self,
        location: str | Path,
        *,
        split: str | None = None,
        image_column: str | None = None,
        label_column: str | None = None,
        shard_rows: int = SHARD_ROWS,
        follow_links: bool = False,
    ):
        super().__init__()
        if shard_rows < 1:
            raise InputError(f"shard rows: expected at least 1, got {shard_rows}")
        self._source = open_source(
            location,
            split=split,
            image_column=image_column,
            label_column=label_column,
            shard_rows=shard_rows,
            follow_links=follow_links,
        )

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection[Sample]:
        source = self._source
        read = _Read(source.reader, source.image_column, source.label_column)
        return (
            pbegin
            | "Shards" >> beam.Create(list(map(tuple, source.shards)), reshuffle=False)
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(read)
        )


class _Read(beam.DoFn):
    def __init__(self, reader: Reader, image_column: str, label_column: str | None):
        self._reader, self._image, self._label = reader, image_column, label_column

    def process(self, shard: tuple[Any, ...]) -> Iterator[Sample]:
        for samples in self._reader.read(Shard(*shard)):
            batch = samples.batch
            labels = [None] * len(samples)
            if self._label is not None:
                labels = batch.column(self._label).to_pylist()
            for row, (sample_id, source, label, image) in enumerate(
                zip(
                    sample_ids(batch),
                    samples.files,
                    labels,
                    encoded_images(batch, self._image),
                    strict=True,
                )
            ):
                unread = samples.unread.get(row)
                yield Sample(
                    sample_id, source, label, image, None if unread is None else str(unread)
                )


class ScoreImages(beam.PTransform):
    """How suspicious each image is: of :class:`Sample` it makes :class:`ScoredImage`.

    Images are scored in batches, as they come; their order and company change nothing. Beam's
    DaskRunner loses images here, as it drops what a step gives at the end of a bundle, such as the
    last batch: on Dask use ``freqsan score --runner dask``.

    Args:
        detector: name of a bundled detector, or directory of one, which all workers see.
        trusted: clean images to compare with, any kind of input, read where the pipeline is built;
            None: those whose scores are stored with the detector.

    Raises:
        InputError: there is no such detector, or the trusted images cannot be used.
    """

    @checked
    def __init__(self, detector: str | Path = DEFAULT_DETECTOR, trusted: str | Path | None = None):
        super().__init__()
        address = find_detector(detector)
        loaded = load_detector(address)
        known_good = (
            None if trusted is None else open_source(trusted, option="trusted", follow_links=True)
        )
        # A policy that promises nothing of small calibrations: SplitByVerdict decides.
        policy = choose_policy(FalseDiscovery.name, None, None)
        chosen = calibrate(loaded, policy, known_good, quiet=True)
        self._scorer = Scorer(address, loaded.device, chosen.calibration, adapts=False)

    def expand(self, samples: beam.PCollection[Sample]) -> beam.PCollection[ScoredImage]:
        return (
            samples
            | "Batch" >> beam.BatchElements(*BATCH)
            | "Score" >> beam.ParDo(_Score(self._scorer))
        )


class _Score(beam.DoFn):
    def __init__(self, scorer: Scorer):
        self._scorer = scorer

    def setup(self) -> None:
        self._scorer.load()

    def process(self, batch: Sequence[Sample]) -> Iterator[ScoredImage]:
        detector = self._scorer.load()
        images = (
            one.image if one.unread is None else ImageError(*one.unread.split(": ", 1))
            for one in batch
        )
        prepared = look_at(images, detector, scans=False).prepared
        assessed = assess(prepared, detector, self._scorer.calibration)
        p_values = assessed.p_values
        figures = (assessed.scores.values, p_values.values, p_values.as_high, p_values.compared)
        of_judged = zip(*(of.tolist() for of in figures), strict=True)
        for sample, error in zip(batch, assessed.errors, strict=True):
            if error is None:
                score, p_value, as_high, compared = next(of_judged)
                yield ScoredImage(sample, score, p_value, as_high, compared, None)
            else:
                yield ScoredImage(sample, None, None, None, None, str(error))


class SplitByVerdict(beam.PTransform):
    """Decide: of :class:`ScoredImage` it makes :class:`JudgedImage`, in three collections.

    ``verdicts = scored | SplitByVerdict()`` has them as ``verdicts.clean``, ``verdicts.poisoned``
    and ``verdicts.rejected``; the last could not be judged. An image is poisoned where its p-value
    is at most ``max_clean_loss``: of innocent images that are like those they were compared with
    that share is lost, on average. Of fewer than ``1 / max_clean_loss - 1`` images to compare with
    none is low enough. Beam's DaskRunner has no steps with several outputs.

    Args:
        max_clean_loss: above 0, at most 0.5.

    Raises:
        InputError: it is out of range.
    """

    @checked
    def __init__(self, max_clean_loss: float = 0.01):
        super().__init__()
        choose_policy(Budget.name, max_clean_loss, None)  # refuses what is out of range
        self._max_clean_loss = max_clean_loss

    # Beam warns of annotations of several outputs, so neither this nor _Decide has any.
    def expand(self, scored: beam.PCollection[ScoredImage]):  # type: ignore[no-untyped-def]
        return scored | "Decide" >> beam.ParDo(_Decide(self._max_clean_loss)).with_outputs(
            CLEAN, POISONED, REJECTED
        )


class _Decide(beam.DoFn):
    def __init__(self, max_clean_loss: float):
        self._most = max_clean_loss + ROUNDING

    def process(self, scored: ScoredImage):  # type: ignore[no-untyped-def]
        judged = self._judged(scored)
        yield beam.pvalue.TaggedOutput(judged.verdict, judged)

    def _judged(self, scored: ScoredImage) -> JudgedImage:
        if scored.p_value is None or scored.as_high is None or scored.compared is None:
            return JudgedImage(scored, REJECTED, scored.error or "")
        poisoned = scored.p_value <= self._most
        words = reason(poisoned, scored.as_high, scored.compared)
        return JudgedImage(scored, POISONED if poisoned else CLEAN, words)
