"""Memory at its peak on photographs of 12 megapixels.

    python -m benchmarks.memory --photos 40 160   # commands, on so many photographs
    python -m benchmarks.memory --attacks         # each attack on one image
    python -m benchmarks.memory --repeated        # commands, on one image in very many rows
    python -m benchmarks.memory --pool            # a training, with small and full pools

Peaks are those of the largest process of a command, which works with two threads.
"""

import argparse
import io
import struct
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

import attacks
from benchmarks.throughput import MIB, freqsan, measure

#: Heights and widths of the images that attacks are put on, px; the first is a photograph's.
SIZES = ((3000, 4000), (12_000, 300))

#: How the sets are poisoned.
POISON = ("--rate", "0.9", "--target-label", "0")

#: Rows that name one of two images of a MiB each, in a file of little more than both.
REPEATED_ROWS = 4_000

#: Views that a training keeps, for the table of pools; the last are as many as it ever does.
POOLS = (40_000, 400_000)

#: Commands by their arguments before the set, and those after it; ``OUT`` is a new path.
COMMANDS = (
    (("score",), ("OUT", "--workers", "2")),
    (("features",), ("OUT", "--workers", "2")),
    (("spectrum",), ("--output", "OUT.png")),
    (("poison",), ("OUT", "--workers", "2", *POISON, "--attack", "badnets")),
    (("poison",), ("OUT", "--workers", "2", *POISON, "--attack", "smooth")),
    (("clean",), ("OUT", "--workers", "2", "--allow-unjudged")),
    (("craft", "l2_inv"), ("--output", "OUT.safetensors")),
)

#: Of these, the ones that are tried on one image in many rows.
ON_REPEATED = ("score", "clean", "poison --attack badnets")


def photo(seed: int) -> bytes:
    """A JPEG of soft coloured shapes."""
    coarse = np.random.default_rng(seed).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(coarse).resize(SIZES[0][::-1], Image.Resampling.BICUBIC).save(out, "JPEG")
    return out.getvalue()


def write(path: str, count: int) -> None:
    """Write a set of so many photographs."""
    kinds = [photo(seed) for seed in range(2)]
    photos = pa.array([kinds[i % 2] for i in range(count)], pa.binary())
    table = pa.table({"image": photos, "label": [i % 2 for i in range(count)]})
    # A dictionary would hold each of the few images once, as no real set does.
    pq.write_table(table, path, row_group_size=10, use_dictionary=False)


def write_repeated(path: str, count: int) -> None:
    """Write a file that holds two images of a MiB and names them in so many rows."""
    body = b"frEq" + bytes(MIB)
    chunk = struct.pack(">I", MIB) + body + struct.pack(">I", zlib.crc32(body))
    kinds = []
    for seed in range(2):
        pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "PNG")
        kinds.append(out.getvalue()[:33] + chunk + out.getvalue()[33:])
    labels = np.arange(count) % 2
    images = pa.DictionaryArray.from_arrays(pa.array(labels, pa.int32()), kinds)
    # Without the Arrow schema, plain bytes are read.
    pq.write_table(pa.table({"image": images, "label": labels}), path, store_schema=False)


def on_photos(counts: list[int]) -> None:
    """The table of commands on photographs, on sets of so many."""
    print(f"| command | {' | '.join(f'{count} photographs, MiB' for count in counts)} |")
    print(f"|---|{'---|' * len(counts)}")
    for before, after in COMMANDS:
        peaks = [peak_on("--write", count, before, after) for count in counts]
        print(
            f"| {words(before, after)} | {' | '.join(f'{peak:.0f}' for peak in peaks)} |",
            flush=True,
        )


def on_repeated() -> None:
    """The table of commands on one file of many rows and few images."""
    print("| command | MiB |\n|---|---|")
    for before, after in COMMANDS:
        if words(before, after) in ON_REPEATED:
            peak = peak_on("--write-repeated", REPEATED_ROWS, before, after)
            print(f"| {words(before, after)} | {peak:.0f} |", flush=True)


def words(before: tuple[str, ...], after: tuple[str, ...]) -> str:
    """A command in the words of the tables."""
    return " ".join((*before, *(after[-2:] if before == ("poison",) else ())))


def peak_on(option: str, count: int, before: tuple[str, ...], after: tuple[str, ...]) -> float:
    """The peak of a command in MiB, on a set that this file writes by an option."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/set.parquet"
        # By another process: a system counts what this one held to the command's peak.
        measure([sys.executable, __file__, option, path, str(count)])
        rest = [word.replace("OUT", f"{folder}/out") for word in after]
        return measure(freqsan(*before, path, *rest, "--quiet")).peak


def pools() -> None:
    """The table of pools."""
    print("| views in the pool | their size, MiB | peak, MiB |\n|---|---|---|")
    for views in POOLS:
        with tempfile.TemporaryDirectory() as folder:
            peak = measure([sys.executable, __file__, "--train", folder, str(views)]).peak
        print(f"| {views:,} | {views * 3072 / MIB:.0f} | {peak:.0f} |", flush=True)


def train_on(folder: str, views: int) -> None:
    """Train a few steps on so many views, and take up the checkpoint of that."""
    from detector.training.loop import TrainSettings, train
    from pipelines.jobs.train import MAX_POOL, Views

    pool, rng = Views(MAX_POOL, 0), np.random.default_rng(0)
    view = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    for _ in range(views):
        pool.offer(view)
    for _ in range(2):
        train(pool.kept, {}, TrainSettings(epochs=1, pairs=512), checkpoint_dir=Path(folder))


def all_attacks() -> None:
    """The table of attacks: what each takes beyond the image that it gets."""
    titles = [f"{height}x{width}" for height, width in SIZES]
    print(f"| attack | {' | '.join(f'{t}, MiB' for t in titles)} | images |\n|---|---|---|---|")
    for name in attacks.names():
        small, *peaks = (
            measure([sys.executable, __file__, "--put", name, str(height), str(width)]).peak
            for height, width in ((32, 32), *SIZES)
        )
        image = 3 * SIZES[0][0] * SIZES[0][1] / MIB
        above = [peak - small for peak in peaks]
        cells = " | ".join(f"{value:.0f}" for value in above)
        print(f"| {name} | {cells} | {above[0] / image:.1f} |", flush=True)


def put(name: str, height: int, width: int) -> None:
    """Put an attack on one image of noise."""
    shape = (1, height, width, 3)
    attacks.get(name)(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--attacks", action="store_true", help="the attacks instead")
    parser.add_argument("--repeated", action="store_true", help="one image in many rows instead")
    parser.add_argument("--pool", action="store_true", help="trainings instead")
    parser.add_argument("--photos", nargs="+", type=int, default=[40, 160], metavar="COUNT")
    parser.add_argument("--put", nargs=3, metavar=("ATTACK", "HEIGHT", "WIDTH"), help="only that")
    parser.add_argument("--write", nargs=2, metavar=("FILE", "COUNT"), help="only a set")
    parser.add_argument("--write-repeated", nargs=2, metavar=("FILE", "ROWS"), help="only that")
    parser.add_argument("--train", nargs=2, metavar=("DIR", "VIEWS"), help="only that")
    options = parser.parse_args()
    if options.write:
        path, count = options.write
        write(path, int(count))
    elif options.write_repeated:
        path, count = options.write_repeated
        write_repeated(path, int(count))
    elif options.train:
        folder, views = options.train
        train_on(folder, int(views))
    elif options.put:
        name, height, width = options.put
        put(name, int(height), int(width))
    elif options.attacks:
        all_attacks()
    elif options.repeated:
        on_repeated()
    elif options.pool:
        pools()
    else:
        on_photos(options.photos)


if __name__ == "__main__":
    main()
