"""``freqsan clean`` beside what else is done to the same images on the same machine, in one run.

    python -m benchmarks.compared cifar10_train.parquet
    python -m benchmarks.compared cifar10_train.parquet --cleanvision PYTHON --fastdup PYTHON

Beside decoding alone, by as many processes as there are workers; a bare loop of all that cannot be
avoided (:mod:`benchmarks.throughput`); the detector of Zeng et al. as they use it, image by image
and channel by channel to the DCT and then through their network; and two tools that look for
defects of an image set, each by a Python that has it installed. All run in turn, several rounds,
so that a busy machine slows them alike.
"""

import argparse
import io
import statistics
import sys
import tempfile
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.throughput import Usage, clean_command, measure

#: Images that go through the paper's network together.
PAPER_BATCH = 64


def decode_some(source: str, first: int, step: int) -> None:
    """Decode every ``step``-th row group and do nothing with it."""
    import numpy as np
    from PIL import Image

    file = pq.ParquetFile(source)
    for group in range(first, file.metadata.num_row_groups, step):
        for batch in file.read_row_group(group, columns=["image"]).to_batches():
            for data in batch.column("image").field("bytes").to_pylist():
                np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def decode(source: str, workers: int) -> None:
    """Decode all images in so many processes."""
    start = get_context("fork").Process
    processes = [start(target=decode_some, args=(source, i, workers)) for i in range(workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def paper(source: str) -> None:
    """The paper's detector over all images, on as many threads as torch takes."""
    import numpy as np
    import torch
    from PIL import Image
    from scipy.fftpack import dct

    from benchmarks.paper.network import PaperNetwork

    def transformed(pixels: np.ndarray) -> np.ndarray:
        planes = np.empty((3, *pixels.shape[:2]), np.float32)
        for channel in range(3):
            plane = pixels[:, :, channel].astype(np.float64)
            planes[channel] = dct(dct(plane.T, norm="ortho").T, norm="ortho")
        return planes

    network = PaperNetwork().eval()
    with torch.inference_mode():
        for batch in pq.ParquetFile(source).iter_batches(PAPER_BATCH, columns=["image"]):
            encoded = batch.column("image").field("bytes").to_pylist()
            planes = [
                transformed(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
                for data in encoded
            ]
            network(torch.from_numpy(np.stack(planes)))


#: Programs of the other tools; their arguments are a folder of images and one to write to.
CLEANVISION = """\
import sys
from cleanvision import Imagelab
if __name__ == "__main__":
    Imagelab(data_path=sys.argv[1]).find_issues(n_jobs=2, verbose=False)
"""

FASTDUP = """\
import sys
import fastdup
fastdup.create(input_dir=sys.argv[1], work_dir=sys.argv[2]).run(overwrite=True)
"""


def write_files(source: str, folder: Path) -> None:
    """The images as files, which is what the other tools read."""
    folder.mkdir()
    number = 0
    for batch in pq.ParquetFile(source).iter_batches(1000, columns=["image"]):
        for data in batch.column("image").field("bytes").to_pylist():
            (folder / f"{number:06d}.png").write_bytes(data)
            number += 1


#: From a folder for its output to the command of a variant.
Command = Callable[[str], list[str]]


def variants(source: str, workers: int, tools: dict[str, str], files: Path) -> dict[str, Command]:
    """What is measured, by name; what the others are compared with comes first."""
    here = [sys.executable, "-m", "benchmarks.compared", source, "--workers", str(workers)]
    throughput = [sys.executable, "-m", "benchmarks.throughput", source, "--bare"]
    found: dict[str, Command] = {
        f"decoding alone, {workers} processes": lambda out: [*here, "--only", "decode"],
        "bare loop, one thread": lambda out: [*throughput, out],
        "clean without the scan, 1 worker": lambda out: clean_command(source, out, 1, "--no-scan"),
        f"clean without the scan, {workers} workers": lambda out: clean_command(
            source, out, workers, "--no-scan"
        ),
        f"clean, {workers} workers": lambda out: clean_command(source, out, workers),
        "the paper's detector": lambda out: [*here, "--only", "paper"],
    }
    for name, program in (("cleanvision", CLEANVISION), ("fastdup", FASTDUP)):
        if python := tools.get(name):
            found[name] = lambda out, python=python, program=program: [
                *(python, "-c", program, str(files), out)
            ]
    return found


def compare(source: str, workers: int, rounds: int, tools: dict[str, str]) -> None:
    """Measure and print a table."""
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, "files")
        if tools:
            write_files(source, files)
        commands = variants(source, workers, tools, files)
        usages: dict[str, list[Usage]] = {name: [] for name in commands}
        for number in range(rounds):
            for name, command in commands.items():
                with tempfile.TemporaryDirectory() as out:
                    usages[name].append(measure(command(out)))
                wall = usages[name][-1].wall
                print(f"round {number + 1}: {name} {wall:.1f} s", file=sys.stderr, flush=True)
    print("| | seconds, each round | median | times decoding, each round | CPU seconds, median |")
    print("|---|---|---|---|---|")
    alone = [usage.wall for usage in next(iter(usages.values()))]
    for name, taken in usages.items():
        walls = [usage.wall for usage in taken]
        ratios = ", ".join(f"{a / b:.1f}" for a, b in zip(walls, alone, strict=True))
        cpu = statistics.median(usage.cpu for usage in taken)
        seconds = ", ".join(f"{wall:.1f}" for wall in walls)
        print(f"| {name} | {seconds} | {statistics.median(walls):.1f} | {ratios} | {cpu:.0f} |")


def main() -> None:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", help="a Parquet file of images with a column 'image'")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cleanvision", metavar="PYTHON", help="that has cleanvision")
    parser.add_argument("--fastdup", metavar="PYTHON", help="that has fastdup")
    parser.add_argument("--only", choices=["decode", "paper"], help="do it once, and nothing else")
    options = parser.parse_args()
    if options.only == "decode":
        decode(options.source, options.workers)
    elif options.only == "paper":
        paper(options.source)
    else:
        tools = {name: getattr(options, name) for name in ("cleanvision", "fastdup")}
        given = {name: python for name, python in tools.items() if python}
        compare(options.source, options.workers, options.rounds, given)


if __name__ == "__main__":
    main()
