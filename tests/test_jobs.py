"""The jobs beside ``clean``: score, ingest, features, spectrum, report."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from commands import run
from outputs import table_of
from PIL import Image

from detector.inputs import Tiles
from freqsan import clean, features, ingest, poison, report, score, spectrum
from pipelines.jobs.demo import SAMPLE
from pipelines.jobs.features import FeatureCounts
from sanitizer.dct import dct2
from sanitizer.errors import InputError, RunError
from sanitizer.images import decode

ROWS = 50


@pytest.fixture(scope="module")
def image_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("set") / "set.parquet"
    pq.write_table(pq.read_table(str(SAMPLE)).slice(0, ROWS), path)
    return path


def test_score_agrees_with_clean_and_splits_nothing(image_set: Path, tmp_path: Path) -> None:
    manifest = score(str(image_set), tmp_path / "scored", quiet=True)
    clean(str(image_set), tmp_path / "cleaned", quiet=True)
    assert not (tmp_path / "scored" / "data").exists()
    assert table_of(tmp_path / "scored", "scores/part") == table_of(
        tmp_path / "cleaned", "scores/part"
    )
    assert manifest.counts.read == ROWS


def test_ingest_keeps_every_byte_and_gives_the_ids_that_clean_gives(
    image_set: Path, tmp_path: Path
) -> None:
    from datasets import load_dataset

    ingest(str(image_set), tmp_path / "ingested", quiet=True, shard_rows=20)
    rows = table_of(tmp_path / "ingested", "data/train")
    assert rows.drop_columns("sample_id").to_pylist() == pq.read_table(image_set).to_pylist()
    assert rows["sample_id"].to_pylist() == [f"set.parquet#{i}" for i in range(ROWS)]
    loaded = load_dataset(str(tmp_path / "ingested"), cache_dir=str(tmp_path / "cache"))
    assert set(loaded) == {"train"}
    clean(str(tmp_path / "ingested"), tmp_path / "cleaned", quiet=True)
    ids = table_of(tmp_path / "cleaned", "scores/part")["sample_id"].to_pylist()
    assert ids == rows["sample_id"].to_pylist()


def test_names_that_are_not_utf8_are_read_back_by_datasets(image_set: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    data = pq.read_table(image_set)["image"][0].as_py()["bytes"]
    for name in (b"\xff/1.png", b"\xff/\xfe.png", b"dog/2.png"):
        file = tmp_path / "in" / os.fsdecode(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    ingest(tmp_path / "in", tmp_path / "out", quiet=True)
    cache = str(tmp_path / "cache")
    loaded = load_dataset(str(tmp_path / "out"), split="train", cache_dir=cache)
    assert loaded.features["label"].names == ["./\\udcff", "dog"]
    assert sorted(loaded["sample_id"]) == [
        "./\\udcff/1.png",
        "./\\udcff/\\udcfe.png",
        "dog/2.png",
    ]
    assert loaded[0]["image"].size == (32, 32)


@pytest.mark.parametrize("job", [clean, score, ingest, features])
def test_an_output_whose_name_is_not_utf8_is_refused(
    image_set: Path, tmp_path: Path, job: Callable[..., object]
) -> None:
    output = tmp_path / os.fsdecode(b"out\xff")
    with pytest.raises(InputError, match="the name is not UTF-8, and Arrow writes no such file"):
        job(image_set, output, quiet=True)
    assert not output.exists()


def test_folders_of_one_name_are_not_taken_for_each_other(image_set: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    cache = str(tmp_path / "cache")
    fewer = tmp_path / "fewer.parquet"
    pq.write_table(pq.read_table(image_set).slice(0, 20), fewer)
    for folder, given in (("a", image_set), ("b", fewer)):
        ingest(str(given), tmp_path / folder / "out", quiet=True)
    counts = [
        len(load_dataset(str(tmp_path / folder / "out"), split="train", cache_dir=cache))
        for folder in ("a", "b")
    ]
    assert counts == [ROWS, 20]
    ingest(str(fewer), tmp_path / "a" / "out", quiet=True, overwrite=True)
    assert len(load_dataset(str(tmp_path / "a/out"), split="train", cache_dir=cache)) == 20


@pytest.mark.parametrize("place", ["set", "out/data"])
def test_no_picture_is_written_among_the_images(
    image_set: Path, tmp_path: Path, place: str
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for i, row in enumerate(pq.read_table(image_set).slice(0, 3).to_pylist()):
        (folder / f"{i}.png").write_bytes(row["image"]["bytes"])
    (tmp_path / "out" / "data").mkdir(parents=True)
    before = sorted(f.read_bytes() for f in folder.iterdir())
    picture = tmp_path / place / "0.png"
    if place == "set":
        with pytest.raises(InputError, match="among the images"):
            spectrum(str(folder), picture, quiet=True)
    with pytest.raises(InputError, match="among the images"):
        poison(str(folder), tmp_path / "out", attack="badnets", preview=picture, quiet=True)
    assert sorted(f.read_bytes() for f in folder.iterdir()) == before


def test_features_are_the_dct_of_the_tiles(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    (folder / "b.png").write_bytes(b"broken")
    manifest = features(str(folder), tmp_path / "out", quiet=True)
    assert manifest.counts == FeatureCounts(read=2, tiles=3, rejected=1)
    rows = table_of(tmp_path / "out", "features/part")
    assert rows["sample_id"].to_pylist() == ["a.png"] * 3
    assert rows["tile"].to_pylist() == [0, 1, 2]
    expected = dct2(Tiles().cut(decode((folder / "a.png").read_bytes())).tiles)
    coefficients = np.array(rows["dct"].to_pylist(), np.float32).reshape(expected.shape)
    np.testing.assert_allclose(coefficients, expected)
    assert table_of(tmp_path / "out", "rejected/part")["sample_id"].to_pylist() == ["b.png"]


def test_all_jobs_tell_the_same_reason_for_what_they_could_not_read(
    image_set: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"the bytes of a private file")
    folder = tmp_path / "photos"
    for i, row in enumerate(pq.read_table(image_set).slice(0, 4).to_pylist()):
        (folder / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        (folder / "ab"[i % 2] / f"{i}.png").write_bytes(row["image"]["bytes"])
    (folder / "b" / "link.png").symlink_to(secret)
    (folder / "b" / "dead.png").symlink_to("nothing")
    told = {"broken link": 1, "link out of INPUT": 1}
    trigger = {"attack": "badnets", "rate": 1.0, "target_label": "a"}
    outputs = {name: tmp_path / name for name in ("c", "s", "f", "i", "p")}

    assert clean(folder, outputs["c"], quiet=True).rejected_by_reason == told
    assert score(folder, outputs["s"], quiet=True).rejected_by_reason == told
    assert features(folder, outputs["f"], quiet=True).rejected_by_reason == told
    assert ingest(folder, outputs["i"], quiet=True).unread_by_reason == told
    assert poison(folder, outputs["p"], quiet=True, **trigger).undecodable_by_reason == told

    for name in ("c", "f"):
        rejects = table_of(outputs[name], "rejected/part").to_pylist()
        dead, link = rejects
        assert (dead["bytes"], link["bytes"]) == (None, None)
        assert dead["reason"] == f"broken link: leads to {folder}/b/nothing, which does not exist"
        assert link["reason"].startswith(f"link out of INPUT: leads to {secret} and was not foll")
    for output in outputs.values():
        for file in output.rglob("*.*"):
            assert file.is_dir() or secret.read_bytes() not in file.read_bytes()
    for name in ("i", "p"):
        rows = table_of(outputs[name], "data/train").to_pylist()
        assert [row["image"]["bytes"] for row in rows][-2:] == [None, None]
    with pytest.raises(InputError, match="differs in the input's files; give --overwrite"):
        clean(folder, outputs["c"], follow_links=True, quiet=True)
    run("score", str(folder), str(outputs["s"]), "--follow-links", "--overwrite", "--quiet")
    reasons = json.loads((outputs["s"] / "manifest.json").read_text())["rejected_by_reason"]
    assert reasons == {"broken link": 1, "unsupported format": 1}


def test_spectrum_draws_a_picture(image_set: Path, tmp_path: Path) -> None:
    counts = spectrum(str(image_set), tmp_path / "spectrum.png", quiet=True)
    assert (counts.images, counts.left_out) == (ROWS, 0)
    with Image.open(tmp_path / "spectrum.png") as picture:
        assert picture.width > 200
    with pytest.raises(InputError, match="is no directory"):
        spectrum(str(image_set), tmp_path / "missing" / "s.png", quiet=True)


def test_a_place_that_cannot_be_written_to_is_told_before_input_is_looked_at(
    tmp_path: Path,
) -> None:
    (tmp_path / "s.png").mkdir()
    for place, words in {
        "/proc/s.png": "cannot be written",
        f"{tmp_path}/{'s' * 252}.png": "File name too long; give another name",
        f"{tmp_path}/s.png": "is a directory; give the name of a PNG",
    }.items():
        with pytest.raises(InputError, match=words):
            spectrum(tmp_path / "missing", place, quiet=True)
    assert [file.name for file in tmp_path.iterdir()] == ["s.png"]


def test_report_is_rebuilt_and_notices_what_changed(image_set: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    clean(str(image_set), output, quiet=True)
    before = (output / "report/index.html").read_bytes()
    (output / "report/index.html").unlink()
    with pytest.raises(RunError, match=r"report/index\.html is missing"):
        report(output)
    assert Path(report(output).page).read_bytes() == before

    scores = next((output / "scores").glob("*.parquet"))
    pq.write_table(pq.read_table(scores).slice(0, ROWS - 1), scores)
    with pytest.raises(RunError, match=f"scores/{scores.name} was altered"):
        report(output)
