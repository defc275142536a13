"""Every kind of file of an OUTPUT, changed: ``report`` and the next run notice all of it.

The files are those that a run has left, not a list, so that a new kind of file is among them.
"""

import functools
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from commands import run
from outputs import digests

from benchmarks import faults
from benchmarks.children import CRASHED, DONE, REFUSED, call
from freqsan import clean, poison
from pipelines.jobs.demo import SAMPLE
from pipelines.runs import layout
from sanitizer.files import TEMPORARY_PREFIX

ROWS, SHARD_ROWS = 100, 50

#: Seconds for a run that takes one.
DEADLINE = 60

Tampering = Callable[[Path], object]


def flip(file: Path) -> None:
    """Change a bit, and neither the size nor the time."""
    status, data = file.stat(), bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def swap(file: Path) -> None:
    """With a neighbour of another content."""
    mine = file.read_bytes()
    others = [other for other in sorted(file.parent.iterdir()) if other.is_file()]
    other = next((other for other in others if other.read_bytes() != mine), None)
    if other is not None:
        file.write_bytes(other.read_bytes())
        other.write_bytes(mine)


#: What is done to a file of a run under way.
TAMPERINGS: dict[str, Tampering] = {
    "bit": flip,
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-9]),
    "emptied": lambda file: file.write_bytes(b""),
    "removed": Path.unlink,
    "swapped": swap,
}


@pytest.fixture(scope="module")
def image_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("set") / "set.parquet"
    table = pq.read_table(str(SAMPLE)).slice(0, ROWS).select(["image", "label"])
    pq.write_table(table, path, row_group_size=SHARD_ROWS)
    return path


def files_of(output: Path) -> list[str]:
    """One of each kind."""
    names = sorted(f.relative_to(output).as_posix() for f in output.rglob("*") if f.is_file())
    return list({re.sub(r"\d+", "", name): name for name in names}.values())


def test_report_notices_a_bit_in_every_kind_of_file(image_set: Path, tmp_path: Path) -> None:
    whole, output = tmp_path / "whole", tmp_path / "out"
    clean(image_set, whole, shard_rows=SHARD_ROWS, quiet=True)
    passed = []
    for name in files_of(whole):
        shutil.copytree(whole, output)
        flip(output / name)
        done = run("report", output)
        if done.exit_code not in (1, 2) or len(done.stderr.splitlines()) != 1:
            passed.append((name, done.exit_code, done.stderr))
        shutil.rmtree(output)
    assert passed == []


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_a_run_that_goes_on_redoes_what_was_changed(
    image_set: Path, tmp_path: Path, tampering: str
) -> None:
    """Or it refuses in one line, and starts anew where it is told to."""
    settings = {"attack": "blend", "rate": 0.5, "shard_rows": SHARD_ROWS, "quiet": True}
    whole, killed, output = (tmp_path / name for name in ("whole", "killed", "resumed"))
    poison(image_set, whole, **settings)
    ending = call(
        *(faults.killed_at, killed, layout.CARD),
        functools.partial(poison, image_set, killed, **settings),
        deadline=DEADLINE,
    )
    assert ending.kind == CRASHED
    for name in files_of(killed):
        if name == layout.LOCK or Path(name).name.startswith(TEMPORARY_PREFIX):
            continue
        if name == layout.PLAN and tampering == "removed":
            continue  # then nothing says that these files are freqsan's, and they are left alone
        shutil.copytree(killed, output)
        TAMPERINGS[tampering](output / name)
        again = functools.partial(poison, image_set, output, **settings)
        ending = call(again, deadline=DEADLINE)
        if ending.kind == REFUSED:
            ending = call(functools.partial(again, overwrite=True), deadline=DEADLINE)
        assert ending.kind == DONE, f"{name}: {ending}"
        assert digests(output) == digests(whole), name
        shutil.rmtree(output)
