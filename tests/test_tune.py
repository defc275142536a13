"""``tune``: a detector for one source of images, from a hundred clean ones."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from commands import run
from schemas import check_printed

from detector import bundled
from detector.card import TrainingSet
from detector.kinds import ANY_PARTS
from detector.model import Detector
from detector.storage import load_card
from detector.training import tune as tuning
from detector.training.histories import jpeg
from freqsan import InputError, clean, tune
from pipelines.jobs.demo import SAMPLE
from sanitizer.images import Header, decode

SOURCE = TrainingSet("source", "tuned on")


@pytest.fixture(autouse=True)
def few_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """500 pairs instead of 4,000."""
    monkeypatch.setattr(tuning, "PAIRS", 500)


@pytest.fixture(name="detector", scope="module")
def _detector() -> Detector:
    return Detector.load(bundled.DEFAULT_DETECTOR, "cpu")


def innocent(count: int) -> list[bytes]:
    table = pq.read_table(str(SAMPLE))
    rows = np.flatnonzero(~table["is_poisoned"].to_numpy())[:count]
    cells = table["image"].take(rows).to_pylist()
    return [cell["bytes"] for cell in cells]


def trusted(detector: Detector, count: int, quality: int | None = None):
    images = []
    for pixels in map(decode, innocent(count)):
        if quality is None:
            images.append(tuning.TrustedImage(detector.inputs.cut(pixels), None))
        else:
            header = Header(32, 32, "JPEG", quality)
            parts = detector.inputs.cut(jpeg(pixels, quality), header)
            images.append(tuning.TrustedImage(parts, quality))
    return images


@pytest.mark.parametrize("quality", [None, 75])
def test_only_the_judge_learns_and_unseen_images_calibrate(
    detector: Detector, quality: int | None
) -> None:
    images = trusted(detector, 120, quality)
    tuned, result = tuning.tune(detector, images, name="mine", training_data=SOURCE)
    again, _ = tuning.tune(detector, images, name="mine", training_data=SOURCE)
    assert tuned.identity == again.identity
    check_printed("tune", json.dumps(result.to_json()))
    assert result.images == 120
    assert 0 <= result.before <= 1
    (group,) = tuned.calibration.groups
    assert (group.parts, group.encoding, len(group.scores)) == (ANY_PARTS, None, 120)
    before, after = (one.network().state_dict() for one in (detector, tuned))
    changed = {name.split(".")[0] for name in before if (before[name] != after[name]).any()}
    assert changed == ({"judge"} if result.judge_tuned else set())


def test_a_judge_that_finds_no_more_is_left_as_it_was(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning._Views, "found", staticmethod(lambda logits: 0.5))
    images = trusted(detector, 100)
    tuned, result = tuning.tune(detector, images, name="mine", training_data=SOURCE)
    assert not result.judge_tuned
    own = detector.score([image.parts for image in images])
    assert tuned.calibration.groups[0].scores.tolist() == sorted(own.values.tolist())


def test_images_that_are_not_clean_show(detector: Detector) -> None:
    stamped = []
    for number, image in enumerate(trusted(detector, 100)):
        if number % 2:
            image.parts.tiles[:, 2:8, 2:8] = (255, 0, 255)
        stamped.append(image)
    _, result = tuning.tune(detector, stamped, name="mine", training_data=SOURCE)
    assert result.suspicious >= 40
    _, result = tuning.tune(detector, trusted(detector, 100), name="mine", training_data=SOURCE)
    assert result.suspicious <= 5


def test_what_is_laid_over_an_image_has_not_been_tuned_on(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a judge would know the held-out images from the pairs of others."""
    seen = []

    def pair(own, other, rng):
        seen.append((id(own), id(other)))
        tile = own.parts.tiles[0]
        return np.stack([tile, 255 - tile])

    monkeypatch.setattr(tuning, "_pair", pair)
    images = trusted(detector, 100)
    places = {id(image): place for place, image in enumerate(images)}
    tuning.tune(detector, images, name="mine", training_data=SOURCE, seed=4)
    rng = np.random.default_rng([4, 1 << 34])
    fold = rng.permutation(np.arange(100) % tuning.FOLDS)
    assert {places[own] for own, _ in seen} == set(range(100))
    assert all(fold[places[own]] == fold[places[other]] for own, other in seen)


def test_a_tuned_detector_is_one_that_clean_takes(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, data in enumerate(innocent(120)):
        (photos / f"{number}.png").write_bytes(data)
    output = tmp_path / "mine"
    done = run("tune", "freqsan-small", photos, "--output", output, "--quiet")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("120 images; of manipulated ones ")
    card, calibration = load_card(output)
    assert card.name == "mine"
    assert card.training_data[-1] == TrainingSet(str(photos), "tuned on")
    assert card.measured.rows == ()
    manifest = clean(str(SAMPLE), tmp_path / "out", detector=output, scan=False, quiet=True)
    assert manifest.calibration.words.startswith("Calibrated on the 120 scores of clean images")
    assert list(manifest.calibration.thresholds) in ([], ["any parts"])
    assert calibration.groups[0].name == "trusted"


def test_too_few_images_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, data in enumerate(innocent(98)):
        (photos / f"{number}.png").write_bytes(data)
    (photos / "broken.png").write_bytes(b"x")
    with pytest.raises(InputError, match=r"found 98 usable images .* expected at least 99"):
        tune(photos, tmp_path / "mine", quiet=True)
    assert not (tmp_path / "mine").exists()
    few = tmp_path / "few"
    few.mkdir()
    (few / "one.png").write_bytes(innocent(1)[0])
    for what in ("decoded_images", "load_detector"):  # a number alone is told at once
        monkeypatch.setattr(f"pipelines.jobs.tune.{what}", lambda *_, **__: pytest.fail("it reads"))
    with pytest.raises(InputError, match=r"found 1 image in .* expected at least 99"):
        tune(few, tmp_path / "mine", quiet=True)
    monkeypatch.undo()
    with pytest.raises(InputError, match="no detector 'nosuch'"):
        tune(photos, tmp_path / "mine", detector="nosuch", quiet=True)
    with pytest.raises(InputError, match="expected seed >= 0"):
        tune(photos, tmp_path / "mine", seed=-1, quiet=True)
