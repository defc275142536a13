"""``train``: a detector of the user's own, from clean images."""

import shutil
import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from detector.calibration import MIN_IMAGES
from detector.card import LONGEST_NAME, Card, TrainingSet
from detector.inputs import Parts, Tiles
from detector.kinds import PART_RANGES
from detector.storage import CARD, load_card
from detector.training import EPOCHS
from detector.training.histories import SIDE, jpeg, training_views
from pipelines.runs.following import follow
from pipelines.runs.guards import check_output
from pipelines.runs.public import public
from pipelines.runs.reading import DecodedImage, Reservoir, decoded_images
from pipelines.runs.store import Store
from pipelines.sources import open_source
from pipelines.sources.base import Source
from pipelines.sources.files import plural
from sanitizer.errors import InputError
from sanitizer.images import Header

#: Views drawn from an image that is larger than a view.
VIEWS = 8

#: Views kept in memory at most (3 kB each); of more, a random choice.
MAX_POOL = 400_000

#: Views that figures and the score's scale are measured on, and images of a calibration group.
MAX_HELD_OUT, MAX_CALIBRATION = 2_000, 1_500

#: Views that figures can be measured on at all.
MIN_HELD_OUT = 100

#: Fewer images than this are refused unread: however large they are, a tenth of fewer is too
#: little to calibrate on, or with ``calibrate_on`` a twentieth too little to measure on.
LEAST_IMAGES, LEAST_BESIDE = 1_000, 250

#: In words, how many are enough, as it hangs on a hash which of them are held out.
ENOUGH = "2,500 clean images, or 1,200 of more than 32 px"

#: Of 20 buckets by a hash of the sample id, the first is held out to measure on; two more
#: calibrate, unless there are images for that.
BUCKETS, CALIBRATION_BUCKETS = 20, (1, 2)

#: Side of the middle of a calibration image, in pixels: as many parts as a larger one has.
MIDDLE = 256

#: Qualities of JPEG that calibration images are scored at too, one of each band.
QUALITIES = (50, 75, 90, 97)

#: Folder of the checkpoint, inside the detector's directory while it is in training.
WORK = ".training"

#: How the new detector cuts images.
INPUTS = Tiles()


class Views:
    """At most ``size`` of all views offered, in one array.

    In a list each would hold on to the image or the views that it was cut from or with.
    """

    def __init__(self, size: int, seed: int):
        self._reservoir = Reservoir(size, seed)
        # A system gives memory to those rows only that are written to.
        self._room = np.empty((size, SIDE, SIDE, 3), np.uint8)

    @property
    def offered(self) -> int:
        return self._reservoir.offered

    @property
    def kept(self) -> np.ndarray:
        """(n, 32, 32, 3) uint8."""
        return self._room[: self.offered]

    def offer(self, view: np.ndarray) -> None:
        """Keep a copy of a (32, 32, 3) uint8 view, or pass it over."""
        place = self._reservoir.place()
        if place is not None:
            self._room[place] = view


class Clean(NamedTuple):
    """An image to calibrate on; a large one takes no more memory than one of 256 px."""

    parts: Parts  #: as it came
    middle: np.ndarray  #: (h, w, 3) uint8, what is encoded anew

    @classmethod
    def of(cls, pixels: np.ndarray, header: Header | None) -> "Clean":
        top, left = (max(0, length - MIDDLE) // 2 for length in pixels.shape[:2])
        middle = pixels[top : top + MIDDLE, left : left + MIDDLE].copy()
        return cls(INPUTS.cut(pixels, header), middle)

    def as_jpeg(self, quality: int) -> Parts:
        """The parts of its middle after JPEG."""
        header = Header(self.middle.shape[1], self.middle.shape[0], "JPEG", quality)
        return INPUTS.cut(jpeg(self.middle, quality), header)


class Images:
    """At most ``size`` of all images offered."""

    def __init__(self, size: int, seed: int):
        self._reservoir = Reservoir(size, seed)
        self._by_place: dict[int, Clean] = {}

    @property
    def kept(self) -> list[Clean]:
        return list(self._by_place.values())

    def offer(self, pixels: np.ndarray, header: Header | None) -> None:
        """Keep an image, or pass it over."""
        place = self._reservoir.place()
        if place is not None:
            self._by_place[place] = Clean.of(pixels, header)


@public
def train(
    inputs: Sequence[str | Path],
    output: str | Path,
    *,
    calibrate_on: Sequence[str | Path] = (),
    epochs: int = EPOCHS,
    seed: int = 0,
    licence: str = "not stated",
    quiet: bool = False,
) -> Card:
    """Train a detector from clean images, on the GPU where there is one.

    A twentieth of the images, by a hash of their ids, is held out to measure on.

    Args:
        inputs: sets of clean images, any kind of input that ``clean`` reads, each with its
            split where it has several: ``photos:train``.
        output: the detector's directory; also keeps the checkpoint that a stopped run
            resumes from, until the detector is whole.
        calibrate_on: clean images to calibrate on, never trained on; by default a tenth of
            ``inputs``. Near-duplicates of training images, such as other frames of a video,
            make the promise of a clean loss too optimistic.
        epochs: passes, each over 40,000 pairs of a clean and a manipulated view.
        seed: of all that is drawn at random, 0 or more.
        licence: of the training images; goes into the detector's card.
        quiet: show no progress.

    Returns:
        The detector's card, as in ``detector.json`` without the calibration scores.

    Raises:
        InputError: unreadable input, too few images, or a directory with something else.
    """
    output = Path(output)
    check_new(output)
    if epochs < 1 or seed < 0:
        raise InputError(f"expected epochs >= 1 and seed >= 0, got {epochs} and {seed}")
    # All are opened before the first is read, so that a mistake in the last is told at once.
    # Links are followed: the images are the user's own, and none of them is copied.
    calibration_sets = [
        open_source(location, option="--calibrate-on", follow_links=True)
        for location in calibrate_on
    ]
    sources = [open_source(location, follow_links=True) for location in inputs]
    _check_number(sources, LEAST_BESIDE if calibration_sets else LEAST_IMAGES)
    images = _read(sources, calibration_sets, seed, quiet)
    if (held_out := len(images.held_out.kept)) < MIN_HELD_OUT:
        raise InputError(
            f"{held_out:,} views of 32x32 px of {_named(sources)} are held out to measure on, "
            f"expected at least {MIN_HELD_OUT}: that takes {ENOUGH}; {_GIVE_MORE}"
        )
    _check_calibration(images.calibration)
    # A second to load, after all that can be refused without them.
    from detector.model import Detector
    from detector.training.calibrate import calibrate
    from detector.training.loop import TrainSettings
    from detector.training.loop import train as fit

    try:
        trained = fit(
            images.pool.kept,
            {"held out": images.held_out.kept},
            TrainSettings(epochs=epochs, seed=seed),
            checkpoint_dir=output / WORK,
            observer=follow("the detector", quiet=quiet),
        )
    except ValueError as error:  # a checkpoint of another run
        raise InputError(str(error)) from error
    detector = Detector.of(
        printable(output.resolve().name),
        trained,
        training_data=[TrainingSet(printable(str(location))) for location in inputs],
        licence=licence,
        pool_views=len(images.pool.kept),
    )
    groups = _calibration_groups(images.calibration)
    detector = calibrate(detector, groups)
    detector.save(output)
    shutil.rmtree(output / WORK)
    return load_card(output)[0]  # which knows the weights that it was stored with


@dataclass(frozen=True)
class _Images:
    """What is kept of the images that were read."""

    pool: Views  #: to train on
    held_out: Views  #: to measure on
    calibration: dict[str, Images]  #: that a detector judges, by the name of their set


def _read(
    inputs: Sequence[Source], calibrate_on: Sequence[Source], seed: int, quiet: bool
) -> _Images:
    pool, held_out = Views(MAX_POOL, seed), Views(MAX_HELD_OUT, seed)
    calibration: dict[str, Images] = {}

    def keep_to_calibrate(source: Source, image: DecodedImage) -> None:
        name = printable(Path(source.location).stem)
        images = calibration.setdefault(name, Images(MAX_CALIBRATION, seed))
        images.offer(image.pixels, image.header)

    def calibrates(sample_id: str) -> bool:
        return _bucket(sample_id) in CALIBRATION_BUCKETS and not calibrate_on

    rng = np.random.default_rng(seed)
    for source in inputs:
        for image in decoded_images(source, quiet=quiet):
            if calibrates(image.sample_id):
                keep_to_calibrate(source, image)
                continue
            for view in training_views(image.pixels, rng, VIEWS):
                (pool if _bucket(image.sample_id) else held_out).offer(view)
    for source in calibrate_on:
        for image in decoded_images(source, quiet=quiet):
            keep_to_calibrate(source, image)
    return _Images(pool, held_out, calibration)


def _bucket(sample_id: str) -> int:
    return zlib.crc32(sample_id.encode("utf-8", "surrogatepass")) % BUCKETS


def check_new(output: Path) -> None:
    """Refuse a directory that cannot become a detector's.

    Raises:
        InputError: it holds something else, or cannot be written to.
    """
    check_output(Store.at(output))
    if (output / CARD).exists():
        raise InputError(f"{output} holds a detector already; give another --output")
    if output.exists() and any(p.name != WORK for p in output.iterdir()):
        raise InputError(f"{output} is not empty; give an empty or new --output")


def printable(text: str) -> str:
    """A name that fits on a line of a detector's card."""
    kept = "".join(letter if letter.isprintable() else "?" for letter in text)
    return kept[:LONGEST_NAME] or "?"


def _calibration_groups(calibration: dict[str, Images]) -> dict[str, Iterator[Parts]]:
    """Calibration images as they came and as JPEG, encoded when their group's turn has come."""
    groups: dict[str, Iterator[Parts]] = {}
    for name, images in calibration.items():
        groups[f"{name} as given"] = (clean.parts for clean in images.kept)
        for quality in QUALITIES:
            as_jpeg = partial(Clean.as_jpeg, quality=quality)
            groups[f"{name} jpeg q{quality}"] = map(as_jpeg, images.kept)
    return groups


#: What to do with too few images.
_GIVE_MORE = (
    "give more clean images, or tune a bundled detector, for which a hundred are enough "
    "(freqsan tune)"
)


def _named(sources: Sequence[Source]) -> str:
    return ", ".join(source.location for source in sources)


def _check_number(sources: Sequence[Source], least: int) -> None:
    """Refuse at once what is too few by its number alone, where that is known.

    Raises:
        InputError: fewer than ``least`` images.
    """
    rows = [source.rows for source in sources if source.rows is not None]
    if len(rows) == len(sources) and sum(rows) < least:
        raise InputError(
            f"found {plural(sum(rows), 'image')} in {_named(sources)}, but training takes "
            f"{ENOUGH}; {_GIVE_MORE}"
        )


def _check_calibration(calibration: dict[str, Images]) -> None:
    """See before hours of training that there will be something to calibrate on."""
    kinds = Counter(
        (bisect_right(_LEAST_PARTS, len(clean.parts)), clean.parts.about.encoding)
        for images in calibration.values()
        for clean in images.kept
    )
    most = max(kinds.values(), default=0)
    if most < MIN_IMAGES:
        raise InputError(
            f"found {most} images of alike size and encoding to calibrate on, expected at least "
            f"{MIN_IMAGES}; give more with --calibrate-on"
        )


#: The least number of parts of each range of sizes.
_LEAST_PARTS = [low for low, _ in PART_RANGES]
