"""Optimise the triggers that ship, against the classifiers that ship, on training images.

    python -m benchmarks.shipped_triggers DATA_DIR                     # those that are missing
    python -m benchmarks.shipped_triggers DATA_DIR --compare           # rebuild all and compare

``--compare`` writes nothing: it rebuilds each into a temporary folder and prints how far the
arrays are from those that ship. ``--only`` names one, such as smooth-cifar10.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

import attacks
from attacks import crafting
from attacks.tools import artefacts
from attacks.victims.model import load
from benchmarks.victim_data import DATA

#: Of each data set, the attacks that get a trigger of their own.
TRIGGERS = {
    "gtsrb": ("trojan_square", "trojan_watermark", "l2_inv", "l0_inv", "smooth"),
    "cifar10": (
        "trojan_square",
        "trojan_watermark",
        "l2_inv",
        "l0_inv",
        "smooth",
        "lf",
        "issba",
        "lira",
    ),
    "imagenette": ("gan_tri",),
}

#: Of a data set that has no classifier of its own, one that is handed over but not looked at.
CLASSIFIERS = {"imagenette": "cifar10"}

SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--only", metavar="TRIGGER", help="such as smooth-cifar10")
    parser.add_argument("--compare", action="store_true", help="rebuild and compare, write nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the same arithmetic on any number of cores
    for data_name, names in TRIGGERS.items():
        wanted = [n for n in names if options.only in (None, f"{n}-{data_name}")]
        if not options.compare:
            wanted = [n for n in wanted if data_name not in artefacts.bundled(n)]
        if not wanted:
            continue
        data = DATA[data_name](options.data_dir)
        victim = load(CLASSIFIERS.get(data_name, data_name))
        for name in wanted:
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary) if options.compare else artefacts.folder()
                file = folder / f"{name}-{data_name}{artefacts.SUFFIX}"
                provenance = crafting.craft(
                    name,
                    data.images,
                    data.labels,
                    victim,
                    file,
                    seed=SEED,
                    data=f"{data_name}: {data.split}",
                    command="python -m benchmarks.shipped_triggers DATA_DIR",
                    progress=_show,
                )
                if options.compare:
                    print(f"{file.stem}: {_difference(name, data_name, file)}", flush=True)
                else:
                    print(f"{file.name}: {file.stat().st_size:,} bytes, {provenance}", flush=True)


def _difference(name: str, trigger: str, rebuilt: Path) -> str:
    """How far each array is from the one that ships: the largest and the mean difference."""
    shipped, again = (
        attacks.get(name, trigger=chosen).artefact.arrays for chosen in (trigger, str(rebuilt))
    )
    differences = []
    for key, array in shipped.items():
        gap = np.abs(array.astype(np.float32) - again[key].astype(np.float32))
        scale = np.abs(array.astype(np.float32)).max()
        differences.append(f"{key}: largest {gap.max():g}, mean {gap.mean():g} of {scale:g}")
    return "; ".join(differences)


def _show(what: str, done: int, total: int) -> None:
    if done % max(1, total // 5) == 0:
        print(f"  {what}: {done} of {total}", file=sys.stderr)


if __name__ == "__main__":
    main()
