"""The command line: help, one line for every expected error, the right exit code."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import Result
from commands import run

from pipelines.cli import main
from pipelines.jobs.demo import SAMPLE

COMMANDS = sorted(main.commands)


def assert_one_line(result: Result, code: int, words: str) -> None:
    """An expected failure: exit code, one line on standard error, no traceback."""
    assert result.exit_code == code, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert re.search(words, lines[0]), lines[0]


@pytest.fixture
def small_set(tmp_path: Path) -> Path:
    path = tmp_path / "set.parquet"
    pq.write_table(pq.read_table(str(SAMPLE)).slice(0, 40), path)
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert main.commands[command].help


def test_the_command_line_runs_as_installed() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("freqsan")), "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.fullmatch(r"freqsan, version \d+\.\d+\.\d+\n", done.stdout)


def test_clean_prints_counts_promise_and_report(small_set: Path, tmp_path: Path) -> None:
    result = run("clean", small_set, tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert re.search(r"read +40\n", result.stdout)
    assert "expected to be removed" in result.stdout
    assert f"{tmp_path / 'out'}/report/index.html" in result.stdout
    assert "40 images" in result.stderr  # progress, in plain lines where there is no terminal


def test_json_is_the_manifest_and_quiet_is_quiet(small_set: Path, tmp_path: Path) -> None:
    result = run("clean", small_set, tmp_path / "out", "--json", "--quiet")
    assert result.stderr == ""
    assert json.loads(result.stdout) == json.loads((tmp_path / "out/manifest.json").read_text())


def test_bad_input_is_one_line_and_exit_code_2(small_set: Path, tmp_path: Path) -> None:
    empty, out = tmp_path / "empty", tmp_path / "out"
    empty.mkdir()
    (tmp_path / "text.parquet").write_text("not Parquet")
    assert_one_line(run("clean", tmp_path / "missing", out), 2, "missing")
    assert_one_line(run("clean", empty, out), 2, "empty")
    assert_one_line(run("clean", tmp_path / "text.parquet", out), 2, "text.parquet")
    assert_one_line(run("clean", small_set, out, "--image-column", "picture"), 2, "picture")
    assert_one_line(run("clean", small_set, out, "--label-column", "class"), 2, "class")
    assert_one_line(run("clean", small_set, out, "--detector", empty), 2, "detector")
    assert_one_line(run("clean", small_set, out, "--detector", "no-such"), 2, "freqsan-small")
    assert_one_line(run("clean", small_set, out, "--max-clean-loss", 0), 2, "above 0")
    assert_one_line(run("clean", small_set, out, "--workers", 0), 2, "workers")
    assert_one_line(run("clean", small_set, out, "--trusted", empty), 2, "empty")
    assert_one_line(run("report", empty), 2, "no finished run")
    assert not out.exists()


def test_names_that_are_not_utf8_can_be_printed(small_set: Path, tmp_path: Path) -> None:
    picture = tmp_path / os.fsdecode(b"\xff.png")
    done = run("spectrum", small_set, "--output", picture)
    assert done.exit_code == 0
    assert "\\udcff.png: mean of" in done.stdout
    assert picture.exists()


def test_an_output_inside_the_input_is_refused(small_set: Path, tmp_path: Path) -> None:
    inside = small_set.parent / "out"
    assert_one_line(run("clean", small_set.parent, inside), 2, "lie within each other")
    assert not inside.exists()
    file = tmp_path / "file"
    file.write_text("")
    assert_one_line(run("clean", small_set, file), 2, "is a file")


def test_what_a_worker_finds_out_is_one_line_too(small_set: Path, tmp_path: Path) -> None:
    whole = small_set.read_bytes()
    middle = len(whole) // 3
    corrupt = tmp_path / "corrupt.parquet"
    corrupt.write_bytes(whole[:middle] + bytes(2000) + whole[middle + 2000 :])
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "clean", "--quiet", corrupt, tmp_path / "out"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 2)
    assert len(done.stderr.splitlines()) == (done.returncode > 0), done.stderr


def test_an_interrupt_that_python_raises_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.jobs.attacks.attacks", interrupted)
    assert_one_line(run("attacks"), 130, "interrupted; run the same command again")


def test_a_damaged_run_cannot_be_reported_on(small_set: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("clean", small_set, out, "--quiet").exit_code == 0
    (out / "report" / "summary.json").write_text("{}")
    assert_one_line(run("report", out), 1, "report/summary.json was altered")
    (out / "manifest.json").write_text("[1, 2]")
    assert_one_line(run("report", out), 2, "manifest.json cannot be read .* clean again")


def test_an_unknown_runner_is_bad_usage(small_set: Path, tmp_path: Path) -> None:
    result = run("clean", small_set, tmp_path / "out", "--runner", "Foo", "--quiet")
    assert_one_line(result, 2, "Beam refuses these options")


def test_a_forgotten_dash_dash_is_a_usage_error(small_set: Path, tmp_path: Path) -> None:
    result = run("clean", small_set, tmp_path / "out", "surplus")
    assert result.exit_code == 2
    assert "unexpected argument 'surplus'" in result.stderr


def test_detectors_lists_the_bundled_one_with_its_figures() -> None:
    cards = json.loads(run("detectors", "--json").stdout)
    assert "freqsan-small" in [card["name"] for card in cards]
    assert all("calibration" not in card for card in cards)
    assert "freqsan-small@" in run("detectors").stdout


def test_the_demo_finds_most_triggers_and_few_innocents(tmp_path: Path) -> None:
    result = run("demo", tmp_path / "demo", "--json", "--quiet")
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed["counts"]["read"] == 1000
    truth = printed["truth"]
    assert truth["triggers"] + truth["innocent"] == 1000
    assert truth["found"] >= 0.8 * truth["triggers"]
    assert truth["lost"] <= 0.03 * truth["innocent"]
