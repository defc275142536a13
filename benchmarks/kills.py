"""``clean``, ``poison`` and ``scan``, killed again and again; every run that follows goes on.

    python -m benchmarks.kills                # 100 kills
    python -m benchmarks.kills --kills 20     # a quicker look

A run with one worker publishes and removes the same files in the same order, so a kill is placed
before one of these changes (:mod:`benchmarks.faults`), never by the clock: at the first change of
every stage of each job, and at others spread evenly between. A killed run is given again; it must
end with the same data files, bit for bit, as one that nothing happened to. The figures of each kill
are added to ``--rows`` as it ends; what is there is not run again.
"""

import argparse
import functools
import hashlib
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks import faults
from benchmarks.children import CRASHED, DONE, call
from freqsan import clean, poison, scan
from pipelines.jobs.demo import SAMPLE
from pipelines.runs import layout

#: Rows of the set: all of the sample have classes that are large enough to be searched.
ROWS = {"clean": 200, "poison": 200, "scan": 1000}

#: Rows of a shard: a shard of poison is fewer changes.
SHARD_ROWS = {"clean": 20, "poison": 8, "scan": 100}

#: Seconds for a run.
DEADLINE = 600

FIGURES = Path("benchmarks/rows/kills.jsonl")

JOBS: dict[str, Callable[..., object]] = {
    "clean": functools.partial(clean, max_clean_loss=0.02),
    "poison": functools.partial(poison, attack="blend", rate=0.5),
    "scan": functools.partial(scan, allow_unjudged=True),
}


@dataclass(frozen=True)
class Kill:
    """A run that was killed, and the one after it."""

    job: str
    change: int  #: number of the change, from 0
    name: str  #: of the file that was about to be changed
    killed: str  #: how the first run ended
    resumed: str  #: how the second run ended
    same: bool  #: its data files are those of a run that nothing happened to
    peak: int  #: MiB, of the process of the second run


def main() -> None:
    """Do the kills that are missing, and print the figures of all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="of all jobs together")
    parser.add_argument("--rows", type=Path, default=FIGURES)
    options = parser.parse_args()
    options.rows.parent.mkdir(parents=True, exist_ok=True)
    options.rows.touch()
    kills = [Kill(**json.loads(line)) for line in options.rows.read_text().splitlines()]
    done = {(kill.job, kill.change) for kill in kills}
    wanted = set()
    for job in JOBS:
        with tempfile.TemporaryDirectory() as folder:
            run = _Run(job, Path(folder))
            places = choose(run.changes, options.kills // len(JOBS))
            wanted |= {(job, place) for place in places}
            for place in places:
                if (job, place) not in done:
                    kills.append(run.kill(place))
                    with options.rows.open("a") as file:
                        file.write(json.dumps(asdict(kills[-1])) + "\n")
    tell([kill for kill in kills if (kill.job, kill.change) in wanted])


def choose(changes: Sequence[str], count: int) -> list[int]:
    """The places of the first change of each stage, and of others evenly between them.

    >>> choose(["data/a", "data/b", "data/c", "data/d", "manifest.json"], 4)
    [0, 1, 2, 4]
    """
    stages = [faults.stage_of(name) for name in changes]
    firsts = {stages.index(stage) for stage in stages}
    others = [place for place in range(len(changes)) if place not in firsts]
    between = np.linspace(0, len(others), max(0, count - len(firsts)), endpoint=False)
    return sorted(firsts | {others[int(i)] for i in between})


class _Run:
    """A job on a set, which it has done once without being killed.

    Args:
        job: its name.
        folder: for its files.
    """

    def __init__(self, job: str, folder: Path):
        self.job, self.folder = job, folder
        table = pq.read_table(str(SAMPLE)).slice(0, ROWS[job]).select(["image", "label"])
        pq.write_table(table, folder / "set.parquet", row_group_size=SHARD_ROWS[job])
        listing = folder / "changes.txt"
        whole = folder / "whole"
        ending = call(faults.write_changes, whole, listing, self._into(whole), deadline=DEADLINE)
        if ending.kind != DONE:
            raise SystemExit(f"{job}: {ending}")
        self.digest = _digest(whole)
        # A name that comes again is that of a removal, and would be killed at its first.
        self.changes = list(dict.fromkeys(listing.read_text().splitlines()))
        if (whole / layout.VALIDATION).exists():
            # Its own process publishes it, just before the first file of the report.
            self.changes.insert(self.changes.index(layout.PAGE), layout.VALIDATION)

    def kill(self, place: int) -> Kill:
        """Kill a run before a change, and go on."""
        name = self.changes[place]
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            output = Path(folder, "out")
            run = self._into(output)
            kill = faults.killed_with if name == layout.VALIDATION else faults.killed_at
            killed = call(kill, output, name, run, deadline=DEADLINE)
            resumed = call(run, deadline=DEADLINE)
            same = _digest(output) == self.digest
        words = killed.words if killed.kind == CRASHED else killed.kind
        print(f"{self.job}: {words} before {name}, then {resumed.kind}", flush=True)
        return Kill(self.job, place, name, words, resumed.kind, same, resumed.peak)

    def _into(self, output: Path) -> functools.partial[object]:
        settings = {"shard_rows": SHARD_ROWS[self.job], "workers": 1, "quiet": True}
        return functools.partial(JOBS[self.job], self.folder / "set.parquet", output, **settings)


def _digest(output: Path) -> str:
    """Of the names and contents of the Parquet files, the findings and the manifest."""
    findings = (output / layout.FINDINGS).glob("*")
    files = sorted([*output.rglob("*.parquet"), *findings, output / layout.MANIFEST])
    lines = (
        f"{file.relative_to(output)} {hashlib.sha256(file.read_bytes()).hexdigest()}"
        for file in files
        if file.exists()
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def tell(kills: list[Kill]) -> None:
    """Print a table, and fail if a run was not killed or did not end as it must."""
    by_stage: dict[tuple[str, str], list[Kill]] = defaultdict(list)
    for kill in sorted(kills, key=lambda k: (k.job, k.change)):
        by_stage[kill.job, faults.stage_of(kill.name)].append(kill)
    print("| job | killed before a change to | kills | then done, same files | peak MiB |")
    print("|---|---|---|---|---|")
    for (job, stage), own in by_stage.items():
        well = sum(kill.resumed == DONE and kill.same for kill in own)
        peak = max(kill.peak for kill in own)
        print(f"| {job} | `{stage}` | {len(own)} | {well} | {peak} |")
    wrong = [k for k in kills if (k.killed, k.resumed, k.same) != ("SIGKILL", DONE, True)]
    print(f"{len(kills)} kills, {len(wrong)} problems")
    if wrong:
        raise SystemExit("\n".join(map(str, wrong)))


if __name__ == "__main__":
    main()
