"""The jobs on each kind of input that is a file or a table of files: same images, same result."""

import json
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import run
from datasets import load_dataset
from outputs import table_of
from PIL import Image

from pipelines.sources import annotations, archives, metadata, open_source, paths
from pipelines.sources.columns import LABEL_NAMES
from pipelines.sources.files import MAX_FILE_BYTES, SPLIT_NAMES
from sanitizer.images import MAX_METADATA_BYTES, MAX_PIXELS, MAX_SCANS

#: Images of the set, in two classes.
IMAGES = 40

KINDS = ("metadata", "csv", "parquet", "zip", "tiff")


@pytest.fixture(scope="module")
def inputs(
    data_dir: Path, real_images: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The same images, given in each way."""
    root = tmp_path_factory.mktemp("inputs")
    names = [f"images/{i:02d}.png" for i in range(IMAGES)]
    labels = ["cat" if i % 2 else "dog" for i in range(IMAGES)]
    (root / "metadata" / "images").mkdir(parents=True)
    for name, data in zip(names, real_images, strict=True):
        (root / "metadata" / name).write_bytes(data)
    lines = [f"{name},{label}\n" for name, label in zip(names, labels, strict=True)]
    (root / "metadata" / "metadata.csv").write_text("file_name,label\n" + "".join(lines))
    (root / "metadata" / "list.csv").write_text("path,label\n" + "".join(lines))
    table = pa.table({"image": names, "label": labels})
    pq.write_table(table, root / "metadata" / "list.parquet")
    with zipfile.ZipFile(root / "set.zip", "w") as opened:
        for name, label, data in zip(names, labels, real_images, strict=True):
            opened.writestr(f"set/{label}/{Path(name).name}", data)
    for name, label in zip(names, labels, strict=True):
        (root / "tiff" / label).mkdir(parents=True, exist_ok=True)
        with Image.open(root / "metadata" / name) as image:
            image.convert("RGB").save(root / "tiff" / label / f"{Path(name).stem}.tif")
    folder = root / "folder"
    (folder / "images").mkdir(parents=True)
    for path in (root / "metadata" / "images").iterdir():
        (folder / "images" / path.name).write_bytes(path.read_bytes())
    (folder / "metadata.csv").write_bytes((root / "metadata" / "metadata.csv").read_bytes())
    return {
        "metadata": folder,
        "csv": root / "metadata" / "list.csv",
        "parquet": root / "metadata" / "list.parquet",
        "zip": root / "set.zip",
        "tiff": root / "tiff",
    }


@pytest.mark.parametrize("kind", KINDS)
def test_clean_judges_each_kind_alike(
    inputs: dict[str, Path], tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    output = tmp_path / "out"
    done = run("clean", inputs[kind], output, "--json", "--quiet", "--trusted", inputs["zip"])
    assert done.exit_code == 0, done.stderr
    counts = json.loads(done.stdout)["counts"]
    assert (counts["read"], counts["rejected"]) == (IMAGES, 0)
    scores = {
        r["sample_id"][-6:-4]: r["score"] for r in table_of(output, "scores/part").to_pylist()
    }
    alone = tmp_path / "alone"
    done = run("score", inputs["metadata"], alone, "--quiet")
    assert done.exit_code == 0, done.stderr
    expected = table_of(alone, "scores/part").to_pylist()
    assert scores == pytest.approx({r["sample_id"][-6:-4]: r["score"] for r in expected}, abs=1e-5)
    loaded = load_dataset(str(output), cache_dir=str(tmp_path / "cache"))
    assert sum(part.num_rows for part in loaded.values()) == IMAGES
    assert {"image", "label", "sample_id"} == set(loaded["clean"].column_names)
    assert loaded["clean"][0]["image"].size == (32, 32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("job", ["ingest", "poison", "scan", "features"])
def test_other_jobs_read_each_kind(
    inputs: dict[str, Path], tmp_path: Path, kind: str, job: str
) -> None:
    options: tuple[str, ...] = ()
    if job == "poison":
        options = ("--attack", "badnets", "--rate", "0.5")
    if job == "scan":
        options = ("--allow-unjudged",)
    output = tmp_path / "out"
    done = run(job, inputs[kind], output, "--quiet", "--workers", 2, *options)
    assert done.exit_code == 0, done.stderr
    if job == "ingest":
        source = open_source(inputs[kind])
        read = pa.Table.from_batches([samples.batch for samples in source.samples()])
        assert table_of(output, "data/train").equals(read.replace_schema_metadata(None))
    if job == "poison":
        rows = table_of(output, "data/train").to_pylist()
        assert len(rows) == IMAGES
        assert 0 < sum(row["is_poisoned"] for row in rows) < IMAGES


def test_hashes_in_a_table_are_compared(real_images: list[bytes], tmp_path: Path) -> None:
    import hashlib

    root = tmp_path / "in"
    root.mkdir()
    lines = []
    for i, data in enumerate(real_images):
        (root / f"{i}.png").write_bytes(data)
        lines.append(f"{i}.png,{hashlib.sha256(data if i else b'another').hexdigest()}\n")
    for name in ("metadata.csv", "list.csv"):
        (root / name).write_text("file_name,sha256\n" + "".join(lines))
    for place, path in enumerate((root, root / "list.csv")):
        output = tmp_path / f"out{place}"
        done = run("score", path, output, "--verify-hashes", "--json", "--quiet")
        assert done.exit_code == 0, done.stderr
        assert json.loads(done.stdout)["rejected_by_reason"] == {"hash mismatch": 1}


def test_one_image_is_an_input(real_images: list[bytes], tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(real_images[0])
    done = run("clean", path, tmp_path / "out", "--json", "--quiet")
    assert done.exit_code == 0, done.stderr
    (row,) = table_of(tmp_path / "out", "scores/part").to_pylist()
    assert row["sample_id"] == "cat.png"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("set.tfrecord", "TFRecord files are not read, as it takes TensorFlow"),
        ("set.tfrecord-00000-of-00010", "TFRecord files are not read"),
        ("set.h5", "arrays of pixels are not read"),
        ("set.rar", "archives are read as zip, tar and tar.gz; unpack it"),
        ("set.lmdb", "databases of LMDB, MXNet and FFCV are not read"),
        ("set.mp4", "videos are not read"),
    ],
)
def test_what_is_not_read_says_what_to_do(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    refused = run("clean", tmp_path / name, tmp_path / "out")
    assert refused.exit_code == 2
    (line,) = refused.stderr.splitlines()
    assert line.startswith(f"freqsan: {tmp_path / name}: found no images, ")
    assert words in line


def test_heic_among_images_is_a_reject_with_a_way_out(
    real_images: list[bytes], tmp_path: Path
) -> None:
    root = tmp_path / "in"
    root.mkdir()
    (root / "a.png").write_bytes(real_images[0])
    (root / "b.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    done = run("score", root, tmp_path / "out", "--quiet")
    assert done.exit_code == 0, done.stderr
    rows = {
        r["sample_id"]: r["reason"] for r in table_of(tmp_path / "out", "scores/part").to_pylist()
    }
    assert rows["b.heic"].startswith("unsupported format: HEIC is not read; convert it to PNG or")


@pytest.mark.parametrize("kind", ["csv", "zip", "metadata"])
def test_a_run_goes_on_unless_its_input_has_changed(
    inputs: dict[str, Path], tmp_path: Path, kind: str, touch: Callable[[Path], None]
) -> None:
    copied = tmp_path / "in"
    shutil.copytree(inputs[kind] if kind == "metadata" else inputs[kind].parent, copied)
    given = copied if kind == "metadata" else copied / inputs[kind].name
    command = ("ingest", given, tmp_path / "out", "--quiet")
    for _ in range(2):
        assert run(*command).exit_code == 0
    if kind == "metadata":
        table = given / "metadata.csv"
        table.write_text(table.read_text().replace("cat", "bat"))
    else:
        touch(given if kind == "zip" else copied / "images" / "00.png")
    refused = run(*command)
    assert refused.exit_code == 2
    assert "differs in the input's files; give --overwrite" in refused.stderr
    assert run(*command, "--overwrite").exit_code == 0


def test_the_page_on_formats_tells_what_is_so() -> None:
    page = (Path(__file__).parents[1] / "docs" / "formats.md").read_text(encoding="utf-8")
    for name in (*paths.NAMES, *LABEL_NAMES, *SPLIT_NAMES, *metadata.NAMES):
        assert f"`{name}`" in page, name
    limits = {
        f"up to {annotations.MAX_BYTES >> 20} MiB and {annotations.MAX_COLUMNS:,} columns",
        f"gives it and {MAX_FILE_BYTES >> 20} MiB",
        f"up to {archives.MAX_DIRECTORY >> 20} MiB",
        f"more than {MAX_SCANS} scans",
        f"more than {MAX_METADATA_BYTES >> 20} MiB beside",
        f"than {MAX_PIXELS // 1_000_000} megapixels",
    }
    words = " ".join(page.split())
    assert {limit for limit in limits if limit not in words} == set()


def test_the_commands_of_the_page_on_formats_run(
    real_images: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[1] / "docs" / "formats.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sh\n(.*?)```", page, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in ("photos/1.png", "photos/2.png", "cat.png"):
        Path(name).write_bytes(real_images[0])
    Path("photos/list.csv").write_text("path\n1.png\n")
    with zipfile.ZipFile("photos.zip", "w") as opened:
        opened.write("cat.png", "train/x/1.png")
        opened.write("cat.png", "test/x/1.png")
    for command in block.splitlines():
        program, job, *arguments = command.split()
        done = run(job, *arguments, "--overwrite", "--quiet")
        assert (program, done.exit_code) == ("freqsan", 0), done.stderr
