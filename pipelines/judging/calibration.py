"""What judges: the detector, and which clean images decide, with what promise, in words."""

import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from detector.bulk import ENOUGH, FEWEST, TENTH, OwnScale
from detector.bundled import find
from detector.calibration import Calibration, CalibrationGroup
from detector.inputs import judgeable
from detector.kinds import ANY_PARTS, ENCODINGS, range_of
from detector.scores import Scores
from detector.storage import CARD, WEIGHTS
from pipelines.judging.fetching import Copy, fetched
from pipelines.runs.progress import Progress
from pipelines.runs.threads import map_in_order
from pipelines.sources.base import Source
from pipelines.sources.columns import encoded_images
from pipelines.sources.remote import is_remote
from sanitizer.errors import InputError
from sanitizer.policy import Budget, Policy
from sanitizer.summary import CalibrationFacts, CalibrationGroupFacts, kinds_in_words

if TYPE_CHECKING:
    from detector.lending import Lent
    from detector.model import Detector


def load_detector(
    name_or_path: str | Path, device: str | None = None, lent: "Lent | None" = None
) -> "Detector":
    """A bundled detector by name, or one in a directory; read once in a process.

    A name that does not exist is told before torch is loaded.

    Args:
        name_or_path: of the detector; a directory may be in a store, too.
        device: as for :meth:`detector.model.Detector.load`.
        lent: likewise.

    Raises:
        InputError: there is no such detector, the directory does not hold a whole one, or the
            device is not there.
        Unreachable: its store does not give it.
    """
    if is_remote(str(name_or_path)):
        return _loaded_copy(fetched(str(name_or_path).rstrip("/")), device, lent)
    try:
        directory = find(name_or_path)
        from detector.model import best_device

        device = device or best_device()  # under one name, or it would be read twice
        written = tuple((directory / file).stat().st_mtime_ns for file in (CARD, WEIGHTS))
        return _loaded(directory, written, device, lent)
    except OSError as error:
        raise InputError(f"{name_or_path} is no detector: {error}") from error


@functools.lru_cache(maxsize=4)
def _loaded(
    directory: Path, written: tuple[int, ...], device: str | None, lent: "Lent | None"
) -> "Detector":
    """The detector in a directory; ``written`` says when, so that a new one is read anew."""
    from detector.model import Detector

    return Detector.load(directory, device, lent)


@functools.lru_cache(maxsize=4)
def _loaded_copy(copy: Copy, device: str | None, lent: "Lent | None") -> "Detector":
    """A detector in a store."""
    from detector.model import Detector

    with copy.on_disk() as directory:
        return Detector.load(directory, device, lent)


class Size(NamedTuple):
    """Judged images that are seen in the same number of parts and encoded alike."""

    parts: int
    encoding: int  #: place in :data:`detector.kinds.ENCODINGS`
    images: int  #: how many there are
    suspicious: int  #: of them, those that would be removed if the stored groups judged them
    width: int  #: of one of them, like ``height``
    height: int


@dataclass(frozen=True)
class ChosenCalibration:
    """The calibration of a run, and where it comes from."""

    calibration: Calibration
    origin: str  #: "stored" or "trusted"
    words: str  #: what decides and what is promised, for people
    largest: int = ANY_PARTS[1]  #: number of parts of the largest image in it
    adapts: bool = False  #: whether a set with enough images is judged by its own scores
    left_out: str = ""  #: how many trusted images could not be judged and why, in brackets
    doubts: tuple[str, ...] = ()  #: what speaks against the clean images that decide, in sentences
    #: where it adapts, ``words`` for a set that is judged all by itself, and for one that is not
    #: at all; each follows on how many images that are
    if_all: str = ""
    if_none: str = ""

    def facts(self, limit: float, sizes: Sequence[Size], own: OwnScale) -> CalibrationFacts:
        """What is told of it, where a p-value of at most ``limit`` is called poisoned.

        Args:
            sizes: of the judged images of the set.
            own: what judges those kinds of which the set has enough.
        """
        kinds = [(size.parts, size.encoding) for size in sizes]
        thresholds = self.calibration.thresholds(limit, kinds)
        return CalibrationFacts(
            origin=self.origin,
            words=" ".join([*self._by_itself(sizes, own), *self._beyond(sizes)]),
            doubts=(*self.doubts, *_apart(sizes, own)),
            thresholds=thresholds | (own.thresholds(limit) if limit else {}),
            groups=tuple(
                _group_facts(group, limit)
                for group in self.calibration.groups_of(kinds) or self.calibration.groups
            ),
        )

    def _beyond(self, sizes: Sequence[Size]) -> Iterator[str]:
        """That the set has larger images than those that decided, as a sentence."""
        larger = [size for size in sizes if size.parts > self.largest]
        if not larger:
            return
        yield (
            f"That does not hold for {sum(size.images for size in larger):,} of the judged "
            f"images, which are larger than all trusted ones, such as one of {larger[-1].width}x"
            f"{larger[-1].height} px: give trusted images of their sizes, too."
        )

    def _by_itself(self, sizes: Sequence[Size], own: OwnScale) -> Iterator[str]:
        """What decides, by how many images of the set are judged by the set itself."""
        if not self.adapts or not sizes:
            yield self.words
            return
        parts, encodings, images = (
            np.array([getattr(size, name) for size in sizes], np.int64)
            for name in ("parts", "encoding", "images")
        )
        covered = own.covers(Scores(np.zeros(len(sizes), np.float32), parts, encodings))
        few, total = int(images[~covered].sum()), int(images.sum())
        those = "The one judged image" if total == 1 else f"All {total:,} judged images"
        if not few:
            yield f"{those} {'is' if total == 1 else 'are'} {self.if_all}"
        elif few == total:
            yield f"{those} {'is' if total == 1 else 'are'} {self.if_none}"
        else:
            yield self.words
            yield (
                f"Here {total - few:,} of {total:,} judged images are judged by the set itself: of "
                "the others nothing is promised unless they are like the stored ones."
            )


def _apart(sizes: Sequence[Size], own: OwnScale) -> Iterator[str]:
    """That all of a kind, of which a smaller part of the set is, may be poison, as sentences."""
    total = sum(size.images for size in sizes)
    for kind in own.curves:
        mine = [size for size in sizes if (range_of(size.parts), size.encoding) == kind]
        images, suspicious = sum(s.images for s in mine), sum(s.suspicious for s in mine)
        if 2 * images < total and 2 * suspicious > images:
            example = f"{ENCODINGS[kind[1]]}, such as one of {mine[0].width}x{mine[0].height} px"
            yield (
                f"Of {images:,} images of one kind ({example}) {suspicious:,} score higher than "
                "nearly all of the stored clean images. They are judged by each other, so if "
                "somebody has added just these, their scores alone do not tell: look at some of "
                "them."
            )


def _group_facts(group: CalibrationGroup, limit: float) -> CalibrationGroupFacts:
    images, threshold = len(group.scores), group.threshold(limit)
    return CalibrationGroupFacts(group.name, images, group.parts, group.kind, threshold)


def calibrate(
    detector: "Detector",
    policy: Policy,
    trusted: Source | None,
    *,
    workers: int = 1,
    quiet: bool = False,
) -> ChosenCalibration:
    """The calibration of a run: from ``trusted`` clean images, or the detector's own.

    Raises:
        InputError: ``trusted`` is unreadable, or there are too few clean images for the
            policy.
    """
    if trusted is None:
        chosen = _stored(detector, policy)
    else:
        chosen = _trusted(detector, policy, trusted, workers, quiet)
    try:
        # Only a budget promises what a small calibration cannot keep; others need an image.
        chosen.calibration.check(policy.max_clean_loss if isinstance(policy, Budget) else 0.5)
    except ValueError as error:
        of = "" if trusted is None else f"--trusted {trusted.location}{chosen.left_out}: "
        raise InputError(f"{of}{error}") from error
    return chosen


def _stored(detector: "Detector", policy: Policy) -> ChosenCalibration:
    calibration = detector.calibration
    total = sum(len(group.scores) for group in calibration.groups)
    adapts = OwnScale.can_be_learnt(calibration)
    stored = (
        f"the {total:,} scores of clean images that are stored with {detector.identity} "
        f"({_names(calibration.groups)})"
    )
    ask = "For a promise on your own data give --trusted with clean images from the same source."
    if not adapts:
        words = f"Calibrated on {stored}. {policy.promise('like these')}. {ask}"
        return ChosenCalibration(calibration, "stored", words)
    by_itself = "the bulk of its scores tells how its clean images score"
    enough = f"{ENOUGH}, or {FEWEST} that are {TENTH:.0%} of it"
    promise = (
        f"{policy.promise(LIKE_THE_SET)}; a set of several sources that look very different may "
        "lose more, and so may drawings and strongly processed photos."
    )
    words = (
        f"Each kind of image, by size and encoding, of which the set has {ENOUGH} or more, or "
        f"{FEWEST} if they are {TENTH:.0%} of it, is judged by the set itself: {by_itself}. Other "
        f"images are compared with {stored}. {promise} {ask}"
    )
    return ChosenCalibration(
        calibration,
        "stored",
        words,
        adapts=True,
        if_all=f"judged by the set itself: {by_itself}. {promise} {ask}",
        if_none=(
            f"compared with {stored}, as the set has too few of any kind, by size and encoding, to "
            f"be judged by itself ({enough}). Nothing is promised unless they are like the stored "
            f"ones. {ask}"
        ),
    )


#: The clean images that a run without trusted ones promises something of.
LIKE_THE_SET = "of a kind that the set has enough of"


def _names(groups: Sequence[CalibrationGroup]) -> str:
    names = list(dict.fromkeys(group.name.split()[0] for group in groups))
    return ", ".join(names)


def _trusted(
    detector: "Detector", policy: Policy, source: Source, workers: int, quiet: bool
) -> ChosenCalibration:
    progress = Progress("scoring the trusted images", quiet=quiet)
    progress.start(total=source.rows)

    def score(encoded: list[bytes | None]) -> tuple[Scores, Counter[str]]:
        prepared = list(map(detector.prepare, encoded))
        kinds = Counter(image.error.kind for image in prepared if image.error is not None)
        return detector.score(judgeable(prepared)), kinds

    batches = (encoded_images(s.batch, source.image_column) for s in source.samples())
    several, unjudged = [], Counter[str]()
    for scores, kinds in map_in_order(score, batches, workers):
        several.append(scores)
        unjudged.update(kinds)
        progress.advance(len(scores) + kinds.total())
    progress.finish()
    scores = Scores.joined(several)
    left_out = (
        f" ({unjudged.total():,} more could not be judged: {kinds_in_words(unjudged)})"
        if unjudged
        else ""
    )
    images = "image" if len(scores) == 1 else "images"
    words = (
        f"Calibrated on {len(scores):,} trusted clean {images} from {source.location}{left_out}. "
        f"{policy.promise('from the same source')}."
    )
    largest = int(scores.parts.max(initial=0))
    calibration = Calibration.of_trusted(scores)
    suspicious = int((detector.calibration.p_values(scores).values <= 1 - NEARLY_ALL).sum())
    doubts = tuple(doubts_of_trusted(suspicious, len(scores)))
    return ChosenCalibration(
        calibration, "trusted", words, largest, left_out=left_out, doubts=doubts
    )


#: A suspicious image scores higher than this share of the stored clean ones.
NEARLY_ALL = 0.99

#: More than this share of suspicious images among the trusted ones raises doubts.
MANY = 0.1


def doubts_of_trusted(suspicious: int, images: int) -> Iterator[str]:
    """That images which are said to be clean do not look so, as a sentence.

    Args:
        suspicious: those that score higher than ``NEARLY_ALL`` of the stored clean images.
        images: all of them.
    """
    if suspicious > MANY * images:
        yield (
            f"{suspicious:,} of the {images:,} trusted images score higher than {NEARLY_ALL:.0%} "
            "of the clean images that the detector knows. Look at some of them: a trigger that is "
            "on trusted images is taken for clean, too."
        )
