"""The engine: passes over shards, what is kept of a run that was killed, and what travels."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from workers import beam_workers

from pipelines.runs import layout
from pipelines.runs.chain import DoShard, Machines
from pipelines.runs.job import Job, Settings
from pipelines.runs.layout import ShardedFile
from pipelines.runs.manifest import Manifest
from pipelines.runs.output import Output, take_failure, write_failure
from pipelines.runs.passes import Finished, Pass, Step
from pipelines.runs.shards import ShardTask
from pipelines.runs.store import Store
from pipelines.runs.work import PassWork
from pipelines.sources import open_source
from pipelines.sources.columns import sample_ids
from sanitizer.errors import InputError, RunError
from sanitizer.record import Record

ROWS, SHARD_ROWS = 60, 10

NUMBERS = pa.schema([("n", pa.int64())])
SHARES = ShardedFile("data/share")


@dataclass(frozen=True)
class Total(Record):
    total: int


@dataclass(frozen=True)
class Options(Record):
    scale: int


@dataclass
class AddStep(Step[Total]):
    """Leave the numbers of a shard, times a scale."""

    scale: int
    log: str  #: a file that a line is added to for every shard that is done
    fail_at: int | None  #: shard that raises

    def run(self, task: ShardTask) -> tuple[int, Total]:
        if task.index == self.fail_at:
            raise RunError("a worker fails as asked")
        with Path(self.log).open("a") as log:
            log.write(f"add {task.index}\n")
        artefact = task.open_artefact(NUMBERS)
        for batch in task.map(lambda samples: samples.batch):
            scaled = [self.scale * n for n in batch.column(0).to_pylist()]
            artefact.write(pa.record_batch([pa.array(scaled)], schema=NUMBERS))
        task.finish()
        return artefact.rows, Total(sum(artefact.column("n")))


@dataclass
class AddPass(Pass[None, Total, int]):
    name: ClassVar[str] = "add"
    counts: ClassVar[type[Record]] = Total
    scale: int
    log: str
    fail_at: int | None = None
    doing: str = "adding"

    def step(self, given: None) -> Step[Total]:
        return AddStep(self.scale, self.log, self.fail_at)

    def merge(self, given: None, finished: Finished[Total]) -> int:
        total = sum(counts.total for counts in finished.counts)
        assert total == sum(sum(t["n"].to_pylist()) for t in finished.artefacts(["n"]))
        return total


@dataclass
class ShareStep(Step[Total]):
    """Write each number of the earlier pass as a share of the total."""

    total: int
    log: str
    fail_at: int | None

    def run(self, task: ShardTask) -> tuple[int, Total]:
        if task.index == self.fail_at:
            raise InputError("an input is bad as asked")
        with Path(self.log).open("a") as log:
            log.write(f"share {task.index}\n")
        writer = task.open(SHARES, pa.schema([("share", pa.float64())]))
        numbers = task.artefact_of("add")["n"].to_pylist()
        writer.write(pa.record_batch({"share": [n / self.total for n in numbers]}))
        task.finish()
        return writer.rows, Total(len(numbers))


@dataclass
class SharePass(Pass[int, Total, int]):
    name: ClassVar[str] = "share"
    counts: ClassVar[type[Record]] = Total
    log: str
    fail_at: int | None = None
    doing: str = "sharing"

    def step(self, given: int) -> Step[Total]:
        return ShareStep(given, self.log, self.fail_at)

    def merge(self, given: int, finished: Finished[Total]) -> int:
        return given


@dataclass(frozen=True, kw_only=True)
class ShareManifest(Manifest):
    total: int


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    path = tmp_path / "numbers.parquet"
    table = pa.table({"n": list(range(ROWS)), "image": [b"x"] * ROWS})
    pq.write_table(table, path, row_group_size=SHARD_ROWS)
    return path


def run(
    numbers: Path,
    store: Store,
    log: Path,
    scale: int = 2,
    fail_add: int | None = None,
    fail_share: int | None = None,
    **settings: Any,
) -> ShareManifest:
    settings = {"quiet": True} | settings
    chosen = Settings(image_column="image", shard_rows=SHARD_ROWS, **settings)
    log.touch()
    job = Job(
        name="share",
        source=chosen.open(numbers),
        store=store,
        passes=[AddPass(scale, str(log), fail_add), SharePass(str(log), fail_share)],
        options=Options(scale),
        finish=lambda output, common, made: ShareManifest.of(common, total=made),
        manifest=ShareManifest,
    )
    return job.run(chosen)


def shares(store: Store) -> list[float]:
    names = store.names("data", "share-*.parquet")
    tables = []
    for name in names:
        with store.open(name) as file:
            tables.append(pq.read_table(file))
    return pa.concat_tables(tables)["share"].to_pylist()


EXPECTED = [n / sum(range(ROWS)) for n in range(ROWS)]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_a_later_pass_gets_what_the_earlier_has_made(
    numbers: Path, tmp_path: Path, workers: int
) -> None:
    store = Store.at(tmp_path / "out")
    manifest = run(numbers, store, tmp_path / "log", workers=workers)
    assert manifest.total == 2 * sum(range(ROWS))
    assert shares(store) == pytest.approx(EXPECTED)
    assert [list(shard.files) for shard in manifest.shards] == [
        [SHARES.name(i, 6)] for i in range(6)
    ]
    assert ShareManifest.from_json(store.read_json(layout.MANIFEST)) == manifest
    assert store.names("", ".*") == []


def test_a_run_goes_on_at_the_unfinished_shard_of_the_unfinished_pass(
    numbers: Path, tmp_path: Path
) -> None:
    store, log = Store.at(tmp_path / "out"), tmp_path / "log"
    with pytest.raises(RunError, match="a worker fails as asked"):
        run(numbers, store, log, fail_add=3, workers=1)
    assert log.read_text().split("\n")[:-1] == ["add 0", "add 1", "add 2"]
    log.unlink()
    with pytest.raises(InputError, match="an input is bad as asked"):
        run(numbers, store, log, fail_share=2, workers=1)
    assert log.read_text().split("\n")[:-1] == [
        *("add 3", "add 4", "add 5"),
        *("share 0", "share 1"),
    ]
    log.unlink()
    run(numbers, store, log, workers=1)
    assert log.read_text().split("\n")[:-1] == [f"share {i}" for i in range(2, 6)]
    assert shares(store) == pytest.approx(EXPECTED)


def test_a_shard_whose_artefact_is_gone_is_done_again(numbers: Path, tmp_path: Path) -> None:
    store, log = Store.at(tmp_path / "out"), tmp_path / "log"
    with pytest.raises(InputError):
        run(numbers, store, log, fail_share=0, workers=1)
    store.remove(layout.artefact("add", 4))
    log.unlink()
    run(numbers, store, log, workers=1)
    assert log.read_text().split("\n")[0] == "add 4"
    assert shares(store) == pytest.approx(EXPECTED)


def flip(store: Store, name: str) -> None:
    """Change one byte of a file, and not its size."""
    data = bytearray(store.read(name))
    data[len(data) // 2] ^= 1
    store.write(name, bytes(data))


def edit_receipt(store: Store, name: str) -> None:
    """Let a shard have counted something else."""
    receipt = store.read_json(name)
    receipt["counts"]["total"] += 1
    store.write_json(name, receipt)


def link(store: Store, name: str) -> None:
    """Put a link to the very same content in a file's place."""
    path = Path(store.locate(name))
    aside = path.rename(path.parents[2] / "aside")
    path.symlink_to(aside)


@pytest.mark.parametrize("tamper", [flip, link, Store.remove])
@pytest.mark.parametrize(
    ("name", "first"),
    [
        (layout.artefact("add", 4), "add 4"),
        (layout.receipt("add", 4), "add 4"),
        (SHARES.name(1, 6), "share 1"),
        (layout.LISTING, "share 3"),
    ],
)
def test_what_was_changed_in_an_unfinished_run_is_made_anew(
    numbers: Path, tmp_path: Path, tamper: Callable[..., None], name: str, first: str
) -> None:
    store, log = Store.at(tmp_path / "out"), tmp_path / "log"
    with pytest.raises(InputError):
        run(numbers, store, log, fail_share=3, workers=1)
    tamper(store, name)
    log.unlink()
    run(numbers, store, log, workers=1)
    assert log.read_text().splitlines()[0] == first
    assert shares(store) == pytest.approx(EXPECTED)
    assert not Path(store.locate(SHARES.name(1, 6))).is_symlink()


def test_a_receipt_that_was_edited_counts_for_nothing(numbers: Path, tmp_path: Path) -> None:
    store, log = Store.at(tmp_path / "out"), tmp_path / "log"
    with pytest.raises(InputError):
        run(numbers, store, log, fail_share=3, workers=1)
    edit_receipt(store, layout.receipt("add", 4))
    assert run(numbers, store, log, workers=1).total == 2 * sum(range(ROWS))


def test_a_plan_that_was_edited_is_another_plan(numbers: Path, tmp_path: Path) -> None:
    store, log = Store.at(tmp_path / "out"), tmp_path / "log"
    with pytest.raises(InputError):
        run(numbers, store, log, fail_share=3)
    plan = store.read_json(layout.PLAN)
    plan["plan"]["options"]["scale"] = 7
    store.write_json(layout.PLAN, plan)
    with pytest.raises(InputError, match="unfinished run that differs in scale"):
        run(numbers, store, log)


def test_progress_says_what_is_done_again(
    numbers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, log = Store.at(tmp_path / "out"), tmp_path / "log"
    with pytest.raises(InputError):
        run(numbers, store, log, fail_share=3)
    flip(store, layout.artefact("add", 4))
    run(numbers, store, log, quiet=False)
    words = f"adding: {layout.artefact('add', 4)} was altered since it was written, doing it again"
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("failure", [None, "{", "[]", '{"is_input": 1}', "[" * 100_000])
def test_the_failure_of_an_earlier_run_is_not_told_again(
    numbers: Path, tmp_path: Path, failure: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, log = Store.at(tmp_path / "out"), tmp_path / "log"
    with pytest.raises(RunError, match="as asked"):
        run(numbers, store, log, fail_add=3)
    if failure is None:
        write_failure(store, RunError("of yesterday"))
    else:
        store.write(layout.FAILURE, failure.encode())
    with monkeypatch.context() as patch:
        patch.setattr(SharePass, "step", lambda self, given: 1 / 0)  # a bug leaves no failure
        with pytest.raises(ZeroDivisionError):
            run(numbers, store, log)
    assert not store.exists(layout.FAILURE)
    run(numbers, store, log)


def test_a_failure_that_cannot_be_read_hides_nothing(tmp_path: Path) -> None:
    store = Store.at(tmp_path)
    for text in ("", "{", '{"is_input": 1}', "[" * 100_000):
        store.write(layout.FAILURE, text.encode())
        assert take_failure(store) is None


@pytest.mark.parametrize("damaged", ["", "{", "{}", '{"index": "x"}', "[" * 100_000])
def test_a_shard_whose_receipt_is_damaged_is_done_again(
    numbers: Path, tmp_path: Path, damaged: str
) -> None:
    store, log = Store.at(tmp_path / "out"), tmp_path / "log"
    with pytest.raises(InputError):
        run(numbers, store, log, fail_share=0, workers=1)
    store.write(layout.receipt("add", 2), damaged.encode())
    store.write(f"{layout.WORK}/add/notes.json", b"{}")
    store.write(layout.LISTING, store.read(layout.LISTING)[:-9])
    log.unlink()
    run(numbers, store, log, workers=1)
    assert log.read_text().splitlines()[0] == "add 2"
    assert shares(store) == pytest.approx(EXPECTED)


def test_another_option_is_another_run(numbers: Path, tmp_path: Path) -> None:
    store = Store.at(tmp_path / "out")
    with pytest.raises(RunError):
        run(numbers, store, tmp_path / "log", fail_add=3)
    with pytest.raises(InputError, match="unfinished run that differs in scale"):
        run(numbers, store, tmp_path / "log", scale=3)
    run(numbers, store, tmp_path / "log", scale=3, overwrite=True)
    with pytest.raises(InputError, match="finished run that differs in scale"):
        run(numbers, store, tmp_path / "log")


def test_a_run_leaves_the_same_files_on_an_object_store(
    numbers: Path, tmp_path: Path, s3_bucket: str
) -> None:
    here, there = Store.at(tmp_path / "out"), Store.at(f"{s3_bucket}/{tmp_path.name}/out")
    run(numbers, here, tmp_path / "log")
    with pytest.raises(InputError):
        run(numbers, there, tmp_path / "log", fail_share=3)
    run(numbers, there, tmp_path / "log")
    for name in here.names("data"):
        assert there.read(name) == here.read(name)
    assert there.read(layout.MANIFEST) == here.read(layout.MANIFEST)
    assert there.names("", ".*") == []


def test_elements_are_small_and_the_list_of_files_travels_once(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(5000):
        (folder / f"a_rather_long_name_of_a_photo_{i:06d}.png").touch()
    source = open_source(folder)
    assert max(len(pickle.dumps((i, tuple(s)))) for i, s in enumerate(source.shards)) < 100
    output = Output(Store.at(tmp_path / "out"), plan=None)  # type: ignore[arg-type]
    step = AddStep(1, "", None)
    reader = output.with_stored_units(source.reader)
    do_fn = DoShard(PassWork("add", step, reader, output.store, 3, workers=1, threads=1, ahead=1))
    assert len(pickle.dumps(do_fn)) < 5_000
    reader = pickle.loads(pickle.dumps(do_fn)).work.reader
    ids = [i for shard in source.shards for s in reader.read(shard) for i in sample_ids(s.batch)]
    assert len(set(ids)) == 5000


@pytest.mark.parametrize(
    ("workers", "shards", "threads_a_shard", "options", "expected"),
    [
        (1, 10, 1, (), 1),
        (2, 10, 1, (), 2),
        (2, 10, 4, (), 1),
        (64, 1000, 4, (), 16),
        (64, 1000, 1, (), 64),
        (64, 3, 1, (), 3),
        (64, 10, 1, ("--direct_num_workers=2",), 1),
    ],
)
def test_as_many_shards_are_under_way_as_keep_all_threads_busy(
    workers: int, shards: int, threads_a_shard: int, options: tuple[str, ...], expected: int
) -> None:
    machines = Machines("FnApiRunner", workers, options)
    assert machines.shards_at_once(shards, threads_a_shard) == expected
    elsewhere = Machines("PortableRunner", workers, options)
    assert elsewhere.shards_at_once(shards, threads_a_shard) == 1


def test_a_worker_pool_in_another_directory_writes_to_the_same_place(
    numbers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers are processes of their own, started elsewhere; OUTPUT and INPUT are relative."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with beam_workers(tmp_path, elsewhere) as options:
        monkeypatch.chdir(tmp_path)
        run(Path("numbers.parquet"), Store.at("out"), tmp_path / "log", **options)
    assert shares(Store.at(tmp_path / "out")) == pytest.approx(EXPECTED)
    assert list(elsewhere.iterdir()) == []
