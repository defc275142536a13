"""``train`` as a user sees it: from clean images to a detector that ``clean`` takes."""

import errno
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from commands import run
from pictures import noise
from schemas import check_printed

from detector.storage import load_card
from detector.training import loop
from detector.training.histories import jpeg
from detector.training.loop import TrainSettings
from freqsan import clean, train
from pipelines.jobs import train as job
from pipelines.jobs.demo import SAMPLE
from sanitizer.errors import InputError
from sanitizer.images import Header


@pytest.fixture(autouse=True)
def small_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Epochs of 128 pairs instead of 40,000, and a few held-out views are enough."""
    monkeypatch.setattr(job, "MIN_HELD_OUT", 10)
    monkeypatch.setattr(
        loop, "TrainSettings", lambda epochs, seed: TrainSettings(epochs, pairs=128, seed=seed)
    )


def innocent(path: Path, start: int, stop: int) -> str:
    table = pq.read_table(str(SAMPLE))
    keep = [i for i, poisoned in enumerate(table["is_poisoned"].to_pylist()) if not poisoned]
    pq.write_table(table.take(keep[start:stop]), path)
    return str(path)


def test_a_trained_detector_is_one_that_clean_takes(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    innocent(photos / "train.parquet", 0, 400)
    innocent(photos / "test.parquet", 400, 600)
    images, trusted = f"{photos}:train", f"{photos}:test"
    card = train(
        [images], tmp_path / "mine", calibrate_on=[trusted], epochs=1, licence="CC BY", quiet=True
    )
    assert card.name == "mine"
    check_printed("train", json.dumps(card.to_json()))
    assert card.licence == "CC BY"
    assert [data.name for data in card.training_data] == [images]
    stored, calibration = load_card(tmp_path / "mine")
    assert card == stored
    assert card.combinations == ()  # of larger images nothing is known
    assert [(g.name, g.kind, len(g.scores)) for g in calibration.groups] == [
        ("photos as given", "1 part, lossless", 200),
        ("photos jpeg q50", "1 part, JPEG to quality 60", 200),
        ("photos jpeg q75", "1 part, JPEG of quality 61-84", 200),
        ("photos jpeg q90", "1 part, JPEG of quality 85-94", 200),
        ("photos jpeg q97", "1 part, JPEG from quality 95", 200),
    ]
    assert {p.name for p in (tmp_path / "mine").iterdir()} == {
        "detector.json",
        "weights.safetensors",
    }
    manifest = clean(str(SAMPLE), tmp_path / "out", detector=str(tmp_path / "mine"), quiet=True)
    assert manifest.detector.startswith("mine@")
    assert {g.name.split()[0] for g in manifest.calibration.groups} == {"photos"}
    assert manifest.counts.rejected == 0
    with pytest.raises(InputError, match="holds a detector already"):
        train([images], tmp_path / "mine", calibrate_on=[trusted], epochs=1, quiet=True)


def test_a_large_image_is_calibrated_on_as_it_is_and_its_middle_as_jpeg() -> None:
    pixels, header = noise(600, 300, 3), Header(300, 600, "PNG")
    kept = job.Clean.of(pixels, header)
    whole = job.INPUTS.cut(pixels, header)
    assert (kept.parts.tiles == whole.tiles).all()
    assert kept.parts.about == whole.about
    assert (kept.middle == pixels[172:428, 22:278]).all()
    assert kept.middle.base is None  # the rest of the image is not kept
    encoded = job.INPUTS.cut(jpeg(kept.middle, 75), Header(256, 256, "JPEG", 75))
    assert (kept.as_jpeg(75).tiles == encoded.tiles).all()
    assert kept.as_jpeg(75).about == encoded.about
    small = job.Clean.of(pixels[:20, :30], None)
    assert small.middle.shape == (20, 30, 3)


@pytest.mark.parametrize(
    ("images", "beside"), [(20, False), (50, False), (850, False), (200, True)]
)
def test_too_few_images_are_refused_before_one_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: int, beside: bool
) -> None:
    monkeypatch.setattr(job, "decoded_images", lambda *_, **__: pytest.fail("it reads"))
    few = innocent(tmp_path / "few.parquet", 0, images)
    more = ["--calibrate-on", innocent(tmp_path / "more.parquet", 0, 850)] if beside else []
    done = run("train", few, *more, "--output", tmp_path / "mine")
    assert done.exit_code == 2
    assert done.output == (
        f"freqsan: found {images} images in {few}, but training takes 2,500 clean images, or "
        "1,200 of more than 32 px; give more clean images, or tune a bundled detector, for which "
        "a hundred are enough (freqsan tune)\n"
    )
    assert not (tmp_path / "mine").exists()


def test_too_few_images_are_told_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "LEAST_IMAGES", 10)  # else they would be refused unread
    images = innocent(tmp_path / "images.parquet", 0, 400)
    with pytest.raises(InputError, match=r"found \d+ images of alike size .* at least 99"):
        train([images], tmp_path / "mine", epochs=1, quiet=True)
    few = innocent(tmp_path / "few.parquet", 0, 30)
    with pytest.raises(InputError, match="give more clean images"):
        train([few], tmp_path / "mine", epochs=1, quiet=True)
    assert not (tmp_path / "mine").exists()


def test_a_full_disk_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(temporary: Path, path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")  # as a write says it, without a name

    images = innocent(tmp_path / "images.parquet", 0, 400)
    others = innocent(tmp_path / "others.parquet", 400, 600)
    monkeypatch.setattr("sanitizer.files.publish", full)
    output = tmp_path / "mine"
    done = run(
        *("train", images, "--calibrate-on", others, "--output", output, "--epochs", 1, "--quiet")
    )
    assert done.exit_code == 1
    file = output / ".training" / "checkpoint.safetensors"
    assert done.output == (
        f"freqsan: no space left on the disk ({file}); free some and run the same command again\n"
    )
