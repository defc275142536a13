"""Build the demo's sample: 1,000 real images, 100 of them with a trigger, from Caltech 101.

    python -m benchmarks.demo_sample caltech101_32.parquet

Writes ``pipelines/sample/caltech101_triggers.parquet``, or the file that ``--output`` names. Four
attackers, a class each: a square, a faint picture all over, a watermark, and a smooth pattern that
no single image shows. The bundled detector never saw these images, nor these triggers.
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

#: Images of the sample, and of them with each trigger.
ROWS, POISONED = 1000, 25

#: The class that each trigger is to be taken for.
TARGETS = {
    "badnets": "Faces_easy",
    "blend": "airplanes",
    "smooth": "Motorbikes",
    "trojan_watermark": "Faces",
}

TARGET_FILE = Path(__file__).parents[1] / "pipelines" / "sample" / "caltech101_triggers.parquet"


def stamp(png: bytes, attack: str) -> bytes:
    """The image with the trigger, as PNG again."""
    pixels = decode(png)
    return encode(attacks.get(attack)(pixels[None])[0])


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
    rows = table.to_pylist()
    for row in rows:
        row |= {"is_poisoned": False, "original_label": row["label"], "attack": None}
    # Which ones: the smallest hashes, so that the choice needs no random state.
    order = sorted(range(len(rows)), key=lambda i: hashlib.sha256(str(i).encode()).digest())
    for attack, name in TARGETS.items():
        target = features["label"].str2int(name)
        fit = (i for i in order if not rows[i]["is_poisoned"] and rows[i]["label"] != target)
        for i in list(fit)[:POISONED]:
            rows[i]["image"]["bytes"] = stamp(rows[i]["image"]["bytes"], attack)
            rows[i] |= {"label": target, "is_poisoned": True, "attack": attack}
    features |= {
        "image": Image(),
        "is_poisoned": Value("bool"),
        "original_label": features["label"],
        "attack": Value("string"),
    }
    schema = Features(features).arrow_schema
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), output, compression="zstd")
    poisoned = sum(row["is_poisoned"] for row in rows)
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB, {poisoned} poisoned")


if __name__ == "__main__":
    main()
