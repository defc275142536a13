"""--dry-run: what is there, what can be judged, and what it would take; nothing is written."""

import io
import json
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from commands import run
from PIL import Image
from schemas import check_printed

from freqsan import InputError, clean, dry_run
from pipelines.jobs.demo import SAMPLE


def listed(folder: Path) -> dict[str, int]:
    """Every file below, and when it was written."""
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture
def photos(tmp_path: Path, real_images: list[bytes]) -> Path:
    """Two folders of images; one is too large to be judged, and one is text."""
    folder = tmp_path / "photos"
    for number, data in enumerate(real_images):
        path = folder / ("cat" if number % 4 else "dog") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    Image.new("1", (8000, 9000)).save(folder / "cat" / "large.png")
    (folder / "dog" / "text.png").write_text("not an image")
    return folder


def test_it_tells_what_is_there_and_writes_nothing(photos: Path, tmp_path: Path) -> None:
    before = listed(tmp_path)
    result = run("clean", photos, tmp_path / "out", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "input     image folder: 42 images" in result.stdout
    assert "labels in 'label', 2 classes" in result.stdout
    assert "looked at 42 images (41 PNG, 32 to 9000 px, mostly 32)" in result.stdout
    assert "2 of them cannot be judged (1 too many pixels, 1 unsupported format), such as " in (
        result.stdout
    )
    assert "cat/large.png: too many pixels: 8000x9000" in result.stdout
    assert [line[:10] for line in result.stdout.splitlines()[3:]] == [
        *("time      ", "disk      ", "memory    ")
    ]
    assert listed(tmp_path) == before


@pytest.mark.parametrize(
    ("job", "does"),
    [
        ("clean", {"starting", "scoring", "scanning", "splitting", "reporting"}),
        ("score", {"starting", "scoring"}),
        ("scan", {"starting", "scoring", "scanning"}),
    ],
)
def test_json_is_all_that_is_printed_and_fits_its_schema(
    job: str, does: set[str], tmp_path: Path
) -> None:
    result = run(job, SAMPLE, tmp_path / "out", "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    tried = check_printed("dry-run", result.stdout)
    assert (tried["job"], tried["images"], tried["counted"]) == (job, 1000, True)
    assert tried["columns"] == ["image", "label", "is_poisoned", "original_label", "attack"]
    assert tried["seconds_of"].keys() == does
    assert tried["seconds"] == pytest.approx(sum(tried["seconds_of"].values()))
    assert min(tried["seconds_of"].values()) > 0
    assert list(tmp_path.iterdir()) == []


def test_the_disk_that_it_tells_is_about_what_the_run_takes(tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    pq.write_table(pq.read_table(str(SAMPLE)).slice(0, 300), path)
    tried = dry_run(path, tmp_path / "out", quiet=True)
    clean(path, tmp_path / "out", quiet=True)
    folders = ("data", "scores", "rejected")
    files = [file for folder in folders for file in (tmp_path / "out" / folder).iterdir()]
    written = sum(file.stat().st_size for file in files)
    assert 0.8 < tried.output_bytes / written < 1.25


def test_images_that_nobody_has_counted_are_estimated(
    real_images: list[bytes], tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        for number in range(400):
            data = real_images[number % len(real_images)]
            member = tarfile.TarInfo(f"{number:04d}.png")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    tried = dry_run(tmp_path / "photos.tar", tmp_path / "out", quiet=True)
    assert not tried.counted
    assert 350 < tried.images < 450
    assert "about" in tried.words.splitlines()[0]
    assert "their number is a guess" in tried.words


def test_a_finished_run_is_told_and_left_alone(photos: Path, tmp_path: Path) -> None:
    clean(photos, tmp_path / "out", quiet=True)
    before = listed(tmp_path)
    tried = dry_run(photos, tmp_path / "out", quiet=True)
    assert tried.notes == ("OUTPUT holds a finished run: the same one is not done again",)
    assert listed(tmp_path) == before


def test_what_the_job_would_refuse_is_refused(photos: Path, tmp_path: Path) -> None:
    for given, words in (
        (("--detector", "no-such"), "freqsan-small"),
        (("--image-column", "picture"), "picture"),
        (("--max-unjudged", 2), "from 0 to 1"),
    ):
        result = run("clean", photos, tmp_path / "out", "--dry-run", *given)
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 1
        assert words in result.stderr
    assert run("clean", photos, photos / "out", "--dry-run").exit_code == 2
    with pytest.raises(InputError, match="job: expected one of clean, score, scan, got 'prove'"):
        dry_run(photos, tmp_path / "out", job="prove")


def test_names_in_the_data_cannot_forge_what_is_printed(photos: Path, tmp_path: Path) -> None:
    forged = photos / "cat\nclean  9,999\x1b[31m"
    (photos / "cat").rename(forged)
    result = run("clean", photos, tmp_path / "out", "--dry-run")
    assert all(line.isprintable() for line in result.stdout.splitlines())
    assert not any(line.startswith("clean") for line in result.stdout.splitlines())
    json.loads(run("clean", photos, tmp_path / "out", "--dry-run", "--json").stdout)


def test_a_set_of_one_image_is_no_trouble(real_images: list[bytes], tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(real_images[0])
    tried = dry_run(tmp_path, tmp_path.parent / "dry-out", quiet=True)
    assert (tried.images, tried.looked.images) == (1, 1)
    assert tried.seconds > 0


def test_a_large_set_is_looked_at_all_over(tmp_path: Path) -> None:
    table = pq.read_table(str(SAMPLE))
    rows = table.to_pylist()
    for row in rows[900:]:
        row["image"]["bytes"] = b"not an image"
    pq.write_table(table.from_pylist(rows, table.schema), tmp_path / "set.parquet")
    tried = dry_run(tmp_path / "set.parquet", tmp_path / "out", shard_rows=50, quiet=True)
    assert tried.looked.rejected_by_reason["unsupported format"] >= 32
    assert tried.processes > 1
