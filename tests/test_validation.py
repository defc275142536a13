"""What the suites let pass, and above all what they do not."""

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import PATIENCE
from great_expectations.core.expectation_validation_result import (
    expectationSuiteValidationResultSchema,
)
from hostile import hostile_folder, hostile_variables
from summaries import summary_of, tally_of

from pipelines.report import buckets, loading, validation
from pipelines.report.results import Validation
from pipelines.report.validation import Validator, check_valid, validate_run
from pipelines.runs import layout
from pipelines.runs.store import Store
from sanitizer.errors import InputError, RunError
from sanitizer.policy import Decision
from sanitizer.records import (
    CLEAN,
    FREQSAN,
    POISONED,
    REJECT_SCHEMA,
    REJECTED,
    REVIEW,
    VERDICTS,
    ScoreRow,
    score_schema,
    to_batch,
)
from sanitizer.summary import Moved, ReviewFacts, Summary, Tally

LIMIT = 0.01


def rows_of(shard: int, verdicts: list[str], labels: list[Any]) -> list[ScoreRow]:
    p_values = {CLEAN: 0.5, POISONED: LIMIT, REJECTED: None}
    return [
        ScoreRow(
            sample_id=f"{shard}/{i:03d}.png",
            source="train",
            label=label,
            width=32,
            height=32,
            format="PNG",
            content_sha256="0" * 64,
            score=None if verdict == REJECTED else 0.25,
            p_value=p_values[verdict],
            scan_log_odds=None,
            finding=None,
            verdict=verdict,
            reason="",
            detector="d@0",
        )
        for i, (verdict, label) in enumerate(zip(verdicts, labels, strict=True))
    ]


class Run:
    """A finished run whose files can be tampered with."""

    def __init__(self, path: Path, shards: list[list[ScoreRow]], label_type: pa.DataType):
        self.path, self.rows = path, [len(rows) for rows in shards]
        self.store = Store.at(path)
        self.summary = summary_of(tally_of([row for rows in shards for row in rows], label_type))
        image = pa.schema([("image", pa.binary()), ("sample_id", pa.string())])
        for k, rows in enumerate(shards):
            scores = to_batch(rows, score_schema(label_type))
            self.write("scores/part", k, pa.Table.from_batches([scores]))
            for verdict in VERDICTS:
                ids = [row.sample_id for row in rows if row.verdict == verdict]
                rejected = verdict == REJECTED
                schema = REJECT_SCHEMA if rejected else image
                empty = {name: [""] * len(ids) for name in schema.names}
                table = pa.table(empty | {"sample_id": ids}, schema=schema)
                self.write("rejected/part" if rejected else f"data/{verdict}", k, table)

    def file(self, prefix: str, shard: int) -> Path:
        return self.path / f"{prefix}-{shard:05d}-of-{len(self.rows):05d}.parquet"

    def write(self, prefix: str, shard: int, table: pa.Table) -> None:
        self.file(prefix, shard).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, self.file(prefix, shard))

    def change_scores(self, shard: int, change: Callable[[Any], None]) -> None:
        """Let ``change`` edit the score rows of a shard, a list of dicts, in place."""
        table = pq.read_table(self.file("scores/part", shard))
        rows = table.to_pylist()
        change(rows)
        schema = pa.schema([f.with_nullable(True) for f in table.schema])
        self.write("scores/part", shard, pa.Table.from_pylist(rows, schema=schema))

    def validate(self) -> Validation:
        return validate_run(self.store, self.rows, self.summary)

    def failures(self) -> list[str]:
        """One line for each expectation that is not met."""
        result = self.validate()
        assert result.success == (not result.failures)
        return result.failures

    def written(self) -> Any:
        return json.loads((self.path / "report" / "validation.json").read_text())


@pytest.fixture
def run(tmp_path: Path) -> Run:
    verdicts = [CLEAN] * 6 + [POISONED] * 2 + [REJECTED]
    shards = [rows_of(k, verdicts, [0, 1, 2] * 3) for k in range(3)]
    return Run(tmp_path, shards, pa.int64())


def assert_fails(run: Run, suite: str, words: str) -> str:
    mine = [line for line in run.failures() if line.startswith(f"{suite}: ") and words in line]
    assert mine, f"nothing on {words!r} of {suite!r} in {run.failures()}"
    return mine[0]


def test_a_good_run_passes_and_says_what_was_checked(run: Run) -> None:
    assert run.failures() == []
    written = run.written()
    assert written["success"]
    assert written["statistics"]["unsuccessful_validations"] == 0
    suites = {one["suite_name"]: one for one in written["validation_results"]}
    assert suites.keys() == {"samples", *VERDICTS, "removed", "files", "counts", "classes"}
    # Great Expectations reads its own form back.
    for suite in suites.values():
        read = expectationSuiteValidationResultSchema.load(suite)
        assert read["success"]
        assert len(read["results"]) == suite["statistics"]["evaluated_expectations"]
    checked = Validation.from_json(written).expectations
    assert all(one.success and one.unexpected == 0 for one in checked)
    by_suite = {one.suite: one.rows for one in checked}
    assert [by_suite[v] for v in (*VERDICTS, "removed", "samples")] == [18, 6, 3, 6, 27]


def test_what_was_observed_is_told_in_words(run: Run) -> None:
    run.change_scores(0, lambda rows: rows[7].update(width=0, format=None))
    by_column = {one.columns[0]: one for one in run.validate().of_suite("removed")}
    assert by_column["width"].observed == "1 of 6 do not"
    assert by_column["height"].observed == "all 6"
    assert by_column["format"].observed == "all 5 that have one"
    assert by_column["verdict_before"].observed == "none has one"


def reviewed(row: dict[str, Any], verdict: str) -> None:
    """Let a review decide."""
    row.update(decided_by=REVIEW, verdict_before=row["verdict"], verdict=verdict)


def test_a_review_may_decide_against_the_score_and_freqsan_may_not(run: Run) -> None:
    moved = [Moved("0", 0.25, CLEAN, POISONED)]
    run.summary = run.summary.reviewed(moved, ReviewFacts(1, 0, 1, "2026-01-01"))
    run.change_scores(0, lambda rows: reviewed(rows[0], POISONED))
    assert all(line.startswith("files: ") for line in run.failures())  # the splits are as before
    run.change_scores(0, lambda rows: rows[0].update(verdict_before=POISONED))
    assert_fails(run, "poisoned", "at most 0.01")
    run.change_scores(0, lambda rows: rows[0].update(verdict_before=None))
    assert_fails(run, "samples", "freqsan's verdict is kept")
    run.change_scores(0, lambda rows: rows[0].update(decided_by="somebody"))
    assert_fails(run, "samples", "freqsan or a review has decided")


def test_score_rows_of_another_version_are_one_line(run: Run) -> None:
    table = pq.read_table(run.file("scores/part", 1)).drop_columns(["decided_by"])
    run.write("scores/part", 1, table)
    with pytest.raises(InputError, match=r"part-00001-.* no column decided_by: another version"):
        run.validate()


@pytest.mark.parametrize("only", VERDICTS)
def test_a_run_of_one_verdict_passes(tmp_path: Path, only: str) -> None:
    run = Run(tmp_path, [rows_of(0, [only] * 5, [0] * 5), []], pa.int64())
    assert run.failures() == []


def test_an_empty_run_passes(tmp_path: Path) -> None:
    assert Run(tmp_path, [[]], pa.int64()).failures() == []


@pytest.mark.parametrize(
    ("label_type", "labels"),
    [
        (pa.int64(), [None, None]),
        (pa.null(), [None, None]),
        (pa.string(), ["cat", None]),
        (pa.float64(), [1.5, float("nan")]),
        (pa.bool_(), [True, False]),
        (pa.dictionary(pa.int32(), pa.string()), ["cat", None]),
        (pa.list_(pa.int64()), [[1, 2], []]),
        (pa.struct([("a", pa.int64())]), [{"a": 1}, None]),
    ],
)
def test_labels_of_any_type_are_counted(tmp_path: Path, label_type, labels) -> None:
    shards = [rows_of(0, [CLEAN, POISONED], labels)]
    assert Run(tmp_path, shards, label_type).failures() == []


def test_results_do_not_depend_on_the_buckets(run: Run, monkeypatch) -> None:
    def result() -> Any:
        run.validate()
        return run.written()

    run.change_scores(1, lambda rows: rows[0].update(score=7.0))
    one_bucket = result()
    monkeypatch.setattr(buckets, "BUCKET_ROWS", 4)
    assert result() == one_bucket
    monkeypatch.setattr(buckets, "MAX_BUCKETS", 2)
    assert result() == one_bucket


def test_nothing_but_results_is_left_behind(run: Run, monkeypatch, tmp_path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    before = {f for f in run.path.rglob("*") if f.is_file()}
    run.validate()
    new = {f.relative_to(run.path).as_posix() for f in run.path.rglob("*") if f.is_file()} - {
        f.relative_to(run.path).as_posix() for f in before
    }
    assert new == {layout.VALIDATION}
    assert list(temporary.iterdir()) == []


def test_what_was_written_is_what_is_returned(run: Run) -> None:
    run.change_scores(1, lambda rows: rows[0].update(score=7.0))
    result = run.validate()
    assert not result.success
    assert Validation.from_json(run.written()) == result


def test_a_run_that_failed_is_refused_with_every_reason(run: Run) -> None:
    check_valid(run.store, run.validate())
    run.change_scores(0, lambda rows: rows[0].update(score=7.0, label=2))
    with pytest.raises(RunError, match=r"scores are in .*; .*were judged clean.*validation\.json"):
        check_valid(run.store, run.validate())


def test_a_run_in_another_file_system_is_validated(run: Run) -> None:
    remote = Store.at(f"memory://{uuid.uuid4().hex}/out")
    for file in run.path.rglob("*.parquet"):
        remote.write(file.relative_to(run.path).as_posix(), file.read_bytes())
    assert validate_run(remote, run.rows, run.summary) == run.validate()
    assert remote.read_json(layout.VALIDATION) == run.written()
    remote.remove("rejected/part-00001-of-00003.parquet")
    assert not validate_run(remote, run.rows, run.summary).success


def test_a_process_of_its_own_comes_to_the_same_result(run: Run) -> None:
    run.change_scores(0, lambda rows: rows[0].update(score=7.0))
    with Validator() as validator:
        assert validator.validate(run.store, run.rows, run.summary) == run.validate()


def test_what_the_suites_do_without_is_loaded_only_when_it_is_used(run: Run) -> None:
    code = """
import json, sys, types
from pipelines.report.loading import SELDOM_USED, load_great_expectations
load_great_expectations()
from pipelines.report.validation import validate_run
from pipelines.runs.store import Store
from sanitizer.summary import Summary
address, rows, summary = json.loads(sys.argv[1])
validation = validate_run(Store(address), rows, Summary.from_json(summary))
waiting = [name for name in SELDOM_USED if type(sys.modules[name]) is not types.ModuleType]
from scipy import stats
print(json.dumps([waiting, stats.norm.cdf(0), validation.json]))
"""
    run.change_scores(0, lambda rows: rows[0].update(score=7.0))
    order = json.dumps([run.store.address, run.rows, run.summary.to_json()])
    command = [sys.executable, "-c", code, order]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [
        list(loading.SELDOM_USED),
        0.5,
        run.validate().json,
    ]


def test_a_process_of_its_own_validates_an_object_store(run: Run, s3_bucket: str) -> None:
    store = Store.at(f"{s3_bucket}/{uuid.uuid4().hex}/out put")
    for file in run.path.rglob("*.parquet"):
        store.write(file.relative_to(run.path).as_posix(), file.read_bytes())
    with Validator() as validator:
        assert validator.validate(store, run.rows, run.summary) == run.validate()
    assert store.read_json(layout.VALIDATION) == run.written()


def test_a_process_without_an_order_ends_with_its_block() -> None:
    with Validator() as validator:
        assert validator._process.poll() is None
    assert validator._process.returncode is not None


def test_nothing_of_a_stranger_has_a_part_in_the_validation(
    run: Run, tmp_path_factory, monkeypatch
) -> None:
    folder = tmp_path_factory.mktemp("stranger") / "images"
    executed = hostile_folder(folder)
    monkeypatch.chdir(folder)
    for name, value in hostile_variables(folder).items():
        monkeypatch.setenv(name, value)
    for entry in (str(folder), "lib", ""):  # as a notebook has it
        monkeypatch.syspath_prepend(entry)
    with Validator() as validator:
        # Order and answer are for the owner alone, and what is printed is no answer.
        assert stat.S_IMODE(Path(validator._folder.name).stat().st_mode) == 0o700
        assert validator._process.stdout is None
        assert validator.validate(run.store, run.rows, run.summary).success
    assert not executed.exists(), executed.read_text()


def failure_of(run: Run, spoil: Callable[[Validator, Path], object]) -> str:
    """What is said of a validation that is spoilt before it is given its order."""
    with Validator() as validator:
        folder = Path(validator._folder.name)
        spoil(validator, folder)
        with pytest.raises(RunError) as raised:
            validator.validate(run.store, run.rows, run.summary)
    assert not folder.exists()
    return str(raised.value)


@pytest.mark.parametrize("file", ["order.json", "answer.json"])
def test_a_full_temporary_disk_is_one_line(run: Run, file: str) -> None:
    words = failure_of(run, lambda _, folder: (folder / file).symlink_to("/dev/full"))
    assert "No space left on device" in words
    assert f"writes to {tempfile.gettempdir()} and {run.path}, failed" in words
    assert "run the same command again" in words
    assert len(words.splitlines()) == 1


def test_an_output_that_cannot_be_written_to_is_one_line(run: Run) -> None:
    (run.path / "report").write_bytes(b"in the way of report/validation.json")
    assert str(run.path / "report") in failure_of(run, lambda *_: None)


def test_a_damaged_file_is_one_line(run: Run) -> None:
    run.file("scores/part", 1).write_bytes(b"PAR1")
    assert "ArrowInvalid: Parquet file size is 4 bytes" in failure_of(run, lambda *_: None)


def test_a_validation_that_was_killed_is_one_line(run: Run) -> None:
    def kill(validator: Validator, folder: Path) -> None:
        validator._process.kill()
        validator._process.wait()

    words = failure_of(run, kill)
    assert "ended by signal 9 (Killed), which may be for want of memory" in words
    assert "run the same command again" in words


def test_a_validation_that_hangs_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "SILENT_SECONDS", 0.5)

    def stop(validator: Validator, folder: Path) -> None:
        os.kill(validator._process.pid, signal.SIGSTOP)

    words = failure_of(run, stop)
    assert "the validation was silent for" in words
    assert "run the same command again" in words


def test_a_validation_at_work_gives_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "BEAT_SECONDS", 0.01)
    heard, signs = os.pipe()
    beating = threading.Thread(target=validation._beat, args=(signs,), daemon=True)
    beating.start()
    assert [os.read(heard, 1) for _ in range(3)] == [b"."] * 3
    os.close(heard)
    beating.join(PATIENCE)
    assert not beating.is_alive()
    os.close(signs)


def test_a_bug_in_the_validation_keeps_its_traceback(run: Run) -> None:
    with (
        Validator() as validator,
        pytest.raises(RuntimeError, match="the validation ended with 1") as raised,
    ):
        validator.validate(run.store, ["no number"], run.summary)  # type: ignore[list-item]
    assert "TypeError" in raised.value.__notes__[0]


def test_a_program_without_a_python_is_told_so_at_once(monkeypatch) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(RunError, match="use the freqsan command"):
        Validator()
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(RunError, match=r"cannot be started.*/no/such/python"):
        Validator()


@pytest.mark.parametrize("order", ["", "validator._process.stdin.write(bytes(1))"])
def test_a_process_ends_with_the_one_that_started_it_and_leaves_nothing(
    tmp_path: Path, order: str
) -> None:
    code = f"""
import os, signal
from pipelines.report.validation import Validator
validator = Validator()
os.mkfifo(validator._folder.name + "/order.json")  # an order that never ends
print(validator._process.pid, validator._folder.name, flush=True)
{order}
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    process, folder = done.stdout.split()
    assert Path(folder).parent == tmp_path
    deadline = time.monotonic() + PATIENCE
    while Path(folder).exists():
        assert time.monotonic() < deadline, f"process {process} goes on"
        time.sleep(0.01)


def test_an_id_that_occurs_in_two_shards_is_noticed_across_buckets(run: Run, monkeypatch) -> None:
    monkeypatch.setattr(buckets, "BUCKET_ROWS", 4)
    run.change_scores(2, lambda rows: rows[0].update(sample_id="0/003.png"))
    assert '{"sample_id": "0/003.png"}' in assert_fails(run, "samples", "no id occurs twice")


def test_an_id_that_is_both_clean_and_poisoned_is_noticed(run: Run) -> None:
    run.change_scores(0, lambda rows: rows[0].update(sample_id=rows[7]["sample_id"]))
    assert_fails(run, "samples", "no id occurs twice")


@pytest.mark.parametrize("score", [float("nan"), None])
@pytest.mark.parametrize(("row", "suite"), [(0, "clean"), (7, "poisoned")])
def test_a_score_that_is_no_number_is_noticed(run: Run, score, row: int, suite: str) -> None:
    run.change_scores(0, lambda rows: rows[row].update(score=score))
    assert f"0/{row:03d}.png" in assert_fails(run, suite, "has a score or was scanned")


@pytest.mark.parametrize("score", [-0.1, 1.1, float("inf")])
def test_a_score_out_of_range_is_noticed(run: Run, score: float) -> None:
    run.change_scores(0, lambda rows: rows[0].update(score=score))
    assert "0/000.png" in assert_fails(run, "clean", "scores are in [0, 1]")
    assert run.written()  # is JSON


@pytest.mark.parametrize("p_value", [0.0, LIMIT, 1.5])
def test_a_clean_verdict_against_the_policy_is_noticed(run: Run, p_value: float) -> None:
    run.change_scores(0, lambda rows: rows[0].update(p_value=p_value))
    assert_fails(run, "clean", "p-value is above 0.01")


@pytest.mark.parametrize(
    ("p_value", "words"), [(0.0, "p-values are above 0"), (0.010001, "at most 0.01")]
)
def test_a_poisoned_verdict_against_the_policy_is_noticed(
    run: Run, p_value: float, words: str
) -> None:
    run.change_scores(0, lambda rows: rows[7].update(p_value=p_value))
    assert_fails(run, "poisoned", words)


def test_a_sample_may_be_poisoned_for_a_trigger_that_the_scan_found_alone(run: Run) -> None:
    scan = {"scan_log_odds": 3.0, "finding": "finding-1"}
    run.change_scores(0, lambda rows: rows[7].update(score=0.1, p_value=0.9, **scan))
    assert run.failures() == []
    run.change_scores(0, lambda rows: rows[7].update(scan_log_odds=-3.0))
    assert_fails(run, "poisoned", "more likely carries a trigger")


def test_a_clean_sample_that_more_likely_carries_a_trigger_is_noticed(run: Run) -> None:
    run.change_scores(0, lambda rows: rows[0].update(scan_log_odds=-0.1))
    assert run.failures() == []
    run.change_scores(0, lambda rows: rows[0].update(scan_log_odds=0.1))
    assert_fails(run, "clean", "carries no trigger that was found")


def test_a_sample_without_a_score_may_be_judged_by_the_scan_alone(run: Run) -> None:
    run.change_scores(0, lambda rows: rows[0].update(score=None, p_value=None, scan_log_odds=-9.0))
    assert run.failures() == []


def test_the_limit_is_that_of_the_decision(run: Run) -> None:
    decision = Decision("fdr", 0.05, 24, 6, 0.3, "")
    run.summary = replace(run.summary, decision=decision)
    assert run.failures() == []
    run.change_scores(0, lambda rows: rows[0].update(p_value=0.04))
    assert_fails(run, "clean", "p-value is above 0.05")


def test_where_nothing_is_called_poisoned_a_removed_sample_is_a_failure(run: Run) -> None:
    run.summary = replace(run.summary, decision=Decision("fdr", 0.0, 24, 0, 0.0, ""))
    assert len(run.failures()) == 1
    assert_fails(run, "poisoned", "at most 0")


def test_a_rejected_sample_with_a_score_is_noticed(run: Run) -> None:
    run.change_scores(0, lambda rows: rows[8].update(score=0.5))
    assert_fails(run, "rejected", "no rejected sample has a score")


@pytest.mark.parametrize("verdict", ["suspicious", None])
def test_a_verdict_of_another_name_is_noticed(run: Run, verdict) -> None:
    run.change_scores(0, lambda rows: rows[0].update(verdict=verdict))
    assert_fails(run, "samples", "verdict")
    assert_fails(run, "counts", "add up")


def test_a_missing_score_row_is_noticed(run: Run) -> None:
    run.change_scores(0, lambda rows: rows.pop())
    assert "scores/part-00000-of-00003" in assert_fails(run, "files", "as many rows")
    assert_fails(run, "counts", "add up")
    assert_fails(run, "classes", "were read")


def test_a_missing_id_is_noticed(run: Run) -> None:
    run.change_scores(0, lambda rows: rows[0].update(sample_id=None))
    assert_fails(run, "samples", "has an id")


def test_a_changed_label_is_noticed(run: Run) -> None:
    run.change_scores(0, lambda rows: rows[0].update(label=2))
    assert_fails(run, "classes", "were judged clean")


@pytest.mark.parametrize("prefix", ["data/clean", "data/poisoned", "rejected/part", "scores/part"])
def test_a_missing_file_is_noticed(run: Run, prefix: str) -> None:
    run.file(prefix, 1).unlink()
    failure = assert_fails(run, "files", "each file is there")
    assert f'"{prefix}-00001-of-00003.parquet", "found": -1' in failure


def test_a_split_with_a_row_too_many_is_noticed(run: Run) -> None:
    table = pq.read_table(run.file("data/clean", 1))
    run.write("data/clean", 1, pa.concat_tables([table, table.slice(0, 1)]))
    failure = assert_fails(run, "files", "as many rows")
    assert '"data/clean-00001-of-00003.parquet", "found": 7' in failure


def test_a_stale_or_broken_file_is_noticed(run: Run) -> None:
    (run.path / "data" / "clean-00000-of-00009.parquet").write_bytes(b"PAR1")
    assert "clean-00000-of-00009" in assert_fails(run, "files", "each file is there")


def test_what_cannot_be_evaluated_fails(run: Run, monkeypatch) -> None:
    table = validation.count_table
    monkeypatch.setattr(validation, "count_table", lambda *a: table(*a).drop(columns="found"))
    assert_fails(run, "counts", "could not be evaluated")


def test_memory_stays_bounded(tmp_path: Path) -> None:
    """200,000 rows cost no more than 20,000, but for what Arrow keeps around."""
    code = f"""
import sys, resource
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1])]!r}
from pathlib import Path
from test_validation import write_large_run
from pipelines.report import buckets
from pipelines.report.validation import validate_run
from pipelines.runs.store import Store
buckets.BUCKET_ROWS = 20_000
run, rows = Path({str(tmp_path)!r}) / sys.argv[1], int(sys.argv[1])
summary = write_large_run(run, rows)
assert validate_run(Store.at(run), [rows], summary).success
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""

    def peak_mb(rows: int) -> int:
        done = subprocess.run(
            [sys.executable, "-c", code, str(rows)], capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        return int(done.stdout.split()[-1])

    assert peak_mb(200_000) < peak_mb(20_000) + 60  # all in one bucket cost 106 more


def write_large_run(path: Path, rows: int) -> Summary:
    """A run of clean samples in one shard; returns its summary."""
    schema = score_schema(pa.int64())
    for prefix in ("scores/part", "data/clean", "data/poisoned", "rejected/part"):
        (path / prefix).parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(path / f"{prefix}-00000-of-00001.parquet", schema) as writer:
            for start in range(0, rows if prefix in ("scores/part", "data/clean") else 0, 50_000):
                n = min(50_000, rows - start)
                ids = [f"train/images/{i:09d}.png" for i in range(start, start + n)]
                numbers = np.random.default_rng(start)
                columns = {
                    name: pa.array(["x"] * n) if field.type == pa.string() else pa.nulls(n)
                    for name, field in zip(schema.names, schema, strict=True)
                }
                columns |= {
                    "sample_id": pa.array(ids),
                    "label": pa.array([0] * n),
                    "score": pa.array(numbers.random(n)),
                    "p_value": pa.array(numbers.uniform(0.02, 1, n)),
                    "verdict": pa.array([CLEAN] * n),
                    "decided_by": pa.array([FREQSAN] * n),
                    "verdict_before": pa.nulls(n),
                }
                writer.write_table(pa.table(columns).cast(schema))
    return summary_of(Tally({CLEAN: rows}, {}, {"0": {CLEAN: rows}}, {}))
