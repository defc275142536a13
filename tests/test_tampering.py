"""What is changed in an OUTPUT behind freqsan's back is noticed, whatever it is."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from commands import run

from freqsan import clean
from pipelines.jobs.demo import SAMPLE
from pipelines.runs.checksums import seal
from pipelines.runs.store import as_json
from sanitizer.errors import RunError

SHARDS = "00001-of-00002.parquet"
SETTINGS: dict[str, Any] = {"shard_rows": 50, "quiet": True}

Tampering = Callable[[Path], object]


@pytest.fixture(scope="module")
def image_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("set") / "set.parquet"
    pq.write_table(pq.read_table(str(SAMPLE)).slice(0, 100), path, row_group_size=50)
    return path


@pytest.fixture(scope="module")
def cleaned(image_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("out") / "cleaned"
    clean(image_set, output, **SETTINGS)
    return output


@pytest.fixture
def output(cleaned: Path, tmp_path: Path) -> Path:
    """A copy of a finished run."""
    return Path(shutil.copytree(cleaned, tmp_path / "out"))


def flip(name: str) -> Tampering:
    """Change one byte, and neither the size nor the time."""

    def tamper(output: Path) -> None:
        data = bytearray((output / name).read_bytes())
        data[len(data) // 2] ^= 1
        (output / name).write_bytes(data)

    return tamper


def move_a_poisoned_row(output: Path) -> None:
    files = [output / f"data/{split}-{SHARDS}" for split in ("clean", "poisoned")]
    kept, removed = (pq.read_table(file) for file in files)
    one = removed.slice(0, 1)
    assert one.num_rows == 1
    pq.write_table(type(kept).from_batches(kept.to_batches() + one.to_batches()), files[0])
    pq.write_table(removed.slice(1), files[1])


def edit_manifest(output: Path) -> None:
    path = output / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["counts"]["poisoned"] = 0
    path.write_text(json.dumps(manifest))


def link(name: str) -> Tampering:
    """Put a link to the very same content in its place."""

    def tamper(output: Path) -> None:
        aside = output.parent / "aside"
        (output / name).rename(aside)
        (output / name).symlink_to(aside)

    return tamper


def pipe(name: str) -> Tampering:
    """Put something in its place that never ends to be read."""

    def tamper(output: Path) -> None:
        (output / name).unlink()
        os.mkfifo(output / name)

    return tamper


def copied(name: str, to: str) -> Tampering:
    return lambda output: shutil.copy(output / name, output / to)


#: What is done to a result, and the file that is to be named.
RESULTS: dict[str, tuple[Tampering, str]] = {
    "row moved into clean": (move_a_poisoned_row, f"data/clean-{SHARDS}"),
    "clean": (flip(f"data/clean-{SHARDS}"), f"data/clean-{SHARDS}"),
    "poisoned": (flip(f"data/poisoned-{SHARDS}"), f"data/poisoned-{SHARDS}"),
    "rejected": (flip(f"rejected/part-{SHARDS}"), f"rejected/part-{SHARDS}"),
    "scores": (flip(f"scores/part-{SHARDS}"), f"scores/part-{SHARDS}"),
    "summary": (flip("report/summary.json"), "report/summary.json"),
    "card": (flip("README.md"), "README.md"),
    "manifest": (edit_manifest, "manifest.json"),
    "file removed": (lambda o: (o / f"data/clean-{SHARDS}").unlink(), f"data/clean-{SHARDS}"),
    "card removed": (lambda o: (o / "README.md").unlink(), "README.md"),
    "folder removed": (lambda o: shutil.rmtree(o / "rejected"), "rejected/part-"),
    "file linked": (link(f"data/clean-{SHARDS}"), f"data/clean-{SHARDS} is a link"),
    "folder linked": (link("data"), "data is a link"),
    "folder for a file": (
        lambda o: ((o / "README.md").unlink(), (o / "README.md").mkdir()),
        "README.md is no plain file",
    ),
    "shard added": (
        copied(f"data/poisoned-{SHARDS}", "data/clean-00002-of-00002.parquet"),
        "data/clean-00002-of-00002.parquet is not of this run",
    ),
    "file added": (
        copied(f"data/poisoned-{SHARDS}", "data/clean-more.parquet"),
        "data/clean-more.parquet is not of this run",
    ),
    "key twice": (
        lambda o: (o / "manifest.json").write_text(
            '{"job": "score", ' + (o / "manifest.json").read_text()[1:]
        ),
        "manifest.json was altered",
    ),
    "manifest cut": (
        lambda o: (o / "manifest.json").write_text((o / "manifest.json").read_text()[:500]),
        "manifest.json cannot be read",
    ),
    "manifest linked": (link("manifest.json"), "manifest.json cannot be read"),
    "manifest a pipe": (pipe("manifest.json"), "manifest.json cannot be read"),
    "pipe": (pipe("README.md"), "README.md is no plain file"),
    "manifest nested": (
        lambda o: (o / "manifest.json").write_text("[" * 100_000),
        "manifest.json cannot be read",
    ),
}

#: The same of the report, which can be made anew.
REPORT: dict[str, tuple[Tampering, str]] = {
    "page": (flip("report/index.html"), "report/index.html was altered"),
    "validation": (flip("report/validation.json"), "report/validation.json was altered"),
    "checksums linked": (link("report/checksums.json"), "report/checksums.json was altered"),
    "checksums": (
        lambda o: (o / "report/checksums.json").write_text("{}"),
        "report/checksums.json was altered",
    ),
    "checksums emptied": (
        lambda o: (o / "report/checksums.json").write_text('{"files": {}}'),
        "report/checksums.json was altered",
    ),
    "checksums removed": (
        lambda o: (o / "report/checksums.json").unlink(),
        "report/checksums.json is missing",
    ),
}


@pytest.mark.parametrize("kind", RESULTS)
def test_report_notices_what_was_done_to_a_result(output: Path, kind: str) -> None:
    tamper, words = RESULTS[kind]
    tamper(output)
    page = (output / "report/index.html").stat().st_mtime_ns
    done = run("report", output)
    assert done.exit_code in (1, 2)
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert (output / "report/index.html").stat().st_mtime_ns == page
    assert not (output / ".freqsan").exists()


@pytest.mark.parametrize("kind", [*RESULTS, *REPORT])
def test_what_was_changed_is_not_taken_for_finished(
    output: Path, image_set: Path, kind: str
) -> None:
    tamper, words = (RESULTS | REPORT)[kind]
    tamper(output)
    done = run("clean", image_set, output, "--shard-rows", 50, "--quiet")
    assert done.exit_code in (1, 2)
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("kind", REPORT)
def test_report_names_an_altered_page_once_and_makes_it_anew(output: Path, kind: str) -> None:
    before = (output / "report/index.html").read_bytes()
    tamper, words = REPORT[kind]
    tamper(output)
    done = run("report", output)
    assert done.exit_code == 1
    assert words in done.stderr
    assert (output / "report/index.html").read_bytes().count(b"<") == before.count(b"<")
    assert run("report", output).exit_code == 0


def test_report_says_what_it_has_checked(output: Path, image_set: Path) -> None:
    checked = json.loads(run("report", output, "--json").stdout)
    manifest = clean(image_set, output, **SETTINGS)
    assert checked["sha256"] == manifest.sha256
    assert checked["files"] == len(list(output.rglob("*.parquet"))) + 2
    assert f"checksum  {manifest.sha256}" in run("report", output).stdout


@pytest.mark.parametrize("page", ["report/index.html", "report/validation.json"])
def test_a_page_that_is_gone_is_named_and_made_again(
    page: str, output: Path, image_set: Path
) -> None:
    (output / page).unlink()
    with pytest.raises(RunError, match=rf"{page} is missing.*freqsan report"):
        clean(image_set, output, **SETTINGS)
    done = run("report", output)
    assert done.exit_code == 1
    assert f"{page} is missing since it was written, and is made anew now" in done.stderr
    assert run("report", output).exit_code == 0
    clean(image_set, output, **SETTINGS)


def test_what_is_named_outside_the_output_is_not_read(output: Path) -> None:
    """Nothing but the name is looked at: a pipe of that name would never answer."""
    os.mkfifo(output.parent / "pipe")
    path = output / "manifest.json"
    manifest = json.loads(path.read_text())
    for name in ("../pipe", str(output.parent / "pipe"), "data/../../pipe"):
        manifest["files"] = {name: {"bytes": 0, "sha256": ""}}
        path.write_bytes(as_json(seal(manifest)))
        done = run("report", output)
        assert done.exit_code == 1
        assert f"{name} is no name of a file" in done.stderr
