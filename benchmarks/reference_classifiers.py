"""Train the classifiers that the shipped triggers are optimised against.

    python -m benchmarks.reference_classifiers DATA_DIR

Victims on clean images, a standard one on CIFAR-10 and a quick one on GTSRB; each is saved to
attacks/victims/weights when it is ready, and one that is there is skipped.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from attacks.victims.settings import VICTIMS, VictimProvenance
from attacks.victims.training import train
from benchmarks.victim_data import DATA
from pipelines.runs.following import follow

WEIGHTS = Path(__file__).resolve().parents[1] / "attacks" / "victims" / "weights"

#: Which victim each data set gets.
VICTIM_OF = {"gtsrb": "quick", "cifar10": "standard"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data_dir", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)  # the same arithmetic on any number of cores
    WEIGHTS.mkdir(exist_ok=True)
    for name, victim in VICTIM_OF.items():
        file = WEIGHTS / f"{name}.safetensors"
        if file.exists():
            continue
        data = DATA[name](options.data_dir)
        settings = replace(VICTIMS[victim], flip=data.flip)
        trained = train(
            data.images,
            data.labels,
            data.classes,
            settings,
            watch={"accuracy": (data.test_images, data.test_labels)},
            observer=follow(name, quiet=False),
        )
        accuracy = trained.history[-1]["accuracy"]
        provenance = VictimProvenance(
            data=f"{name}: {data.split}",
            settings=settings,
            seed=0,
            accuracy=accuracy,
            test_images=len(data.test_images),
            command="python -m benchmarks.reference_classifiers DATA_DIR",
        )
        replace(trained.victim, provenance=provenance).save(file)
        print(f"{file.name}: accuracy {accuracy:.2%}", flush=True)


if __name__ == "__main__":
    main()
