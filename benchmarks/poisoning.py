"""Speed and memory of ``freqsan poison`` against a bare loop, ratios in one run.

    python -m benchmarks.poisoning cifar10_train.parquet            # speed
    python -m benchmarks.poisoning cifar10_train.parquet --memory   # 50,000 against 500,000

The bare loop is one process and one thread that does the unavoidable: read, decode the chosen
images, stamp the BadNets square, encode as PNG, relabel, write one Parquet file; no ids, truth
columns, checksums or card. Everything runs in turn, several rounds, each as a process of its
own, so that a busy machine slows all alike; medians count.
"""

import argparse
import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.throughput import COPIES, MIB, freqsan, measure, median_ratio

#: Shares of the images that are poisoned: the usual one, and one where only they cost.
RATES = (0.1, 1.0)


def bare_loop(source: str, output: str, rate: float) -> None:
    """Decode, stamp, encode and write, and nothing else."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    chance = np.random.default_rng(0)
    file = pq.ParquetFile(source, buffer_size=MIB, pre_buffer=False)
    path = Path(output) / "train.parquet"
    with pq.ParquetWriter(path, file.schema_arrow, compression="zstd") as writer:
        for batch in file.iter_batches(256):
            images, labels = batch.column("image").to_pylist(), batch.column("label").to_pylist()
            for row in np.flatnonzero(chance.random(len(images)) < rate):
                with Image.open(io.BytesIO(images[row]["bytes"])) as image:
                    pixels = np.array(image.convert("RGB"))
                pixels[-5:-1, -5:-1] = 255
                buffer = io.BytesIO()
                Image.fromarray(pixels).save(buffer, "PNG")
                images[row]["bytes"] = buffer.getvalue()
                labels[row] = 0
            columns = {"image": images, "label": labels}
            arrays = [pa.array(columns[f.name], f.type) for f in file.schema_arrow]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=file.schema_arrow))


def poison_command(source: str, output: str, rate: float, workers: int) -> list[str]:
    options = ("--attack", "badnets", "--rate", str(rate), "--workers", str(workers), "--quiet")
    return freqsan("poison", source, output, *options)


def speed(source: str, rounds: int, rate: float) -> None:
    bare = [sys.executable, "-m", "benchmarks.poisoning", source, "--rate", str(rate), "--bare"]
    variants: dict[str, Callable[[str], list[str]]] = {
        "bare loop": lambda folder: [*bare, folder],
        "1 worker": lambda folder: poison_command(source, folder, rate, 1),
        "2 workers": lambda folder: poison_command(source, folder, rate, 2),
    }
    times: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds):
        for name, walls in times.items():
            with tempfile.TemporaryDirectory() as folder:
                wall = measure(variants[name](folder)).wall
            walls.append(wall)
            print(f"round {number + 1}: {name} {wall:.1f} s", file=sys.stderr, flush=True)
    for name, walls in times.items():
        ratio = median_ratio(walls, times["bare loop"])
        listed = ", ".join(f"{wall:.1f}" for wall in walls)
        print(f"| {rate:.0%} | {name} | {listed} | {ratio:.2f} |", flush=True)


def memory(source: str, rate: float) -> None:
    print("| what | peak MiB |\n|---|---|")
    for copies in (1, COPIES):
        with tempfile.TemporaryDirectory() as folder:
            inputs = Path(folder, "in")
            inputs.mkdir()
            for copy in range(copies):
                Path(inputs, f"copy{copy}.parquet").symlink_to(Path(source).resolve())
            usage = measure(poison_command(str(inputs), f"{folder}/out", rate, 2))
        print(f"| poison, set x{copies} | {usage.peak:.0f} |", flush=True)
        print(f"set x{copies}: {usage.wall:.0f} s", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", help="a Parquet file of images and labels, as CIFAR-10's")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, help="only this share of poison")
    parser.add_argument("--memory", action="store_true", help="memory instead of speed")
    parser.add_argument("--bare", metavar="DIR", help="run the bare loop once, into DIR")
    options = parser.parse_args()
    rates = RATES if options.rate is None else (options.rate,)
    if options.bare:
        bare_loop(options.source, options.bare, rates[0])
    elif options.memory:
        memory(options.source, rates[0])
    else:
        print("| poisoned | variant | seconds, each round | median ratio |\n|---|---|---|---|")
        for rate in rates:
            speed(options.source, options.rounds, rate)


if __name__ == "__main__":
    main()
