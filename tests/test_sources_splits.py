"""Splits that are named with the input: ``photos:train``."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import datasets
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import run
from reading import rows_of

from pipelines.judging.policies import open_trusted
from pipelines.proof.sets import Sets
from pipelines.runs.job import Settings
from pipelines.runs.store import Store
from pipelines.sources import open_source
from sanitizer.errors import InputError

#: Rows of each split.
SPLITS = {"test": 2, "train": 3}


def folder(root: Path, images: list[bytes]) -> str:
    for split, rows in SPLITS.items():
        (root / split / "cat").mkdir(parents=True)
        for i in range(rows):
            (root / split / "cat" / f"{i}.png").write_bytes(images[i])
    return str(root)


def parquet(root: Path, images: list[bytes]) -> str:
    root.mkdir()
    for split, rows in SPLITS.items():
        table = pa.table({"image": images[:rows], "label": ["cat", "dog", "cat"][:rows]})
        pq.write_table(table, root / f"{split}-00000-of-00001.parquet")
    return str(root)


def glob(root: Path, images: list[bytes]) -> str:
    return f"{parquet(root, images)}/*.parquet"


def tars(root: Path, images: list[bytes]) -> str:
    root.mkdir()
    for split, rows in SPLITS.items():
        with tarfile.open(root / f"{split}.tar", "w") as tar:
            for i in range(rows):
                info = tarfile.TarInfo(f"{i}.png")
                info.size = len(images[i])
                tar.addfile(info, io.BytesIO(images[i]))
    return str(root)


def saved(root: Path, images: list[bytes]) -> str:
    made = {
        split: datasets.Dataset.from_dict({"image": [{"bytes": data} for data in images[:rows]]})
        for split, rows in SPLITS.items()
    }
    datasets.DatasetDict(made).save_to_disk(root)
    return str(root)


def remote(root: Path, images: list[bytes]) -> str:
    fsspec.filesystem("memory").put(parquet(root, images), f"/{root.name}", recursive=True)
    return f"memory://{root.name}"


@pytest.mark.parametrize("kind", [folder, parquet, glob, tars, saved, remote])
def test_inputs_of_every_kind_can_name_their_split(
    kind: Callable[[Path, list[bytes]], str], tmp_path: Path, real_images: list[bytes]
) -> None:
    location = kind(tmp_path / f"{kind.__name__}-of-two", real_images)
    with pytest.raises(InputError) as caught:
        open_source(location)
    found = f"{location}: found the splits test, train; choose one, as in {location}:train"
    assert str(caught.value) == found
    for split, rows in SPLITS.items():
        source = open_source(f"{location}:{split}")
        assert len(rows_of(source)) == rows
        assert source.digest() == open_source(location, split=split).digest()
    with pytest.raises(InputError, match="there is no split 'dev'; the splits are: test, train"):
        open_source(f"{location}:dev")
    with pytest.raises(InputError, match="names the split 'train', and --split 'test'; name one"):
        open_source(f"{location}:train", split="test")


def test_what_exists_under_the_whole_name_wins(tmp_path: Path, real_images: list[bytes]) -> None:
    other = folder(tmp_path / "photos:train", real_images)
    (Path(other) / "1:2.png").write_bytes(real_images[0])
    folder(tmp_path / "photos", real_images)
    with pytest.raises(InputError, match="photos:train: found the splits test, train, and files"):
        open_source(tmp_path / "photos:train")
    assert open_source(f"{other}:train").rows == SPLITS["train"]
    assert open_source(f"{other}/1:2.png").rows == 1
    assert open_source(f"{other}/*:2.png").rows == 1
    fsspec.filesystem("memory").pipe("/with:colon/1.png", real_images[0])
    assert open_source("memory://with:colon").rows == 1


@pytest.mark.parametrize("location", ["nowhere", "C:\\photos", "C:/photos", ":train", "photos:"])
def test_other_colons_name_no_split(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError) as caught:
        open_source(location)
    assert str(caught.value) == f"{location}: no such file or folder"


def test_trusted_and_test_sets_can_name_their_split(
    tmp_path: Path, real_images: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    location = parquet(tmp_path / "photos", real_images)
    store, settings = Store.at(tmp_path / "out"), Settings(split="test")
    trusted = open_trusted(f"{location}:train", store, settings)
    assert trusted is not None
    assert trusted.rows == SPLITS["train"]
    monkeypatch.setattr("pipelines.proof.sets.MIN_IMAGES", 1)
    sets = Sets.open(f"{location}:train", f"{location}:test", store, Settings())
    assert sets.test is not None
    assert (sets.rows, sets.test.rows) == (SPLITS["train"], SPLITS["test"])


@pytest.mark.parametrize(
    ("option", "command"),
    [
        ("--trusted", "clean photos/train-00000-of-00001.parquet out"),
        ("--trusted", "score photos:train out"),
        ("--test", "prove photos:train --attack badnets --output out"),
        ("--calibrate-on", "train photos:train --output out"),
    ],
)
def test_the_error_says_how_to_name_a_split(
    option: str,
    command: str,
    tmp_path: Path,
    real_images: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parquet(tmp_path / "photos", real_images)
    monkeypatch.chdir(tmp_path)
    done = run(*command.split(), option, "photos")
    assert done.exit_code == 2
    assert done.output == (
        f"freqsan: {option} photos: found the splits test, train; choose one, as in photos:train\n"
    )


@pytest.mark.parametrize("location", [None, 5, ["a"]])
def test_what_is_no_location_is_refused(location: object) -> None:
    with pytest.raises(InputError, match="--trusted: expected a path or an address, got"):
        open_source(location, option="--trusted")  # type: ignore[arg-type]
