"""``train`` as a user sees it: from clean images to a detector that ``clean`` takes."""

import errno
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from commands import run

from detector.storage import load_card
from detector.training import loop
from detector.training.loop import TrainSettings
from freqsan import clean, train
from pipelines.jobs import train as job
from pipelines.jobs.demo import SAMPLE
from sanitizer.errors import InputError


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
    assert card.licence == "CC BY"
    assert [data.name for data in card.training_data] == [images]
    assert card == load_card(tmp_path / "mine")[0]
    assert {p.name for p in (tmp_path / "mine").iterdir()} == {
        "detector.json",
        "weights.safetensors",
    }
    manifest = clean(str(SAMPLE), tmp_path / "out", detector=str(tmp_path / "mine"), quiet=True)
    assert manifest.detector.startswith("mine@")
    assert "photos" in manifest.calibration.words
    with pytest.raises(InputError, match="holds a detector already"):
        train([images], tmp_path / "mine", calibrate_on=[trusted], epochs=1, quiet=True)


def test_too_few_images_are_told_before_training(tmp_path: Path) -> None:
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
