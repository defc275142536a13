"""The jobs beside ``clean``: score, ingest, features, spectrum, report."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
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
    assert manifest.counts == FeatureCounts(read=2, tiles=2, rejected=1)
    rows = table_of(tmp_path / "out", "features/part")
    assert rows["sample_id"].to_pylist() == ["a.png", "a.png"]
    assert rows["tile"].to_pylist() == [0, 1]
    expected = dct2(Tiles().cut(decode((folder / "a.png").read_bytes())))
    coefficients = np.array(rows["dct"].to_pylist(), np.float32).reshape(expected.shape)
    np.testing.assert_allclose(coefficients, expected)
    assert table_of(tmp_path / "out", "rejected/part")["sample_id"].to_pylist() == ["b.png"]


def test_spectrum_draws_a_picture(image_set: Path, tmp_path: Path) -> None:
    counts = spectrum(str(image_set), tmp_path / "spectrum.png", quiet=True)
    assert (counts.images, counts.left_out) == (ROWS, 0)
    with Image.open(tmp_path / "spectrum.png") as picture:
        assert picture.width > 200
    with pytest.raises(InputError, match="is no directory"):
        spectrum(str(image_set), tmp_path / "missing" / "s.png", quiet=True)


def test_report_is_rebuilt_and_notices_what_changed(image_set: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    clean(str(image_set), output, quiet=True)
    before = (output / "report/index.html").read_bytes()
    (output / "report/index.html").unlink()
    assert Path(report(output).page).read_bytes() == before

    scores = next((output / "scores").glob("*.parquet"))
    pq.write_table(pq.read_table(scores).slice(0, ROWS - 1), scores)
    with pytest.raises(RunError, match=f"scores/{scores.name} was altered"):
        report(output)
