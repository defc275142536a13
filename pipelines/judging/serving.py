"""Ask before a model answers: does this image carry a trigger?

A plain call for a server, without Beam. It scores as ``clean`` does, by the same code.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from io import IOBase
from mmap import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL.Image import Image

from detector.bundled import DEFAULT_DETECTOR
from detector.calibration import Calibration
from pipelines.judging.calibration import calibrate, load_detector
from pipelines.judging.policies import choose_policy
from pipelines.judging.score import assess, look_at
from pipelines.judging.signatures import KnownTrigger
from pipelines.judging.split import reason, shares, strongest
from pipelines.runs.guest import imports_are_safe
from pipelines.runs.public import checked
from pipelines.sources import open_source
from sanitizer.errors import InputError
from sanitizer.policy import Budget, Policy
from sanitizer.scan.canonical import Compact

if TYPE_CHECKING:
    from detector.model import Detector

#: What can be iterated over, and yet is no row of images: it is one image, or has no order.
_NO_ROW = (str, bytes, bytearray, memoryview, mmap, IOBase, Set)

#: Pixels, or what holds pixels and encoded images; :func:`reject` says what is taken.
Images = np.ndarray | Iterable[Any]


@dataclass(frozen=True)
class Judged:
    """What is known of n images."""

    rejected: np.ndarray  #: (n,) bool, True: do not classify
    p_values: np.ndarray  #: (n,) float64, above 0, at most 1; NaN where it could not be judged
    scores: np.ndarray  #: (n,) float32, 0 to 1, higher is more suspicious; NaN likewise
    reasons: list[str]  #: in words, what decided


@checked
def reject(
    images: Images,
    detector: str | Path = DEFAULT_DETECTOR,
    max_clean_loss: float = 0.01,
    trusted: str | Path | None = None,
    signature: Sequence[str | Path] = (),
) -> np.ndarray:
    """Which images a model should not classify.

    An image that cannot be judged is rejected: one that does not decode, or that no calibration
    speaks for. Those of a call are not judged by each other, as those of a set are.

    Args:
        images: (n, h, w, 3) uint8, or anything that yields (h, w, 3) uint8 pixels (arrays,
            tensors on the CPU, RGB images of Pillow), encoded images (bytes, bytearray,
            memoryview), or None where there is none; as they came, before any resizing.
        detector: name of a bundled detector, or directory of one. It is loaded once in a
            process, at the first call.
        max_clean_loss: the share of clean images that may be rejected, above 0, at most 0.5.
        trusted: clean images to calibrate on, any kind of input; None: the detector's own.
        signature: ``findings/NAME.safetensors`` of a run of ``clean`` or ``scan``, or several:
            images that carry such a trigger are rejected too.

    Returns:
        (n,) bool, True for those to reject.

    Raises:
        InputError: whatever cannot be taken: pixels of another shape or dtype, no such
            detector or signature, a clean loss out of range, trusted images that cannot be used.
            An error of the caller's own iterator goes through.
    """
    return judge(images, detector, max_clean_loss, trusted, signature).rejected


@checked
def judge(
    images: Images,
    detector: str | Path = DEFAULT_DETECTOR,
    max_clean_loss: float = 0.01,
    trusted: str | Path | None = None,
    signature: Sequence[str | Path] = (),
) -> Judged:
    """As :func:`reject`, with p-values, scores and reasons.

    Args:
        images, detector, max_clean_loss, trusted, signature: as for :func:`reject`.

    Returns:
        What is known of each image, in the order of ``images``.

    Raises:
        InputError: as :func:`reject`.
    """
    loaded, calibration, policy = _judge(str(detector), max_clean_loss, trusted and str(trusted))
    known = [_known(str(path), _written(path)) for path in signature]
    looked = look_at(_checked(images), loaded, scans=bool(known))
    assessed = assess(looked.prepared, loaded, calibration)
    of_judged, judged = assessed.p_values, assessed.judged
    decided = policy.fit(of_judged.values).poisoned(of_judged.values)
    rejected, p_values = ~judged, np.full(len(judged), np.nan)
    scores = p_values.astype(np.float32)
    rejected[judged], p_values[judged] = decided, of_judged.values
    scores[judged] = assessed.scores.values
    counted = zip(
        *(of.tolist() for of in (decided, of_judged.as_high, of_judged.compared)), strict=True
    )
    reasons = [reason(*next(counted)) if error is None else str(error) for error in assessed.errors]
    for place, words in _carriers(looked.compact, known):
        rejected[place], reasons[place] = True, words
    return Judged(rejected, p_values, scores, reasons)


def _carriers(
    compact: Sequence[Compact | None], known: Sequence[KnownTrigger]
) -> Iterator[tuple[int, str]]:
    """The places of the images that carry a known trigger, and which one, in words."""
    seen = {place: one for place, one in enumerate(compact) if one is not None}
    if not seen or not known:
        return
    places, images = list(seen), Compact.joined(list(seen.values()))
    found = [(trigger.named, trigger.log_odds(images)) for trigger in known]
    strengths = strongest(len(places), found, searched=False)
    for place, carried in zip(places, strengths, strict=True):
        if carried.finding is not None:
            yield place, shares(carried.finding, carried.log_odds)


def _written(path: str | Path) -> int:
    """When a file was written; 0 where there is none."""
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0


@functools.lru_cache(maxsize=8)
def _known(path: str, written: int) -> KnownTrigger:
    """A trigger by its file; ``written`` says when, so that a new one is read anew."""
    return KnownTrigger.open(path)


@functools.lru_cache(maxsize=8)
@imports_are_safe
def _judge(
    detector: str, max_clean_loss: float, trusted: str | None
) -> tuple["Detector", Calibration, Policy]:
    policy = choose_policy(Budget.name, max_clean_loss)
    loaded = load_detector(detector)
    images = None if trusted is None else open_source(trusted, option="trusted", follow_links=True)
    return loaded, calibrate(loaded, policy, images, quiet=True).calibration, policy


def _checked(images: Images) -> Iterator[np.ndarray | bytes | None]:
    """Pixels of another form are a mistake in the caller's program, not a suspicious image.

    Raises:
        InputError: neither pixels nor encoded images.
    """
    several = None
    if not isinstance(images, _NO_ROW):
        with suppress(TypeError):  # such as a tensor without dimensions
            several = iter(images)
    if several is None:
        raise InputError(
            f"images: expected several in a row, got {_described(images)}; give a single one as "
            "[image]"
        )
    for index, image in enumerate(several):
        yield _element(index, image)


def _element(index: int, image: Any) -> np.ndarray | bytes | None:
    """Pixels as an array and encoded images as bytes, in whatever else they were kept.

    Raises:
        InputError: it is neither.
    """
    if image is None:
        return None
    if isinstance(image, bytes | bytearray | memoryview):
        try:
            return bytes(image)
        except ValueError as error:
            raise InputError(f"images[{index}]: cannot be read ({error})") from error
    pixels = _pixels(image)
    if pixels is None or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        given = _described(pixels if pixels is not None and pixels.ndim else image)
        raise InputError(
            f"images[{index}]: expected (h, w, 3) uint8 pixels or encoded bytes, got {given}; "
            "give a single image as [image]"
        )
    return pixels


def _pixels(image: Any) -> np.ndarray | None:
    """The array that something is, or None; of pictures only RGB, as others look like it."""
    if isinstance(image, Image) and image.mode != "RGB":
        return None
    try:
        return np.asarray(image)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 (ragged, on another device; the caller's own classes)
        return None


def _described(image: Any) -> str:
    """What something is, for people."""
    name = type(image).__name__
    if isinstance(image, np.ndarray):
        return f"{name} of {image.shape} {image.dtype}"
    return f"{name} of mode {image.mode}" if isinstance(image, Image) else name
