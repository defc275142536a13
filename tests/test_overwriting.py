"""What a run may remove of the run before it: its own files, whatever the state they are in."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from outputs import digests

from freqsan import ingest
from pipelines.jobs.demo import SAMPLE
from pipelines.runs import earlier, layout
from pipelines.runs.checksums import seal
from pipelines.runs.earlier import candidates
from pipelines.runs.store import Store
from sanitizer.errors import InputError

ROWS = 20


@pytest.fixture(scope="module")
def image_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("set") / "set.parquet"
    pq.write_table(pq.read_table(str(SAMPLE)).slice(0, ROWS), path, row_group_size=5)
    return path


@pytest.fixture(scope="module")
def finished(image_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("finished") / "out"
    ingest(image_set, output, shard_rows=5, quiet=True)
    return output


@pytest.fixture
def output(finished: Path, tmp_path: Path) -> Path:
    """A copy of a run of four shards."""
    return Path(shutil.copytree(finished, tmp_path / "out"))


def again(image_set: Path, output: Path, **settings: Any) -> None:
    """Replace it by a run of one shard."""
    ingest(image_set, output, quiet=True, **{"shard_rows": 1000, "overwrite": True} | settings)


ONE_SHARD = {"README.md", "manifest.json", "data", "data/train-00000-of-00001.parquet"}


def entries(output: Path) -> set[str]:
    return {path.relative_to(output).as_posix() for path in output.rglob("*")}


FOREIGN = (
    "data/thesis.txt",
    "data/mine.parquet",
    "data/deeper/train-00000-of-00004.parquet",
    "report/index.html",
    "report/notes.md",
    "proof/train/data/train-00000-of-00004.parquet",
    "notes.txt",
    ".part-of-my-thesis",
    "data/.hidden",
)


def test_what_the_manifest_does_not_name_stays_and_is_in_no_split(
    image_set: Path, output: Path, tmp_path: Path
) -> None:
    from datasets import load_dataset

    for name in FOREIGN:
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image_set, output / name)
    (output / "rejected").mkdir()
    again(image_set, output)
    folders = {p.as_posix() for name in FOREIGN for p in Path(name).parents} - {"."}
    assert entries(output) == ONE_SHARD | set(FOREIGN) | folders | {"rejected"}
    loaded = load_dataset(str(output), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": ROWS}


@pytest.mark.parametrize(
    "name",
    [
        "data/train-mine.parquet",
        "data/train-00007-of-00009.parquet",
        "scores/part-00000-of-00001.parquet",
    ],
)
def test_what_would_look_like_a_part_is_named_before_the_start(
    image_set: Path, output: Path, name: str
) -> None:
    (output / name).parent.mkdir(exist_ok=True)
    (output / name).touch()
    before = entries(output)
    with pytest.raises(InputError, match=rf"{name} is not of this run.* move that elsewhere"):
        again(image_set, output)
    assert entries(output) - before <= {layout.WORK, layout.LOCK}


def test_folders_that_are_empty_then_go(image_set: Path, output: Path, tmp_path: Path) -> None:
    from freqsan import features

    features(image_set, output, quiet=True, overwrite=True)
    assert {path.name for path in output.iterdir()} == {"features", "rejected", "manifest.json"}


@pytest.mark.parametrize(
    "text", ["", "\0" * 2000, "cut", "[1, 2]", "{}", '{"freqsan": 1, "job": [], "plan": 3}', "deep"]
)
@pytest.mark.parametrize("name", [layout.MANIFEST, layout.PLAN])
def test_what_cannot_be_read_is_said_in_one_line_and_replaced(
    image_set: Path, output: Path, name: str, text: str
) -> None:
    path = output / name
    path.parent.mkdir(exist_ok=True)
    if text == "cut":
        text = (output / layout.MANIFEST).read_text()[:300]
    path.write_text("[" * 100_000 if text == "deep" else text)
    (output / "data/mine.parquet").touch()
    with pytest.raises(
        InputError, match=rf"{name} cannot be read \(.+\); give --overwrite"
    ) as told:
        again(image_set, output, overwrite=False)
    assert "\n" not in str(told.value)
    again(image_set, output)
    assert entries(output) == ONE_SHARD | {"data/mine.parquet"}


def test_a_broken_manifest_of_somebody_else_is_not_taken_for_ours(
    image_set: Path, tmp_path: Path
) -> None:
    output = tmp_path / "app"
    (output / "data").mkdir(parents=True)
    (output / "manifest.json").write_text('{"name": "my web app"')
    (output / "data/train-00000-of-00001.parquet").write_text("years of work")
    before = digests(output)
    for overwrite in (False, True):
        with pytest.raises(InputError, match="holds no freqsan run"):
            again(image_set, output, overwrite=overwrite)
    assert digests(output) == before
    assert entries(output) == {"data", *before}
    (output / "manifest.json").rename(tmp_path / "aside")
    (output / "manifest.json").symlink_to(tmp_path / "aside")
    with pytest.raises(InputError, match="holds no freqsan run"):
        again(image_set, output)


@pytest.mark.parametrize("where", ["manifest", "plan"])
def test_names_that_lead_out_of_the_output_are_left_alone(
    image_set: Path, output: Path, tmp_path: Path, where: str
) -> None:
    (tmp_path / "precious.txt").write_text("years of work")
    (tmp_path / "empty").mkdir()
    (output / "notes.txt").write_text("mine")
    names = ["../precious.txt", str(tmp_path / "precious.txt"), "data/../../precious.txt"]
    names += ["notes.txt", "data/../notes.txt", "data/../../empty/x", "..", "", "\0"]
    manifest = json.loads((output / layout.MANIFEST).read_text())
    if where == "manifest":
        manifest["files"] |= {name: {"bytes": 0, "sha256": ""} for name in names}
        (output / layout.MANIFEST).write_text(json.dumps(seal(manifest)))
    else:
        (output / layout.WORK).mkdir()
        stored = {"plan": manifest["plan"], "replaces": names}
        (output / layout.PLAN).write_text(json.dumps(stored))
    again(image_set, output)
    assert (tmp_path / "precious.txt").read_text() == "years of work"
    assert (tmp_path / "empty").is_dir()
    assert entries(output) == ONE_SHARD | {"notes.txt"}


@pytest.mark.parametrize("folder", ["data", ".freqsan"])
def test_a_link_in_place_of_a_folder_is_not_followed(
    image_set: Path, output: Path, tmp_path: Path, folder: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "train-00000-of-00004.parquet").write_text("years of work")
    if (output / folder).exists():
        shutil.rmtree(output / folder)
    (output / folder).symlink_to(elsewhere)
    for overwrite in (False, True):
        with pytest.raises(InputError, match=rf"{folder} is a link"):
            again(image_set, output, overwrite=overwrite)
    assert os.listdir(elsewhere) == ["train-00000-of-00004.parquet"]  # noqa: PTH208


@pytest.mark.parametrize("removed", range(6))
def test_a_run_killed_while_it_replaces_another_is_taken_up(
    image_set: Path, output: Path, monkeypatch: pytest.MonkeyPatch, removed: int
) -> None:
    """The old run has six files; at each of them, and with a mere resume, a new run, the old."""
    (output / "data/mine.parquet").touch()
    real, calls = Store.remove, []

    def remove(store: Store, name: str) -> None:
        if len(calls) == removed:
            raise KeyboardInterrupt
        calls.append(name)
        real(store, name)

    assert len(candidates(Store.at(output))) == 6
    with monkeypatch.context() as patch:
        patch.setattr(earlier.Store, "remove", remove)
        with pytest.raises(KeyboardInterrupt):
            again(image_set, output)
    with pytest.raises(InputError, match="unfinished run that differs in"):
        ingest(image_set, output, shard_rows=5, quiet=True)
    halfway = output.with_name("halfway")
    shutil.copytree(output, halfway)
    again(image_set, output, overwrite=False)
    assert entries(output) == ONE_SHARD | {"data/mine.parquet"}
    again(image_set, halfway, shard_rows=10)
    assert {p.name for p in (halfway / "data").iterdir()} == {
        "mine.parquet",
        "train-00000-of-00002.parquet",
        "train-00001-of-00002.parquet",
    }


def test_another_run_is_noticed_before_its_files_are_looked_at(
    image_set: Path, output: Path
) -> None:
    (output / layout.WORK).mkdir()
    (output / layout.PLAN).write_text("{")
    before = entries(output) | {layout.LOCK}
    with FileLock(output / layout.LOCK):
        for overwrite in (False, True):
            with pytest.raises(InputError, match="another freqsan run is writing"):
                again(image_set, output, overwrite=overwrite)
    assert entries(output) == before


def test_an_unfinished_run_is_removed_by_its_number_of_shards(
    image_set: Path, output: Path
) -> None:
    manifest = json.loads((output / layout.MANIFEST).read_text())
    (output / layout.MANIFEST).unlink()
    (output / layout.WORK).mkdir()
    (output / layout.PLAN).write_text(json.dumps({"plan": manifest["plan"]}))
    (output / "data/train-00000-of-00009.parquet").touch()
    with pytest.raises(InputError, match=r"train-00000-of-00009\.parquet is not of this run"):
        again(image_set, output)
    (output / "data/train-00000-of-00009.parquet").unlink()
    again(image_set, output)
    assert entries(output) == ONE_SHARD


def test_what_a_proof_has_written_goes_with_it(
    image_set: Path, finished: Path, output: Path
) -> None:
    """Whole runs of its own, finished and not, and records beside them."""
    shutil.copytree(finished, output / "proof/train")
    shutil.copytree(finished, output / "proof/seed-0/poisoned")
    (output / "proof/seed-0/poisoned/manifest.json").unlink()
    for name in (
        *("proof.json", "proof.md", "proof.png", "proof/seed-0/before.json"),
        *("proof/seed-0/poisoned/.freqsan/plan.json", "proof/seed-0/poisoned/.freqsan/lock"),
        *("proof/seed-0/poisoned/.freqsan/copy/00001.json", "proof/seed-0/mine.json"),
    ):
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        (output / name).write_text("{}")
    manifest = json.loads((output / layout.MANIFEST).read_text())
    facts = {"bytes": 2, "sha256": "of no interest here"}
    manifest["files"] |= dict.fromkeys(("proof.json", "proof.md", "proof.png"), facts)
    (output / layout.MANIFEST).write_text(json.dumps(seal(manifest)))
    again(image_set, output)
    mine = {"proof", "proof/seed-0", "proof/seed-0/mine.json"}
    assert entries(output) == ONE_SHARD | mine


def test_a_link_in_place_of_the_folder_of_a_pass_is_refused(
    image_set: Path, output: Path, tmp_path: Path
) -> None:
    """Receipts and artefacts would be written to wherever it leads."""
    manifest = json.loads((output / layout.MANIFEST).read_text())
    (output / layout.MANIFEST).unlink()
    (output / layout.WORK).mkdir()
    (output / layout.PLAN).write_text(json.dumps({"plan": manifest["plan"]}))
    (tmp_path / "elsewhere").mkdir()
    (output / layout.WORK / "copy").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"\.freqsan/copy is a link"):
        again(image_set, output, overwrite=False)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_folder_in_the_way_of_a_receipt_is_no_obstacle(image_set: Path, output: Path) -> None:
    manifest = json.loads((output / layout.MANIFEST).read_text())
    (output / layout.MANIFEST).unlink()
    (output / layout.receipt("copy", 0)).mkdir(parents=True)
    (output / layout.PLAN).write_text(json.dumps({"plan": manifest["plan"]}))
    ingest(image_set, output, shard_rows=manifest["plan"]["shard_rows"], quiet=True)
    assert not (output / layout.WORK).exists()
