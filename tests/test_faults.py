"""Kills and a full disk at every stage of a run; each run that follows ends in the same files."""

import functools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from outputs import digests

from benchmarks import faults
from benchmarks.children import CRASHED, DONE, REFUSED, Ending, call
from benchmarks.kills import JOBS
from pipelines.jobs.demo import SAMPLE
from pipelines.runs import layout

ROOT = Path(__file__).resolve().parents[1]

#: Rows of the set, in two shards.
ROWS, SHARD_ROWS = 40, 20

#: Seconds for a run that takes a few.
DEADLINE = 120


@dataclass(frozen=True)
class Run:
    """A run that nothing happened to."""

    job: str
    source: Path
    output: Path
    changes: tuple[str, ...]  #: the files that were published and removed, in order

    def into(self, output: Path) -> functools.partial[object]:
        """The same run, into another folder."""
        settings = {"shard_rows": SHARD_ROWS, "workers": 1, "quiet": True}
        return functools.partial(JOBS[self.job], self.source, output, **settings)

    def stages(self) -> list[str]:
        """The first change of each stage, in order; that of the removals comes last."""
        first: dict[str, str] = {}
        for name in self.changes:
            first.setdefault(faults.stage_of(name), name)
        return list(first.values())


@pytest.fixture(scope="module", params=sorted(JOBS))
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp(request.param)
    table = pq.read_table(str(SAMPLE)).slice(0, ROWS).select(["image", "label"])
    pq.write_table(table, folder / "set.parquet", row_group_size=ROWS // 4)
    run = Run(request.param, folder / "set.parquet", folder / "out", ())
    listing = folder / "changes.txt"
    ending = call(
        faults.write_changes, run.output, listing, run.into(run.output), deadline=DEADLINE
    )
    assert ending.kind == DONE, ending
    return Run(run.job, run.source, run.output, tuple(listing.read_text().splitlines()))


def assert_same(output: Path, whole: Run) -> None:
    """All files, and nothing beside them."""
    assert digests(output) == digests(whole.output)
    assert not list(output.rglob(".*"))


def test_runs_killed_at_every_stage_end_in_the_same_files(whole: Run, tmp_path: Path) -> None:
    """One after the other in one folder, so that each run goes on where the last was killed."""
    output = tmp_path / "out"
    stages = whole.stages()
    assert len(stages) >= {"clean": 10, "poison": 5, "scan": 6}[whole.job]
    for name in stages:
        ending = call(faults.killed_at, output, name, whole.into(output), deadline=DEADLINE)
        assert (ending.kind, ending.words) == (CRASHED, "SIGKILL"), f"{name}: {ending}"
        committed = stages.index(name) > stages.index(layout.MANIFEST)
        assert (output / layout.MANIFEST).exists() == committed, name
        for file in output.rglob("[!.]*.parquet"):
            pq.ParquetFile(file)  # no half file under a final name
    assert call(whole.into(output), deadline=DEADLINE).kind == DONE
    assert_same(output, whole)


def test_a_run_killed_with_its_validation_ends_in_the_same_files(
    whole: Run, tmp_path: Path
) -> None:
    if whole.job != "clean":
        pytest.skip("only clean validates")
    output = tmp_path / "out"
    ending = call(
        *(faults.killed_with, output, layout.VALIDATION, whole.into(output)), deadline=DEADLINE
    )
    assert (ending.kind, ending.words) == (CRASHED, "SIGKILL")
    assert not (output / layout.MANIFEST).exists()
    assert call(whole.into(output), deadline=DEADLINE).kind == DONE
    assert_same(output, whole)


def test_a_disk_that_is_full_at_any_stage_is_told_in_one_line(whole: Run, tmp_path: Path) -> None:
    output = tmp_path / "out"
    for name in whole.stages():
        if name == layout.LOCK:
            continue  # from here on files are only removed
        ending = call(faults.full_from, output, name, whole.into(output), deadline=DEADLINE)
        assert_no_space(ending)
        assert not (output / layout.MANIFEST).exists()
        assert not list(output.rglob(".part-*")), name
    assert call(whole.into(output), deadline=DEADLINE).kind == DONE
    assert_same(output, whole)


def test_a_real_disk_that_is_too_small_is_told_in_one_line(whole: Run, tmp_path: Path) -> None:
    """Its size grows step by step, so that it is full in the split, the validation, the page."""
    if whole.job != "clean":
        pytest.skip("clean writes the most")
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*namespace, "true"]).returncode:
        pytest.skip("this kernel lets nobody mount a file system of their own")
    mount = tmp_path / "mount"
    mount.mkdir()
    kib = whole.source.stat().st_size // 1024 + 16
    done = subprocess.run(
        [*namespace, sys.executable, "-m", "staircase", *map(str, (whole.source, mount, kib, 120))],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
        capture_output=True,
        text=True,
        check=True,
    )
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    for run in runs[:-1]:
        assert_no_space(Ending(run["kind"], run["words"], run["seconds"]))
        assert run["left"] == []
    assert runs[-1]["kind"] == DONE
    assert len(runs) >= 3
    assert runs[-1]["digests"] == digests(whole.output, "*.parquet")
    assert "Traceback" not in done.stderr


def assert_no_space(ending: Ending) -> None:
    assert ending.kind == REFUSED, ending
    assert ending.words.startswith("RunError: "), ending
    assert "no space left" in ending.words.lower(), ending
    assert ending.words.count("\n") == 0, ending
