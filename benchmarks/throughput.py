"""Speed of ``freqsan clean`` against a bare loop, ratios in one run.

    python benchmarks/throughput.py cifar10_train.parquet                 # speed
    python benchmarks/throughput.py cifar10_train.parquet --against DIR   # another checkout

The bare loop is one process that does the unavoidable: read, decode, DCT, score, write two
Parquet files; no ids, hashes, report or validation. It runs on one thread, and once more with
the network on two. ``--against`` compares ``freqsan clean`` as it stands here with another
checkout, such as that of the commit before. All variants run in turn, several rounds, each as a
process of its own, so that a busy machine slows them alike; medians count.
"""

import argparse
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

MIB = 1 << 20

BARE = "bare loop, one thread"

#: The checkout that this file is in.
HERE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Usage:
    """What a command and its children took."""

    wall: float  #: seconds
    cpu: float  #: seconds on all cores together
    peak: float  #: resident MiB of the largest of the processes


def bare_loop(source: str, output: str, threads: int) -> None:
    """Decode, transform, score and write, and nothing else."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    from detector.model import Detector
    from sanitizer.cores import allow_threads

    allow_threads(threads)
    detector = Detector.load("freqsan-small")
    file = pq.ParquetFile(source, buffer_size=MIB, pre_buffer=False)
    writers = [
        pq.ParquetWriter(Path(output) / f"{split}.parquet", file.schema_arrow, compression="zstd")
        for split in ("clean", "poisoned")
    ]
    for batch in file.iter_batches(256):
        encoded = batch.column("image").field("bytes").to_pylist()
        pixels = np.stack([np.asarray(Image.open(io.BytesIO(e)).convert("RGB")) for e in encoded])
        flagged = detector.score([detector.inputs.cut(one) for one in pixels]).values > 0.5
        for writer, mask in zip(writers, (~flagged, flagged), strict=True):
            writer.write_batch(batch.filter(pa.array(mask)))
    for writer in writers:
        writer.close()


def measure(command: list[str], checkout: Path = HERE, *, exit_code: int = 0) -> Usage:
    """Run a command with the freqsan of a checkout, whatever is installed.

    Raises:
        SystemExit: it ends with another exit code.
    """
    # Else the current directory would come before the checkout.
    places = {"PYTHONPATH": str(checkout), "PYTHONSAFEPATH": "1"}
    with tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=errors, env=os.environ | places
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != exit_code:
            errors.seek(0)
            words = errors.read().decode(errors="replace")
            raise SystemExit(f"exit code {process.returncode}: {' '.join(command)}\n{words}")
    return Usage(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def freqsan(*arguments: str) -> list[str]:
    """A freqsan command; by its module, as commits before ``freqsan.py`` have no other way."""
    return [sys.executable, "-m", "pipelines.cli", *arguments]


def clean_command(source: str, output: str, workers: int, *options: str) -> list[str]:
    """``freqsan clean``, without progress."""
    return freqsan("clean", source, output, "--workers", str(workers), "--quiet", *options)


def speed(source: str, rounds: int) -> None:
    bare = [sys.executable, __file__, source, "--bare"]
    variants = {
        BARE: lambda folder: [*bare, folder],
        "bare loop, the network on two threads": lambda folder: [*bare, folder, "--threads", "2"],
        "1 worker": lambda folder: clean_command(source, folder, 1),
        "2 workers": lambda folder: clean_command(source, folder, 2),
        "2 workers, without the scan": lambda folder: clean_command(source, folder, 2, "--no-scan"),
    }
    usages: dict[str, list[Usage]] = {name: [] for name in variants}
    for number in range(rounds):
        for name, taken in usages.items():
            with tempfile.TemporaryDirectory() as folder:
                usage = measure(variants[name](folder))
            taken.append(usage)
            words = f"round {number + 1}: {name} {usage.wall:.1f} s, CPU {usage.cpu:.1f} s"
            print(words, file=sys.stderr, flush=True)
    print("| variant | seconds, each round | median ratio to the bare loop | the same of CPU |")
    print("|---|---|---|---|")
    bare_walls, bare_cpus = ([getattr(u, of) for u in usages[BARE]] for of in ("wall", "cpu"))
    for name, taken in usages.items():
        walls = [usage.wall for usage in taken]
        ratio = median_ratio(walls, bare_walls)
        of_cpu = median_ratio([usage.cpu for usage in taken], bare_cpus)
        seconds = ", ".join(f"{s:.1f}" for s in walls)
        print(f"| {name} | {seconds} | {ratio:.2f} | {of_cpu:.2f} |")


def median_ratio(values: list[float], others: list[float]) -> float:
    """The median of the ratios of the pairs, one pair a round."""
    return statistics.median(a / b for a, b in zip(values, others, strict=True))


def against(source: str, other: Path, rounds: int, workers: int) -> None:
    """``freqsan clean`` of this checkout and of another, in turn; who begins takes turns too."""
    checkouts = {"here": HERE, "there": other.resolve()}
    usages: dict[str, list[Usage]] = {name: [] for name in checkouts}
    for number in range(-1, rounds):  # one to warm up
        order = list(checkouts) if number % 2 == 0 else list(reversed(checkouts))
        for name in order:
            with tempfile.TemporaryDirectory() as folder:
                usage = measure(clean_command(source, folder, workers), checkouts[name])
            if number >= 0:
                usages[name].append(usage)
                words = f"round {number + 1}: {name} {usage.wall:.1f} s, CPU {usage.cpu:.1f} s"
                print(words, file=sys.stderr, flush=True)
    print("| checkout | seconds, each round | median | CPU seconds, median | peak MiB, median |")
    print("|---|---|---|---|---|")
    for name, taken in usages.items():
        wall, cpu, peak = (statistics.median(v) for v in zip(*map(astuple, taken), strict=True))
        walls = ", ".join(f"{usage.wall:.1f}" for usage in taken)
        print(f"| {name} | {walls} | {wall:.1f} | {cpu:.1f} | {peak:.0f} |")
    for field, words in (("wall", "seconds"), ("cpu", "CPU seconds")):
        pairs = [[getattr(usage, field) for usage in usages[name]] for name in ("here", "there")]
        ratios = ", ".join(f"{a / b:.2f}" for a, b in zip(*pairs, strict=True))
        print(f"here / there, {words}: {ratios}; median {median_ratio(*pairs):.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", help="a Parquet file of images with a column 'image'")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", type=Path, metavar="DIR", help="compare with this checkout")
    parser.add_argument("--workers", type=int, default=2, help="of the comparison")
    parser.add_argument("--bare", metavar="DIR", help="run the bare loop once, into DIR")
    parser.add_argument("--threads", type=int, default=1, help="of the network in the bare loop")
    options = parser.parse_args()
    if options.bare:
        bare_loop(options.source, options.bare, options.threads)
    elif options.against:
        if not (options.against / "pipelines" / "cli.py").is_file():
            parser.error(f"{options.against} is no checkout of freqsan")
        against(options.source, options.against, options.rounds, options.workers)
    else:
        speed(options.source, options.rounds)


if __name__ == "__main__":
    main()
