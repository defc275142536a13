"""``clean`` as a user sees it: what goes in comes out, once, where it belongs."""

import hashlib
import io
import json
import os
import re
import shutil
import signal
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from commands import start
from outputs import digests, table_of
from pictures import noise
from PIL import Image
from samples import CARRIERS, with_one_trigger

from detector.bulk import OwnScale
from detector.kinds import ENCODINGS
from detector.model import Detector
from detector.scores import Scores
from freqsan import clean, ingest, score
from pipelines.jobs.clean import CleanManifest
from pipelines.jobs.demo import SAMPLE
from pipelines.runs.shards import RowWriter
from sanitizer.errors import InputError, RunError, UnjudgedError
from sanitizer.summary import CalibrationFacts

ROWS = 240
LOSS = 0.02


@pytest.fixture(scope="module")
def image_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 real images with labels and further columns, in a Parquet file of four row groups."""
    table = pq.read_table(str(SAMPLE)).slice(0, ROWS)
    extra = pa.array([[i, i + 1] for i in range(ROWS)], pa.list_(pa.int16()))
    table = table.append_column("extra", extra)
    path = tmp_path_factory.mktemp("set") / "set.parquet"
    pq.write_table(table, path, row_group_size=ROWS // 4)
    return path


@pytest.fixture(scope="module")
def cleaned(image_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("out") / "cleaned"
    clean(str(image_set), output, policy="budget", max_clean_loss=LOSS, shard_rows=60, quiet=True)
    return output


def test_the_output_is_laid_out_as_promised(cleaned: Path) -> None:
    assert {p.name for p in cleaned.iterdir()} == {
        "README.md",
        "data",
        "rejected",
        "scores",
        "report",
        "manifest.json",
    }
    shards = [f"{i:05d}-of-00004.parquet" for i in range(4)]
    assert sorted(p.name for p in (cleaned / "data").iterdir()) == sorted(
        f"{split}-{shard}" for split in ("clean", "poisoned") for shard in shards
    )
    assert sorted(p.name for p in (cleaned / "scores").iterdir()) == [f"part-{s}" for s in shards]
    assert sorted(p.name for p in (cleaned / "rejected").iterdir()) == [f"part-{s}" for s in shards]
    assert {"index.html", "summary.json", "validation.json"} <= {
        p.name for p in (cleaned / "report").iterdir()
    }


def test_every_sample_is_in_exactly_one_split_and_untouched(image_set: Path, cleaned: Path) -> None:
    given = {f"set.parquet#{i}": row for i, row in enumerate(pq.read_table(image_set).to_pylist())}
    rows = [r for s in ("clean", "poisoned") for r in table_of(cleaned, f"data/{s}").to_pylist()]
    assert len(rows) == ROWS
    assert {row.pop("sample_id"): row for row in rows} == given


def test_score_rows_say_what_was_decided(cleaned: Path) -> None:
    scores = table_of(cleaned, "scores/part")
    assert scores.num_rows == ROWS
    for verdict in ("clean", "poisoned"):
        ids = set(table_of(cleaned, f"data/{verdict}")["sample_id"].to_pylist())
        assert ids == {r["sample_id"] for r in scores.to_pylist() if r["verdict"] == verdict}
    for row in scores.to_pylist():
        assert (row["p_value"] <= LOSS) == (row["verdict"] == "poisoned")
        words = "([0-9.]+) % of clean images of this set are expected to score as high"
        percent = re.fullmatch(words, row["reason"])
        assert percent is not None, row["reason"]
        assert float(percent[1]) == pytest.approx(100 * row["p_value"], rel=0.06)
        assert row["detector"].startswith("freqsan-small@")
    first = pq.read_table(str(SAMPLE)).slice(0, 1).to_pylist()[0]
    row = next(r for r in scores.to_pylist() if r["sample_id"] == "set.parquet#0")
    assert row["content_sha256"] == hashlib.sha256(first["image"]["bytes"]).hexdigest()
    assert (row["width"], row["height"], row["format"]) == (32, 32, "PNG")
    assert row["label"] == first["label"]


def test_where_all_of_a_kind_looks_manipulated_the_run_says_so(tmp_path: Path) -> None:
    """Sixty stamped PNGs among JPEGs are judged by each other, so none of them stands out."""
    images = []
    for row in with_one_trigger().to_pylist():
        data = row["image"]["bytes"]
        if row["is_poisoned"]:
            images.append(data)
        elif len(images) < 400:
            encoded = io.BytesIO()
            Image.open(io.BytesIO(data)).convert("RGB").save(encoded, "JPEG", quality=90)
            images.append(encoded.getvalue())
    pq.write_table(pa.table({"image": images}), tmp_path / "set.parquet")
    manifest = score(tmp_path / "set.parquet", tmp_path / "out", quiet=True)
    (doubt,) = manifest.calibration.doubts  # of the JPEGs nothing is said
    told = re.match(r"Of (\d+) images of one kind \(lossless, .* 32x32 px\) (\d+) score", doubt)
    assert told is not None, doubt
    alike, suspicious = map(int, told.groups())
    assert alike == CARRIERS
    assert suspicious > 0.8 * CARRIERS


def test_trusted_images_that_look_manipulated_are_doubted(tmp_path: Path) -> None:
    table = with_one_trigger()
    suspicious = table.filter(table["is_poisoned"])
    clean_ones = table.filter(pc.invert(table["is_poisoned"]))
    doubts = {}
    for name, some in {
        "clean": [clean_ones.slice(0, 200)],
        "stamped": [clean_ones.slice(0, 140), suspicious],
    }.items():
        pq.write_table(pa.concat_tables(some), tmp_path / f"{name}.parquet")
        manifest = score(
            tmp_path / "clean.parquet",
            tmp_path / name,
            trusted=tmp_path / f"{name}.parquet",
            policy="budget",
            max_clean_loss=LOSS,
            quiet=True,
        )
        doubts[name] = manifest.calibration.doubts
    assert doubts["clean"] == ()
    assert re.match(r"\d+ of the 200 trusted images score higher than 99%", doubts["stamped"][0])


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thousand PNGs, enough to be judged by each other, and thirty JPEGs."""
    images = [row["bytes"] for row in pq.read_table(str(SAMPLE))["image"].to_pylist()]
    for data in images[:30]:
        encoded = io.BytesIO()
        Image.open(io.BytesIO(data)).convert("RGB").save(encoded, "JPEG", quality=75)
        images.append(encoded.getvalue())
    path = tmp_path_factory.mktemp("mixed") / "mixed.parquet"
    pq.write_table(pa.table({"image": images}), path)
    return path


@pytest.fixture(scope="module")
def scored(mixed: Path) -> tuple[CalibrationFacts, list[dict[str, Any]]]:
    output = mixed.parent / "out"
    manifest = score(
        mixed, output, policy="budget", max_clean_loss=LOSS, shard_rows=150, quiet=True
    )
    return manifest.calibration, table_of(output, "scores/part").to_pylist()


PNGS, JPEGS = slice(0, 1000), slice(1000, 1030)


def test_a_kind_that_a_set_has_enough_of_is_judged_by_the_set_itself(
    scored: tuple[CalibrationFacts, list[dict[str, Any]]],
) -> None:
    """All of the set, whatever the shards; other kinds are compared with the stored groups."""
    calibration, rows = scored
    words = "([0-9.]+(e-[0-9]+)?) % of clean images of this set are expected to score as high"
    for row in rows[PNGS]:
        percent = re.fullmatch(words, row["reason"])
        assert percent is not None, row["reason"]
        assert float(percent[1]) == pytest.approx(100 * row["p_value"], rel=0.06)
    for row in rows[JPEGS]:
        assert re.fullmatch(".* of [0-9,]+ clean images scores? as high", row["reason"])
    detector = Detector.load("freqsan-small")
    kinds = {column: np.zeros(len(rows), np.int64) for column in ("parts", "encodings")}
    kinds["parts"][:] = 1
    kinds["encodings"][JPEGS] = ENCODINGS.index("JPEG of quality 61-84")
    scores = Scores(np.array([row["score"] for row in rows], np.float32), **kinds)
    by_groups = detector.calibration.p_values(scores).values
    own = OwnScale.of(detector.calibration, scores)
    found = np.array([row["p_value"] for row in rows])
    np.testing.assert_allclose(found, own.p_values(scores, by_groups))
    np.testing.assert_allclose(found[JPEGS], by_groups[JPEGS])
    assert (found[PNGS] != by_groups[PNGS]).any()
    assert [row["verdict"] == "poisoned" for row in rows] == (found <= LOSS).tolist()
    assert list(calibration.thresholds) == ["1 part, lossless", "1 part, JPEG of quality 61-84"]
    threshold = calibration.thresholds["1 part, lossless"]
    assert threshold == pytest.approx(own.thresholds(LOSS)["1 part, lossless"])
    clear = np.abs(scores.values[PNGS] - threshold) > 1e-6
    assert ((found <= LOSS) == (scores.values > threshold))[PNGS][clear].all()
    assert calibration.words.startswith("Each kind of image, by size and encoding, of which")
    assert calibration.words.endswith(
        "Here 1,000 of 1,030 judged images are judged by the set itself: of the others "
        "nothing is promised unless they are like the stored ones."
    )


def test_with_trusted_images_no_set_is_judged_by_itself(mixed: Path, tmp_path: Path) -> None:
    truth = pq.read_table(str(SAMPLE))
    innocent = truth.filter(pa.array(~np.array(truth["is_poisoned"].to_pylist()))).slice(300, 200)
    pq.write_table(innocent, tmp_path / "trusted.parquet")
    trusted = tmp_path / "trusted.parquet"
    calibration = score(mixed, tmp_path / "out", trusted=trusted, quiet=True).calibration
    assert calibration.origin == "trusted"
    assert list(calibration.thresholds) in ([], ["any parts"])
    for row in table_of(tmp_path / "out", "scores/part").to_pylist():
        assert re.fullmatch(".* of 200 clean images scores? as high", row["reason"])


def test_load_dataset_gives_exactly_clean_and_poisoned(
    cleaned: Path, image_set: Path, tmp_path: Path
) -> None:
    from datasets import Image as ImageFeature
    from datasets import load_dataset

    loaded = load_dataset(str(cleaned), cache_dir=str(tmp_path))
    assert set(loaded) == {"clean", "poisoned"}
    assert isinstance(loaded["clean"].features["image"], ImageFeature)
    assert loaded["clean"].features["label"].names[6] == "airplanes"
    for split in ("clean", "poisoned"):
        expected = table_of(cleaned, f"data/{split}")
        assert loaded[split]["sample_id"] == expected["sample_id"].to_pylist()
        for row in loaded[split].select(range(min(3, len(loaded[split])))):
            assert row["image"].size == (32, 32)


def test_an_empty_split_does_not_keep_the_other_from_loading(tmp_path: Path) -> None:
    from datasets import load_dataset

    folder = tmp_path / "grey"
    folder.mkdir()
    for i in range(3):
        Image.new("RGB", (32, 32), (100, 110, 120)).save(folder / f"{i}.png")
    manifest = clean(str(folder), tmp_path / "out", max_clean_loss=0.002, quiet=True)
    (full,) = (split for split in ("clean", "poisoned") if getattr(manifest.counts, split))
    loaded = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {name: len(rows) for name, rows in loaded.items()} == {full: 3}


def test_the_manifest_is_true(cleaned: Path) -> None:
    manifest = json.loads((cleaned / "manifest.json").read_text())
    listed = {name: f for shard in manifest["shards"] for name, f in shard["files"].items()}
    assert {name: f["sha256"] for name, f in listed.items()} == digests(cleaned, "*.parquet")
    assert manifest["counts"]["read"] == ROWS
    poisoned = table_of(cleaned, "data/poisoned").num_rows
    assert manifest["counts"]["poisoned"] == poisoned
    assert sum(f["rows"] for n, f in listed.items() if n.startswith("data/poisoned")) == poisoned
    assert manifest["policy"]["max_clean_loss"] == LOSS
    assert " 1% or less" not in manifest["calibration"]["words"]
    assert " 2% or less are expected to be removed" in manifest["calibration"]["words"]
    assert CleanManifest.from_json(manifest).to_json() == manifest


@pytest.mark.parametrize(
    "changed", [{"workers": 1}, {"shard_rows": 17}, {"workers": 3, "shard_rows": 1000}]
)
def test_the_result_does_not_depend_on_workers_or_shards(
    image_set: Path, cleaned: Path, tmp_path: Path, changed: dict[str, int]
) -> None:
    settings = {"shard_rows": 60} | changed
    clean(
        str(image_set),
        tmp_path / "out",
        policy="budget",
        max_clean_loss=LOSS,
        quiet=True,
        **settings,
    )
    for prefix in ("scores/part", "data/clean", "data/poisoned", "rejected/part"):
        assert table_of(tmp_path / "out", prefix).equals(table_of(cleaned, prefix)), prefix
    if "shard_rows" not in changed:
        assert digests(tmp_path / "out", "*.parquet") == digests(cleaned, "*.parquet")


def finished_shards(output: Path) -> int:
    """Of all passes together."""
    return len(list(output.glob(".freqsan/*/*.json")))


def test_a_killed_run_resumes_and_ends_in_the_same_files(image_set: Path, tmp_path: Path) -> None:
    arguments = (
        "--policy",
        "budget",
        "--max-clean-loss",
        str(LOSS),
        "--shard-rows",
        "4",
        "--quiet",
    )
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert start("clean", str(image_set), str(whole), *arguments).wait() == 0
    kills = 0
    # Of 60 shards in each of two passes: in the first, in the second, and near its end.
    for finished in (10, 75, 115):
        process = start("clean", str(image_set), str(broken), *arguments)
        while process.poll() is None and finished_shards(broken) < finished:
            time.sleep(0.001)
        if process.poll() is not None:
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
        assert not (broken / "manifest.json").exists()
        for file in broken.rglob("[!.]*.parquet"):
            pq.ParquetFile(file)  # no half file under a final name
    assert kills >= 2
    assert start("clean", str(image_set), str(broken), *arguments).wait() == 0
    assert digests(broken, "*.parquet") == digests(whole, "*.parquet")
    assert (broken / "manifest.json").read_bytes() == (whole / "manifest.json").read_bytes()
    assert not list(broken.rglob(".*"))


def test_a_finished_run_is_left_alone_and_other_settings_are_refused(
    image_set: Path, cleaned: Path
) -> None:
    before = {f: f.stat().st_mtime_ns for f in cleaned.rglob("*")}
    clean(str(image_set), cleaned, policy="budget", max_clean_loss=LOSS, shard_rows=60, quiet=True)
    assert before == {f: f.stat().st_mtime_ns for f in cleaned.rglob("*")}
    with pytest.raises(
        InputError, match="differs in policy, max_clean_loss, fdr; give --overwrite"
    ):
        clean(str(image_set), cleaned, max_clean_loss=0.05, shard_rows=60, quiet=True)
    assert before == {f: f.stat().st_mtime_ns for f in cleaned.rglob("*")}


def test_overwrite_removes_stale_shards_and_only_what_is_ours(
    image_set: Path, cleaned: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    shutil.copytree(cleaned, output)
    (output / "notes.txt").write_text("mine")
    clean(str(image_set), output, shard_rows=1000, overwrite=True, quiet=True)
    assert {f.name.partition("-of-")[2] for f in (output / "data").iterdir()} == {"00001.parquet"}
    clean(str(image_set), output, shard_rows=30, overwrite=True, quiet=True)
    assert {f.name.partition("-of-")[2] for f in (output / "data").iterdir()} == {"00008.parquet"}
    assert (output / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("manifest", ['{"name": "my web app"}', "[1, 2]"])
def test_overwrite_does_not_touch_what_is_not_ours(
    image_set: Path, tmp_path: Path, manifest: str
) -> None:
    foreign = tmp_path / "foreign"
    (foreign / "data").mkdir(parents=True)
    (foreign / "manifest.json").write_text(manifest)
    (foreign / "data" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds no freqsan run"):
        clean(image_set, foreign, overwrite=True, quiet=True)
    assert {p.name for p in foreign.rglob("*")} == {"data", "manifest.json", "thesis.txt"}


def test_overwrite_does_not_delete_its_own_input(image_set: Path, tmp_path: Path) -> None:
    ingest(image_set, tmp_path / "set", quiet=True)
    for given in (f"{tmp_path}/set/data/*.parquet", f"file://{tmp_path}/set"):
        with pytest.raises(InputError, match="lie within each other"):
            clean(given, tmp_path / "set", overwrite=True, quiet=True)
    for job in (clean, score):
        with pytest.raises(InputError, match=r"--trusted .* lie within each other"):
            job(image_set, tmp_path / "set", trusted=tmp_path / "set", overwrite=True, quiet=True)
    assert table_of(tmp_path / "set", "data/train").num_rows == ROWS


def test_two_runs_cannot_write_to_one_output(image_set: Path, tmp_path: Path) -> None:
    from filelock import FileLock

    (tmp_path / "out" / ".freqsan").mkdir(parents=True)
    with (
        FileLock(tmp_path / "out" / ".freqsan" / "lock"),
        pytest.raises(InputError, match="another freqsan run is writing"),
    ):
        clean(image_set, tmp_path / "out", quiet=True)
    clean(image_set, tmp_path / "out", quiet=True)
    assert (tmp_path / "out" / "manifest.json").exists()


def test_a_run_is_not_taken_up_on_another_device(
    image_set: Path, tmp_path: Path, full_disk: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RunError, match="no space left"):
        score(image_set, tmp_path / "out", quiet=True)
    monkeypatch.setattr(Detector, "device", "cuda")
    with pytest.raises(InputError, match=r"differs in the device that scores \(a CPU or a GPU\)"):
        score(image_set, tmp_path / "out", quiet=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_worker_without_the_device_of_the_run_says_so(
    image_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Detector, "device", "cuda")
    with pytest.raises(InputError, match=r"on a GPU, as the run began, and this machine has none"):
        score(image_set, tmp_path / "out", quiet=True)


def test_a_changed_input_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, color in enumerate(("red", "green", "blue")):
        Image.new("RGB", (32, 32), color).save(folder / f"{i}.png")
    clean(folder, tmp_path / "out", quiet=True)
    Image.new("RGB", (32, 32), "white").save(folder / "1.png")
    with pytest.raises(InputError, match="differs in the input's files; give --overwrite"):
        clean(folder, tmp_path / "out", quiet=True)


def peak_of_scoring(folder: Path, side: int, count: int) -> int:
    """Bytes that Python holds at most while so many square pictures are scored, one at a time."""

    def scored(name: str, side: int, count: int) -> None:
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.new("1", (side, side)).save(folder / name / f"{i}.png", optimize=True)
        output = folder / f"{name} scored"
        score(folder / name, output, workers=1, allow_unjudged=True, quiet=True)

    scored("one", 8, 1)  # what is imported is not counted
    tracemalloc.start()
    try:
        scored("all", side, count)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_size_of_pictures_that_are_not_judged(
    tmp_path: Path,
) -> None:
    assert peak_of_scoring(tmp_path / "phone", 7100, 30) < 100 << 20  # one of them has 151 MB


def test_memory_does_not_grow_with_the_number_of_large_pictures(tmp_path: Path) -> None:
    few, many = (peak_of_scoring(tmp_path / str(n), 4000, n) for n in (3, 12))
    assert few < 150 << 20  # one such picture decoded is 48 MB
    assert many - few < 10 << 20


def test_raw_bytes_columns_load_as_images(image_set: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    raw = [row["bytes"] for row in pq.read_table(image_set)["image"].to_pylist()]
    table = pa.table({"picture": pa.array(raw, pa.binary()), "label": list(range(ROWS))})
    pq.write_table(table, tmp_path / "raw.parquet")
    clean(
        tmp_path / "raw.parquet", tmp_path / "out", policy="budget", max_clean_loss=LOSS, quiet=True
    )
    written = [table_of(tmp_path / "out", f"data/{split}") for split in ("clean", "poisoned")]
    assert sorted(pa.concat_tables(written)["picture"].to_pylist()) == sorted(raw)
    loaded = load_dataset(str(tmp_path / "out"), split="clean", cache_dir=str(tmp_path / "cache"))
    assert loaded[0]["picture"].size == (32, 32)


def test_bad_images_are_rejected_with_their_reason_and_their_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "cats").mkdir(parents=True)
    good = pq.read_table(str(SAMPLE)).slice(0, 1).to_pylist()[0]["image"]["bytes"]
    frames = [Image.new("RGB", (32, 32), c) for c in ("red", "blue")]
    (folder / "cats" / "good.png").write_bytes(good)
    (folder / "cats" / "truncated.png").write_bytes(good[:-200])
    (folder / "cats" / "empty.png").write_bytes(b"")
    (folder / "cats" / "text.png").write_text("not an image at all")
    Image.new("RGB", (640, 480), "green").save(folder / "cats" / "large.jpg")
    Image.new("1", (14_000, 14_000)).save(folder / "cats" / "bomb.png", optimize=True)
    frames[0].save(folder / "cats" / "moving.gif", save_all=True, append_images=frames[1:])

    manifest = clean(str(folder), tmp_path / "out", allow_unjudged=True, quiet=True)

    assert manifest.counts.rejected == 5
    assert manifest.rejected_by_reason == {
        "animated": 1,
        "no bytes": 1,
        "too many pixels": 1,
        "truncated or corrupt": 1,
        "unsupported format": 1,
    }
    rejects = {r["sample_id"]: r for r in table_of(tmp_path / "out", "rejected/part").to_pylist()}
    for name in ("truncated.png", "text.png", "bomb.png", "moving.gif"):
        assert rejects[f"cats/{name}"]["bytes"] == (folder / "cats" / name).read_bytes()
    scores = {r["sample_id"]: r for r in table_of(tmp_path / "out", "scores/part").to_pylist()}
    assert len(scores) == 7
    assert {name for name, row in scores.items() if row["verdict"] == "rejected"} == set(rejects)
    assert scores["cats/truncated.png"]["score"] is None
    truncated = scores["cats/truncated.png"]
    assert (truncated["width"], truncated["height"]) == (32, 32)
    assert scores["cats/large.jpg"]["p_value"] is not None
    assert (scores["cats/large.jpg"]["width"], scores["cats/large.jpg"]["height"]) == (640, 480)


def test_trusted_images_set_the_threshold(image_set: Path, tmp_path: Path) -> None:
    truth = pq.read_table(str(SAMPLE))
    innocent = truth.filter(pa.array(~np.array(truth["is_poisoned"].to_pylist()))).slice(300, 200)
    pq.write_table(innocent, tmp_path / "trusted.parquet")
    manifest = clean(
        str(image_set),
        tmp_path / "out",
        trusted=str(tmp_path / "trusted.parquet"),
        policy="budget",
        max_clean_loss=LOSS,
        quiet=True,
    )
    assert "200 trusted clean images" in manifest.calibration.words
    clean_rows = pq.read_table(image_set)["is_poisoned"].to_pylist().count(False)
    lost = table_of(tmp_path / "out", "data/poisoned")["is_poisoned"].to_pylist().count(False)
    assert lost <= 0.07 * clean_rows

    with pytest.raises(InputError, match=r"200 clean images.*needs at least 999"):
        clean(
            str(image_set),
            tmp_path / "two",
            trusted=str(tmp_path / "trusted.parquet"),
            policy="budget",
            max_clean_loss=0.001,
            quiet=True,
        )
    assert not (tmp_path / "two").exists()


def test_images_larger_than_all_trusted_ones_are_named(image_set: Path, tmp_path: Path) -> None:
    encoded = io.BytesIO()
    Image.fromarray(noise(90, 120, 3)).save(encoded, "PNG")
    images = pq.read_table(image_set).column("image").to_pylist()
    set_of = {"in": [{"bytes": encoded.getvalue()}, *images[:9]], "trusted": images[100:]}
    for name, rows in set_of.items():
        pq.write_table(pa.table({"image": rows}), tmp_path / f"{name}.parquet")
    job, trusted = tmp_path / "in.parquet", tmp_path / "trusted.parquet"
    calibration = score(job, tmp_path / "out", trusted=trusted, quiet=True).calibration
    assert calibration.words.endswith(
        "That does not hold for 1 of the judged images, which are larger than all trusted ones, "
        "such as one of 120x90 px: give trusted images of their sizes, too."
    )
    # Of the detector's own calibration, thresholds are told of those kinds that there are.
    stored = score(job, tmp_path / "stored", policy="budget", quiet=True).calibration
    assert list(stored.thresholds) == ["1 part, lossless", "25-45 parts, lossless"]
    assert "does not hold for" not in stored.words


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def publish(self: RowWriter) -> dict[str, Any]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RowWriter, "publish", publish)


def test_a_full_disk_is_one_clear_error_and_leaves_no_half_file(
    image_set: Path, tmp_path: Path, full_disk: None
) -> None:
    with pytest.raises(RunError, match=r"no space left .* run the same command again"):
        clean(str(image_set), tmp_path / "out", quiet=True)
    assert not list((tmp_path / "out").rglob("*.parquet"))
    assert not list((tmp_path / "out").rglob(".part-*"))
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_full_disk_is_one_line_when_several_shards_are_under_way(
    image_set: Path, tmp_path: Path, full_disk: None, capfd: pytest.CaptureFixture[str]
) -> None:
    # With an option of Beam's the shards are done by threads.
    several = {"shard_rows": 10, "workers": 8, "beam_options": ["--direct_num_workers=8"]}
    with pytest.raises(RunError, match="no space left"):
        clean(image_set, tmp_path / "out", quiet=True, **several)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["x" * 300, f"{'x' * 300}/out"])
def test_a_name_that_is_too_long_is_told_before_anything_is_read(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="File name too long; give another OUTPUT"):
        clean(tmp_path / "missing", tmp_path / name, quiet=True)


def test_too_little_space_is_seen_before_anything_is_written(
    image_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(RunError, match=r"no space left .* free some"):
        clean(str(image_set), tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()


def test_ids_that_occur_twice_are_refused_before_the_work(image_set: Path, tmp_path: Path) -> None:
    table = pq.read_table(image_set).slice(0, 4)
    twice = table.append_column("sample_id", pa.array(["a", "b", "a", "c"]))
    pq.write_table(twice, tmp_path / "twice.parquet")
    with pytest.raises(InputError, match="'a' occurs twice"):
        clean(str(tmp_path / "twice.parquet"), tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()


def test_a_set_of_which_nothing_can_be_judged_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"\xff\xd8junk")
    with pytest.raises(UnjudgedError, match="not the one image could be judged"):
        clean(tmp_path / "photos", tmp_path / "out", quiet=True)
    assert (tmp_path / "out" / "report" / "index.html").exists()
