"""Speed and memory of ``freqsan clean`` against a bare loop, ratios in one run.

    python benchmarks/throughput.py cifar10_train.parquet            # speed
    python benchmarks/throughput.py cifar10_train.parquet --memory   # 50,000 against 500,000

The bare loop is one process that does the unavoidable: read, decode, DCT, score, write two
Parquet files; no ids, hashes, report or validation. It runs on one thread, and once more with
torch's own two. All variants run in turn, several rounds, each as a process of its own, so that
a busy machine slows them alike; medians count.
"""

import argparse
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

#: Times the set is repeated, under new ids, for the memory benchmark.
COPIES = 10

MIB = 1 << 20

BARE = "bare loop, one thread"


def bare_loop(source: str, output: str, threads: int) -> None:
    """Decode, transform, score and write, and nothing else."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    import torch
    from PIL import Image

    from detector.model import Detector

    torch.set_num_threads(threads)
    detector = Detector.load("freqsan-small")
    file = pq.ParquetFile(source, buffer_size=MIB, pre_buffer=False)
    writers = [
        pq.ParquetWriter(Path(output) / f"{split}.parquet", file.schema_arrow, compression="zstd")
        for split in ("clean", "poisoned")
    ]
    for batch in file.iter_batches(256):
        encoded = batch.column("image").field("bytes").to_pylist()
        pixels = np.stack([np.asarray(Image.open(io.BytesIO(e)).convert("RGB")) for e in encoded])
        flagged = detector.score(pixels[:, None]).values > 0.5
        for writer, mask in zip(writers, (~flagged, flagged), strict=True):
            writer.write_batch(batch.filter(pa.array(mask)))
    for writer in writers:
        writer.close()


def measure(command: list[str]) -> tuple[float, float]:
    """Wall seconds and peak resident MiB of a command and its children."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"failed: {' '.join(command)}")
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def clean_command(source: str, output: str, workers: int) -> list[str]:
    freqsan = str(Path(sys.executable).with_name("freqsan"))
    return [freqsan, "clean", source, output, "--workers", str(workers), "--quiet"]


def speed(source: str, rounds: int) -> None:
    bare = [sys.executable, __file__, source, "--bare"]
    variants = {
        BARE: lambda folder: [*bare, folder],
        "bare loop, torch on two threads": lambda folder: [*bare, folder, "--threads", "2"],
        "1 worker": lambda folder: clean_command(source, folder, 1),
        "2 workers": lambda folder: clean_command(source, folder, 2),
    }
    times: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds):
        for name, seen in times.items():
            with tempfile.TemporaryDirectory() as folder:
                seconds, _ = measure(variants[name](folder))
            seen.append(seconds)
            print(f"round {number + 1}: {name} {seconds:.1f} s", file=sys.stderr, flush=True)
    print("| variant | seconds, each round | median ratio to the bare loop |\n|---|---|---|")
    for name, seen in times.items():
        ratio = statistics.median(a / b for a, b in zip(seen, times[BARE], strict=True))
        print(f"| {name} | {', '.join(f'{s:.1f}' for s in seen)} | {ratio:.2f} |")


def memory(source: str) -> None:
    _, torch_alone = measure([sys.executable, "-c", "import torch"])
    print("| what | peak MiB | above import torch |\n|---|---|---|")
    print(f"| import torch | {torch_alone:.0f} | |")
    for copies in (1, COPIES):
        with tempfile.TemporaryDirectory() as folder:
            inputs = Path(folder, "in")
            inputs.mkdir()
            for copy in range(copies):
                Path(inputs, f"copy{copy}.parquet").symlink_to(Path(source).resolve())
            seconds, peak = measure(clean_command(str(inputs), f"{folder}/out", 2))
        print(f"| clean, set x{copies} | {peak:.0f} | {peak - torch_alone:.0f} |", flush=True)
        print(f"set x{copies}: {seconds:.0f} s", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", help="a Parquet file of images with a column 'image'")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="memory instead of speed")
    parser.add_argument("--bare", metavar="DIR", help="run the bare loop once, into DIR")
    parser.add_argument("--threads", type=int, default=1, help="of torch in the bare loop")
    options = parser.parse_args()
    if options.bare:
        bare_loop(options.source, options.bare, options.threads)
    elif options.memory:
        memory(options.source)
    else:
        speed(options.source, options.rounds)


if __name__ == "__main__":
    main()
