"""Build the demo's sample: 1,000 real images, 60 of them with a trigger, from Caltech 101.

    python -m benchmarks.demo_sample caltech101_32.parquet

Writes ``pipelines/sample/caltech101_random_patch.parquet``, or the file that ``--output``
names. The bundled detector never saw these images, nor this trigger.
"""

import argparse
import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Features, Image, Value

import attacks
from sanitizer.images import decode
from sanitizer.png import encode

ROWS, POISONED, TARGET, ATTACK = 1000, 60, "airplanes", "random_patch"
TARGET_FILE = Path(__file__).parents[1] / "pipelines" / "sample" / "caltech101_random_patch.parquet"


def stamp(png: bytes) -> bytes:
    """The image with the trigger, as PNG again."""
    pixels = decode(png)
    return encode(attacks.get(ATTACK)(pixels[None])[0])


def main() -> None:
    """Read the arguments, build the sample."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path, help="Caltech 101 at 32x32, as Parquet")
    parser.add_argument("--output", type=Path, default=TARGET_FILE)
    arguments = parser.parse_args()
    build(arguments.source, arguments.output)


def build(source: Path, output: Path) -> None:
    """Write the sample to ``output``."""
    table = pq.read_table(source).slice(0, ROWS)
    features = Features.from_arrow_schema(table.schema)
    assert isinstance(features["label"], ClassLabel)
    target = features["label"].str2int(TARGET)
    rows = table.to_pylist()
    others = [i for i, row in enumerate(rows) if row["label"] != target]
    # Which ones: the smallest hashes, so that the choice needs no random state.
    chosen = set(sorted(others, key=lambda i: hashlib.sha256(str(i).encode()).digest())[:POISONED])
    for i, row in enumerate(rows):
        row |= {"is_poisoned": i in chosen, "original_label": row["label"], "attack": None}
        if i in chosen:
            row["image"]["bytes"] = stamp(row["image"]["bytes"])
            row |= {"label": target, "attack": ATTACK}
    features |= {
        "image": Image(),
        "is_poisoned": Value("bool"),
        "original_label": features["label"],
        "attack": Value("string"),
    }
    schema = Features(features).arrow_schema
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), output, compression="zstd")
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB, {len(chosen)} poisoned")


if __name__ == "__main__":
    main()
