"""Repeat the experiments of Zeng et al. (ICCV 2021) on a CPU, for hours; resumable.

    python -m benchmarks.paper DATA_DIR --rounds 5 --epochs 2 --images 10000
    python -m benchmarks.paper DATA_DIR --tell     # only the tables

The authors learn for 5 rounds of 10 epochs of 50,000 clean images. Finished rows and one
checkpoint of each detector are kept in --work.
"""

import argparse
from pathlib import Path

import torch

from benchmarks.lines import rows_of
from benchmarks.paper.experiments import Laboratory, Row, Sets
from benchmarks.paper.network import Schedule
from benchmarks.paper.tables import tables


def main() -> None:
    """Read the arguments; do what is missing, or only print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=Schedule.rounds)
    parser.add_argument("--epochs", type=int, default=Schedule.epochs)
    parser.add_argument("--images", type=int, default=Schedule.images)
    parser.add_argument("--work", type=Path, default=Path("build/paper"))
    parser.add_argument("--tell", action="store_true", help="only print the tables")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    schedule = Schedule(arguments.rounds, arguments.epochs, arguments.images)
    laboratory = Laboratory(Sets(arguments.data), schedule, arguments.work)
    if not arguments.tell:
        for done in laboratory.run():
            print(done, flush=True)
    print(tables(rows_of(laboratory.path, Row)))


if __name__ == "__main__":
    main()
