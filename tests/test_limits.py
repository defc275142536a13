"""Limits on a finished run: the output is whole, and the exit code says that it is over one."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from commands import run

from freqsan import InputError, PoisonedError, UnjudgedError, clean, features, scan, score
from pipelines.jobs.demo import SAMPLE


@pytest.fixture(scope="module")
def triggered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hundred images of the sample, some of which carry a trigger, and one broken one."""
    path = tmp_path_factory.mktemp("limits") / "set.parquet"
    rows = pq.read_table(str(SAMPLE)).slice(0, 200).to_pylist()
    rows[0]["image"]["bytes"] = b"not an image"
    schema = pq.read_schema(str(SAMPLE))
    pq.write_table(pq.read_table(str(SAMPLE)).from_pylist(rows, schema=schema), path)
    return path


@pytest.fixture(scope="module")
def scored(triggered: Path) -> Path:
    output = triggered.parent / "scored"
    score(triggered, output, quiet=True)
    return output


def counts_in(output: Path) -> dict[str, int]:
    return dict(json.loads((output / "manifest.json").read_text())["counts"])


@pytest.mark.parametrize("command", ["clean", "score"])
def test_more_poisoned_than_allowed_is_one_line_and_exit_code_3_each_time(
    triggered: Path, tmp_path: Path, command: str
) -> None:
    out = tmp_path / "out"
    for _ in range(2):  # the second time the run is finished, and found so
        result = run(command, triggered, out, "--fail-on-poisoned", 0.001, "--quiet")
        assert result.exit_code == 3, result.output
        counts = counts_in(out)
        judged = counts["clean"] + counts["poisoned"]
        assert counts["rejected"] == 1
        assert result.stderr.startswith(
            f"freqsan: {counts['poisoned']:,} of {judged:,} judged images are poisoned ("
        )
        assert len(result.stderr.splitlines()) == 1
    printed = run(command, triggered, out, "--fail-on-poisoned", 0, "--json", "--quiet")
    assert printed.exit_code == 3
    assert json.loads(printed.stdout) == json.loads((out / "manifest.json").read_text())


def test_the_limit_is_of_the_judged_images_and_is_not_over_where_it_is_met(
    triggered: Path, scored: Path
) -> None:
    counts = counts_in(scored)
    share = counts["poisoned"] / (counts["clean"] + counts["poisoned"])
    assert run("score", triggered, scored, "--fail-on-poisoned", share, "--quiet").exit_code == 0
    below = share - 1e-6
    assert run("score", triggered, scored, "--fail-on-poisoned", below, "--quiet").exit_code == 3


def test_unjudged_images_have_a_limit_of_the_users_own(triggered: Path, scored: Path) -> None:
    result = run("score", triggered, scored, "--max-unjudged", 0.004, "--quiet")
    assert result.exit_code == 1
    assert result.stderr == (
        "freqsan: only 199 of 200 images could be judged (1 unsupported format), and "
        "--max-unjudged is 0.004; the output is complete all the same, with the reason for each "
        "image: give --allow-unjudged to accept that\n"
    )
    assert run("score", triggered, scored, "--max-unjudged", 0.005, "--quiet").exit_code == 0
    # What could not be judged speaks against a run before what was found does.
    both = ("--max-unjudged", 0, "--fail-on-poisoned", 0, "--quiet")
    assert run("score", triggered, scored, *both).exit_code == 1


def test_python_raises_with_the_manifest(triggered: Path, scored: Path) -> None:
    with pytest.raises(PoisonedError) as poisoned:
        score(triggered, scored, fail_on_poisoned=0.0, quiet=True)
    with pytest.raises(UnjudgedError) as unjudged:
        score(triggered, scored, max_unjudged=0.0, quiet=True)
    manifest = score(triggered, scored, max_unjudged=1.0, fail_on_poisoned=1.0, quiet=True)
    assert poisoned.value.manifest == unjudged.value.manifest == manifest


@pytest.mark.parametrize("job", [clean, score, scan, features])
def test_what_is_no_limit_is_refused_before_anything_is_done(
    job: Callable[..., object], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"^max unjudged: .* from 0 to 1, got 5; 0.05 is 5 %$"):
        job(str(SAMPLE), out, max_unjudged=5)
    with pytest.raises(InputError, match="give one of them"):
        job(str(SAMPLE), out, max_unjudged=0.1, allow_unjudged=True)
    if job is not features:
        with pytest.raises(InputError, match=r"^fail on poisoned: .* got -1$"):
            job(str(SAMPLE), out, fail_on_poisoned=-1)
    assert not out.exists()
