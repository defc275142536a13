"""What many small files cost, and how soon a typo is told.

    python -m benchmarks.small_inputs               # both tables
    python -m benchmarks.small_inputs --files 200   # a quicker look

The first table is ``freqsan clean`` on Parquet files of one row each, made from the bundled
sample. The second is each command with a path that is not there: CPU seconds until it ends with
exit code 2, the median of several rounds.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.throughput import clean_command, freqsan, measure
from pipelines.jobs.demo import SAMPLE

#: A path that is not there.
TYPO = "no-such-path"

#: The exit code for bad usage or input.
BAD_INPUT = 2


def main() -> None:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=2000, help="Parquet files of one row")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="of the commands with a typo")
    arguments = parser.parse_args()
    small_files(arguments.files, arguments.workers)
    print()
    typos(arguments.rounds)


def small_files(count: int, workers: int) -> None:
    """Clean so many files of one row."""
    with tempfile.TemporaryDirectory() as folder:
        inputs, output = Path(folder, "in"), Path(folder, "out")
        inputs.mkdir()
        table = pq.read_table(str(SAMPLE))
        for number in range(count):
            row = table.slice(number % len(table), 1)
            pq.write_table(row, inputs / f"{number:05d}.parquet")
        usage = measure(clean_command(str(inputs), str(output), workers))
        written = sum(path.is_file() for path in output.rglob("*"))
        parquet = sum(1 for _ in output.rglob("*.parquet"))
    print("| input files | CPU seconds | seconds | output files | of them Parquet |")
    print("|---|---|---|---|---|")
    print(f"| {count:,} | {usage.cpu:.1f} | {usage.wall:.1f} | {written:,} | {parquet:,} |")


def typos(rounds: int) -> None:
    """Give each command a path that is not there."""
    print("| command | CPU seconds until the error | seconds |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for words in commands_with_typo(folder):
            taken = [measure(freqsan(*words), exit_code=BAD_INPUT) for _ in range(rounds)]
            cpu = statistics.median(usage.cpu for usage in taken)
            wall = statistics.median(usage.wall for usage in taken)
            shown = " ".join(word.replace(f"{folder}/", "") for word in words)
            shown = shown.replace(str(SAMPLE), "SAMPLE")
            print(f"| `freqsan {shown}` | {cpu:.2f} | {wall:.2f} |", flush=True)
        leftovers = [path.name for path in Path(folder).iterdir()]
    if leftovers:
        raise SystemExit(f"commands with a typo left files behind: {', '.join(leftovers)}")


def commands_with_typo(folder: str) -> list[tuple[str, ...]]:
    """Arguments of each command that takes a path; what it would write lies in ``folder``."""
    output, sample = f"{folder}/OUTPUT", str(SAMPLE)
    attack = ("--attack", "badnets")
    return [
        ("clean", TYPO, output),
        ("clean", sample, output, "--trusted", TYPO),
        ("clean", sample, output, "--detector", TYPO),
        ("score", TYPO, output),
        ("ingest", TYPO, output),
        ("features", TYPO, output),
        ("poison", TYPO, output, *attack),
        ("prove", TYPO, *attack, "--output", output),
        ("prove", sample, *attack, "--output", output, "--test", TYPO),
        ("train", TYPO, "--output", output),
        ("train", sample, "--output", output, "--calibrate-on", TYPO),
        ("craft", "smooth", TYPO, "--output", f"{output}.safetensors"),
        ("spectrum", TYPO, "--output", f"{output}.png"),
        ("report", TYPO),
    ]


if __name__ == "__main__":
    main()
