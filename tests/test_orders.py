"""Shards that are done twice, twice at once, or too late; what workers elsewhere are told."""

import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from commands import wait_until
from outputs import digests

from freqsan import RunError, clean
from pipelines.jobs.demo import SAMPLE
from pipelines.runs import chain, job, layout, orders
from pipelines.runs.chain import CarryOut
from pipelines.runs.manifest import Manifest
from pipelines.runs.output import Output
from pipelines.runs.store import Store
from pipelines.runs.work import Order, PassWork

ROWS, SHARD_ROWS = 40, 10

#: Does all shards of each pass, and begins each when the other process begins it too. Then one of
#: the two does all of them once more.
WORKER = """
import pickle, sys, time
from pathlib import Path

folder, me, other = Path(sys.argv[1]), *sys.argv[2:]

def wait_for(name):
    while not (folder / name).exists():
        time.sleep(0.0005)

def do(element):
    work.do(*element)

for of_pass in ("score", "split"):
    wait_for(of_pass)
    work, elements = pickle.loads((folder / of_pass).read_bytes())
    work.set_up()
    for number, element in enumerate(elements):
        (folder / f"{of_pass}-{number}-{me}").touch()
        wait_for(f"{of_pass}-{number}-{other}")
        do(element)
    (folder / f"{of_pass}-all-{me}").touch()
    wait_for(f"{of_pass}-all-{other}")
    if me == "one":
        for element in elements:
            do(element)
        (folder / f"{of_pass}-done").touch()
"""


@pytest.fixture(scope="module")
def image_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("set") / "set.parquet"
    pq.write_table(pq.read_table(str(SAMPLE)).slice(0, ROWS), path, row_group_size=SHARD_ROWS)
    return path


def cleaned(image_set: Path, output: Path) -> dict[str, str]:
    """What a run leaves, but of the report, which holds times and addresses."""
    clean(image_set, output, scan=False, shard_rows=SHARD_ROWS, quiet=True)
    return {name: one for name, one in digests(output).items() if not name.startswith("report/")}


def test_shards_that_are_done_twice_at_once_and_once_more_change_nothing(
    image_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = cleaned(image_set, tmp_path / "once")
    both = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path), *names])
        for names in (("one", "other"), ("other", "one"))
    ]

    def thrice(work: PassWork, elements: list[Any], *_: object) -> None:
        whole = tmp_path / "order"
        whole.write_bytes(pickle.dumps((work, elements)))
        whole.rename(tmp_path / work.pass_name)
        wait_until((tmp_path / f"{work.pass_name}-done").exists)

    monkeypatch.setattr(chain, "_run", thrice)
    assert cleaned(image_set, tmp_path / "thrice") == once
    assert [process.wait() for process in both] == [0, 0]


def test_what_a_worker_did_that_has_died_since_is_not_done_again(
    image_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask loses with a worker what its finished shards gave, and asks for it once more."""
    once = cleaned(image_set, tmp_path / "once")

    def again(work: PassWork, elements: list[Any], *_: object) -> None:
        with orders.ordered(work) as order:
            sent = CarryOut(*order)
            sent.setup()
            for element in elements:
                assert list(sent.process(element)) == [element[0]]
            damaged = tmp_path / "again" / layout.receipt(work.pass_name, 1)
            damaged.write_bytes(b"{}")
            ran = []
            run = type(work.step).run
            with monkeypatch.context() as patch:
                patch.setattr(type(work.step), "run", lambda *a: ran.append(a) or run(*a))
                for element in elements:
                    assert list(sent.process(element)) == [element[0]]
            assert [task.index for _, task in ran] == [1]

    monkeypatch.setattr(chain, "_run", again)
    assert cleaned(image_set, tmp_path / "again") == once


@pytest.fixture
def late(
    image_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[CarryOut], Path]:
    """What workers were told of each pass of a run, and its OUTPUT after both, before the end."""
    sent: list[CarryOut] = []

    def keep(order: Order, sha256: str) -> CarryOut:
        sent.append(CarryOut(order, sha256))
        return sent[-1]

    def commit(self: Output, manifest: Manifest) -> Manifest:
        shutil.copytree(tmp_path / "out", tmp_path / "before")
        return manifest

    monkeypatch.setattr(Output, "commit", commit)
    monkeypatch.setattr(chain.Machines, "local", False)
    monkeypatch.setattr(job, "FEWEST_SHARDS", 1000)  # no processes of this machine, then
    monkeypatch.setattr(chain, "CarryOut", keep)
    cleaned(image_set, tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "before").rename(tmp_path / "out")
    for one in ("score", "split"):  # one that no other worker has done meanwhile
        (tmp_path / "out" / layout.receipt(one, 0)).unlink()
    return sent, tmp_path / "out"


def test_a_worker_that_comes_back_late_leaves_nothing(
    late: tuple[list[CarryOut], Path],
) -> None:
    sent, output = late
    before = digests(output)
    assert len(sent) == 2
    for one in sent:
        # As a worker has it that was stopped in the middle: read, and not yet done.
        with pytest.raises(RunError, match="either the run has ended, or OUTPUT is not where all"):
            list(one.process((0, (0, 1, 0, SHARD_ROWS))))
        orders.read_order.cache_clear()
        with pytest.raises(RunError, match="either the run has ended, or OUTPUT is not where all"):
            one.setup()
    assert digests(output) == before


def test_an_order_that_somebody_has_changed_is_not_read(tmp_path: Path) -> None:
    order = Order(Store(str(tmp_path)), f"{layout.ORDERS}/score-1")
    order.store.write(order.name, pickle.dumps(print))
    with pytest.raises(RunError, match="is not what this run has written"):
        CarryOut(order, "0" * 64).setup()
