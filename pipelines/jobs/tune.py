"""``tune``: a detector for one source of images, from a hundred clean ones."""

from pathlib import Path

from detector.bundled import DEFAULT_DETECTOR
from detector.calibration import MIN_IMAGES
from detector.card import TrainingSet
from detector.training.tuning import Tuning
from pipelines.jobs.train import check_new, printable
from pipelines.judging.calibration import load_detector
from pipelines.runs.following import follow
from pipelines.runs.public import public
from pipelines.runs.reading import Reservoir, decoded_images
from pipelines.sources import open_source
from pipelines.sources.files import plural
from sanitizer.errors import InputError

#: Trusted images that are looked at, at most; of more, a random choice.
MOST = 2_000


@public
def tune(
    trusted: str | Path,
    output: str | Path,
    *,
    detector: str | Path = DEFAULT_DETECTOR,
    seed: int = 0,
    quiet: bool = False,
) -> Tuning:
    """Tune a detector to the source of some clean images, and calibrate it on them.

    Args:
        trusted: clean images from the source, 99 at least; any kind of input.
        output: the new detector's directory.
        detector: name of a bundled detector, or directory of one, to begin with.
        seed: of all that is drawn at random, 0 or more.
        quiet: show no progress.

    Returns:
        What tuning came to, measured on images that were not tuned on.

    Raises:
        InputError: unreadable or too few images, no such detector, or a directory with something
            else.
    """
    output = Path(output)
    check_new(output)
    if seed < 0:
        raise InputError(f"expected seed >= 0, got {seed}")
    source = open_source(trusted, option="TRUSTED", follow_links=True)
    if source.rows is not None and source.rows < MIN_IMAGES:
        raise _too_few(plural(source.rows, "image"), trusted)
    base = load_detector(detector)
    # A second to load, after all that can be refused without it.
    from detector.training.tune import TrustedImage
    from detector.training.tune import tune as fit

    kept: dict[int, TrustedImage] = {}
    reservoir = Reservoir(MOST, seed)
    for image in decoded_images(source, quiet=quiet):
        place = reservoir.place()
        if place is not None:
            parts = base.inputs.cut(image.pixels, image.header)
            kept[place] = TrustedImage(parts, image.header.quality)
    if len(kept) < MIN_IMAGES:
        raise _too_few(plural(len(kept), "usable image"), trusted)
    tuned, tuning = fit(
        base,
        [kept[place] for place in sorted(kept)],
        name=printable(output.resolve().name),
        training_data=TrainingSet(printable(str(trusted)), "tuned on"),
        seed=seed,
        observer=follow("the judge", unit="judges", quiet=quiet),
    )
    tuned.save(output)
    return tuning


def _too_few(found: str, trusted: str | Path) -> InputError:
    return InputError(
        f"found {found} in {trusted}, expected at least {MIN_IMAGES}: of fewer no clean loss of "
        "1 % can be promised; give more clean images"
    )
