"""Memory at its peak on photographs of 12 megapixels.

    python -m benchmarks.memory --photos 40 160   # commands, on so many photographs
    python -m benchmarks.memory --attacks         # each attack on one image

Peaks are those of the largest process of a command, which works with two threads.
"""

import argparse
import io
import sys
import tempfile

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

#: Commands by their arguments before the set, and those after it; ``OUT`` is a new path.
COMMANDS = (
    (("score",), ("OUT", "--workers", "2")),
    (("features",), ("OUT", "--workers", "2")),
    (("spectrum",), ("--output", "OUT.png")),
    (("poison",), ("OUT", "--workers", "2", *POISON, "--attack", "badnets")),
    (("poison",), ("OUT", "--workers", "2", *POISON, "--attack", "smooth")),
)


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


def commands(counts: list[int]) -> None:
    """The table of commands, on sets of so many photographs."""
    print(f"| command | {' | '.join(f'{count} photographs, MiB' for count in counts)} |")
    print(f"|---|{'---|' * len(counts)}")
    for before, after in COMMANDS:
        peaks = []
        for count in counts:
            with tempfile.TemporaryDirectory() as folder:
                path = f"{folder}/set.parquet"
                # By another process: a system counts what this one held to the command's peak.
                measure([sys.executable, __file__, "--write", path, str(count)])
                rest = [word.replace("OUT", f"{folder}/out") for word in after]
                command = freqsan(*before, path, *rest, "--quiet")
                peaks.append(measure(command).peak)
        words = " ".join((*before, *(after[-2:] if before == ("poison",) else ())))
        print(f"| {words} | {' | '.join(f'{peak:.0f}' for peak in peaks)} |", flush=True)


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
    parser.add_argument("--photos", nargs="+", type=int, default=[40, 160], metavar="COUNT")
    parser.add_argument("--put", nargs=3, metavar=("ATTACK", "HEIGHT", "WIDTH"), help="only that")
    parser.add_argument("--write", nargs=2, metavar=("FILE", "COUNT"), help="only a set")
    options = parser.parse_args()
    if options.write:
        path, count = options.write
        write(path, int(count))
    elif options.put:
        name, height, width = options.put
        put(name, int(height), int(width))
    elif options.attacks:
        all_attacks()
    else:
        commands(options.photos)


if __name__ == "__main__":
    main()
