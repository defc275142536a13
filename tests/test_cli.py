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
from PIL import Image
from schemas import check_printed

from freqsan import InputError, RunError, clean
from pipelines.cli import SECTIONS, main
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
    assert "expected to be innocent" in result.stdout
    assert f"{tmp_path / 'out'}/report/index.html" in result.stdout
    assert "40 images" in result.stderr  # progress, in plain lines where there is no terminal


def test_json_is_the_manifest_and_quiet_is_quiet(small_set: Path, tmp_path: Path) -> None:
    result = run("clean", small_set, tmp_path / "out", "--json", "--quiet")
    assert result.stderr == ""
    assert json.loads(result.stdout) == json.loads((tmp_path / "out/manifest.json").read_text())


@pytest.fixture
def mostly_large(small_set: Path, tmp_path: Path) -> Path:
    """A folder of one image that can be judged, one of too many pixels and one that is text."""
    folder = tmp_path / "photos"
    folder.mkdir()
    good = pq.read_table(small_set)["image"][0].as_py()["bytes"]
    (folder / "good.png").write_bytes(good)
    Image.new("1", (8000, 9000)).save(folder / "large.png")
    (folder / "text.png").write_text("not an image")
    return folder


FEW = "1 of 3 images could be judged (1 too many pixels, 1 unsupported format)"


@pytest.mark.parametrize("command", ["clean", "score", "features"])
def test_a_run_that_judges_less_than_half_says_so_first_and_fails(
    mostly_large: Path, tmp_path: Path, command: str
) -> None:
    out = tmp_path / "out"
    for _ in range(2):  # the second time there is nothing to do, and still not enough judged
        result = run(command, mostly_large, out)
        assert result.exit_code == 1, result.output
        assert result.stderr.splitlines()[-1].startswith(f"freqsan: only {FEW}; the output is")
        assert result.stdout.strip().splitlines()[0] == f"warning: Only {FEW}."
    assert (out / "manifest.json").exists()
    printed = run(command, mostly_large, out, "--json", "--quiet")
    assert printed.exit_code == 1
    assert json.loads(printed.stdout) == json.loads((out / "manifest.json").read_text())
    assert len(printed.stderr.splitlines()) == 1
    # To accept that is no other run: its result is the same.
    accepted = run(command, mostly_large, out, "--allow-unjudged", "--quiet")
    assert (accepted.exit_code, accepted.stderr) == (0, "")


def test_images_that_cannot_be_judged_are_told_before_the_work_begins(
    mostly_large: Path, small_set: Path, tmp_path: Path
) -> None:
    lines = run("clean", mostly_large, tmp_path / "out").stderr.splitlines()
    assert lines[0] == (
        "warning: 2 of the first 3 images cannot be judged and will be rejected (1 too many "
        "pixels, 1 unsupported format), such as large.png: too many pixels: 8000x9000, the limit "
        "is 50,000,000"
    )
    (mostly_large / "good.png").unlink()
    lines = run("score", mostly_large, tmp_path / "none").stderr.splitlines()
    assert "all of the first 2 images cannot be judged and will be rejected (" in lines[0]
    assert "cannot be judged" not in run("score", small_set, tmp_path / "good").stderr


def test_python_raises_where_the_command_fails(mostly_large: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"only 1 of 3 images could be judged") as raised:
        clean(mostly_large, tmp_path / "out", quiet=True)
    manifest = clean(mostly_large, tmp_path / "out", allow_unjudged=True, quiet=True)
    assert raised.value.manifest == manifest
    page = (tmp_path / "out" / "report" / "index.html").read_text()
    assert "<h1>Only 1 of 3 images could be judged; none of them removed.</h1>" in page
    assert f"Only {FEW}." in (tmp_path / "out" / "README.md").read_text()


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
    run("score", small_set, out)
    assert_one_line(run("report", out), 2, "freqsan score, which has no report")


def test_what_is_no_finished_run_is_told_as_what_it_is(small_set: Path, tmp_path: Path) -> None:
    asked = "give the OUTPUT of a finished freqsan clean$"
    assert_one_line(run("report", tmp_path / "none"), 2, f"/none does not exist; {asked}")
    assert_one_line(run("report", small_set), 2, f"{small_set} is a file; {asked}")
    assert_one_line(run("report", small_set.parent), 2, "no finished run .*; give the OUTPUT of")
    unfinished = tmp_path / "out"
    (unfinished / ".freqsan").mkdir(parents=True)
    (unfinished / ".freqsan" / "plan.json").write_text("{}")
    assert_one_line(run("report", unfinished), 2, "is not finished; give its command again to go")


def test_a_second_run_says_that_nothing_is_to_do_or_what_differs(
    small_set: Path, tmp_path: Path
) -> None:
    out, other = tmp_path / "out", tmp_path / "other.parquet"
    other.write_bytes(small_set.read_bytes())
    run("ingest", small_set, out)
    assert run("ingest", small_set, out).stderr == (
        f"{out} already holds this very run, finished, and its files are as they were written: "
        "nothing to do (--overwrite does it again)\n"
    )
    refused = run("ingest", other, out)
    words = f"differs in INPUT (it was {small_set}); give --overwrite to replace it"
    assert_one_line(refused, 2, re.escape(words))


def test_names_that_are_not_utf8_can_be_printed(small_set: Path, tmp_path: Path) -> None:
    picture = tmp_path / os.fsdecode(b"\xff.png")
    done = run("spectrum", small_set, "--output", picture)
    assert done.exit_code == 0
    assert "\\udcff.png: mean of" in done.stdout
    assert picture.exists()


#: In a name: a line of ours, an escape sequence, one in a single character, letters from right to
#: left, and other marks that are not seen.
FORGED = "\nclean      9,999  all\x1b[31mred\x9b31m\u202egnp.\u2066\x7f\u2028"


def test_names_in_the_data_cannot_forge_what_is_printed(mostly_large: Path, tmp_path: Path) -> None:
    folder, out = mostly_large / f"a{FORGED}", tmp_path / "out"
    folder.mkdir()
    (mostly_large / "large.png").rename(folder / f"large{FORGED}.png")
    (folder / f"link{FORGED}.png").symlink_to("/nowhere")
    os.mkfifo(folder / f"pipe{FORGED}.png")
    shown = ascii(FORGED)[1:-1]
    for command in ("clean", "ingest"):
        result = run(command, mostly_large, out / command)
        if command != "ingest":
            assert f"such as a{shown}/large{shown}.png: too many pixels" in result.stderr
        assert f"note: left out 1 named pipe: a{shown}/pipe{shown}.png\n" in result.stdout
        printed = result.stdout + result.stderr
        assert all(line.isprintable() for line in printed.split("\n"))
        assert len(re.findall("^clean ", printed, re.MULTILINE)) == (command == "clean")
    printed = run("clean", mostly_large, out / "clean", "--json", "--quiet").stdout
    assert json.loads(printed) == json.loads((out / "clean" / "manifest.json").read_text())
    assert all(line.isprintable() for line in printed.split("\n"))
    assert_one_line(run("clean", f"no{FORGED}", out), 2, re.escape(f"no{shown}: no "))
    assert_one_line(run("clean", mostly_large, out, "--split", FORGED), 2, "no split")
    with pytest.raises(InputError, match=re.escape(f"no{shown}: no ")):
        clean(f"no{FORGED}", out)
    assert f"argument 'no{shown}'" in run("clean", "a", "b", f"no{FORGED}").stderr.replace(
        "\\\\", "\\"
    )


def test_a_bug_is_one_line_and_a_printable_traceback(
    monkeypatch: pytest.MonkeyPatch, small_set: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise LookupError("odd \x1b[31m\nclean  9")

    monkeypatch.setattr("pipelines.jobs.clean.clean", fail)
    line = r"^freqsan: unexpected LookupError: odd \\x1b\[31m\\nclean  9; this may be a bug"
    assert_one_line(run("clean", small_set, "out"), 1, line)
    traced = run("--debug", "clean", small_set, "out")
    assert traced.exit_code == 1
    assert "Traceback" in traced.stderr
    assert "in fail" in traced.stderr
    assert all(line.isprintable() for line in traced.stderr.split("\n"))


def test_an_output_inside_the_input_is_refused(small_set: Path, tmp_path: Path) -> None:
    inside = small_set.parent / "out"
    assert_one_line(run("clean", small_set.parent, inside), 2, "lie within each other")
    assert not inside.exists()
    (tmp_path / "dead").symlink_to("nowhere")
    assert_one_line(
        run("clean", small_set, tmp_path / "dead"),
        2,
        "dead is a broken link; OUTPUT must be a directory",
    )
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
    assert "unexpected argument 'surplus'; INPUT is one argument, so a glob needs quotes" in (
        result.stderr
    )


def test_detectors_lists_the_bundled_one_with_its_figures() -> None:
    cards = json.loads(run("detectors", "--json").stdout)
    assert "freqsan-small" in [card["name"] for card in cards]
    assert all("calibration" not in card for card in cards)
    listed = run("detectors").stdout
    assert "freqsan-small@" in listed
    measured = {card["name"]: card["measured"]["rows"] for card in cards}["freqsan-small"]
    of_badnets = [
        f"{100 * row['bdr']['0.01']:.0f}"
        for row in measured
        if (row["attack"], row["history"]) == ("badnets", "PNG")
    ]
    (line,) = [line for line in listed.splitlines() if line.startswith("| badnets ")]
    assert [cell.strip() for cell in line.strip("|").split("|")][1:] == of_badnets


def test_help_shows_each_command_once_and_whole() -> None:
    lines = run("--help").stdout.partition("Options:")[2].splitlines()
    shown = [line for line in lines if line.startswith("  ") and line.split()[0].isalpha()]
    assert sorted(line.split()[0] for line in shown) == sorted(main.commands)
    assert not [line for line in shown if line.endswith("...")]
    assert {name for names in SECTIONS.values() for name in names} >= set(main.commands)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("train", "It needs 2,500 images, or 1,200 of more than 32 px, and about half an hour"),
        ("train", "--epochs 1 tries it out in a minute or two"),
        ("tune", "It needs 99 images"),
        ("prove", "It needs 150 images, and half a minute of two idle cores for each classifier"),
        ("evaluate", "A cell of 2,000 images of 32 px takes ten seconds of a core"),
        ("craft", "Smooth needs 15 seconds of a core on 2,000 images of 32 px"),
    ],
)
def test_a_long_command_says_how_much_it_needs(command: str, words: str) -> None:
    assert words in " ".join(run(command, "--help").stdout.split())


def test_a_set_without_a_finding_is_told_so_first_and_how_to_go_on(
    small_set: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    lines = run("clean", small_set, out, "--quiet").stdout.strip().splitlines()
    assert lines[0] == "No image of 40 removed."
    assert "which takes 40 different images of a class." in lines[2]
    assert lines[-2:] == [
        f"report    {out}/report/index.html  (open it in a browser)",
        f'train on  load_dataset("{out}", split="clean")',
    ]
    assert "poisoned          0" in lines  # and no files, as there are none to look at
    # Of a set that is too small the run tells what that comes to, and nothing of other sets.
    (words,) = [line for line in lines if line.startswith("All 40 judged images are ")]
    assert not [line for line in lines if line.startswith("Each kind of image")]
    assert words.endswith("--trusted with clean images from the same source.")


def test_the_demo_finds_triggers_of_each_kind_and_few_innocents(tmp_path: Path) -> None:
    result = run("demo", tmp_path / "demo", "--json", "--quiet")
    assert result.exit_code == 0, result.output
    printed = check_printed("demo", result.stdout)
    assert printed["counts"]["read"] == 1000
    truth = printed["truth"]
    assert truth["triggers"] + truth["innocent"] == 1000
    found = {of["attack"]: of["found"] / of["images"] for of in truth["planted"]}
    assert found["blend"] >= 0.9  # by the scan
    assert min(found["badnets"], found["trojan_watermark"]) >= 0.6  # by the detector
    assert truth["found"] == sum(of["found"] for of in truth["planted"]) < truth["triggers"]
    assert truth["lost"] <= 0.03 * truth["innocent"]
