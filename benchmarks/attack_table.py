"""Whether the attacks really attack: a victim trained on each, row by row.

    python -m benchmarks.attack_table DATA_DIR                         # all rows that are missing
    python -m benchmarks.attack_table DATA_DIR --only cifar10/badnets/0.1

A finished row is a line of benchmarks/attacks.jsonl; rows that are there are skipped. The table
of docs/attacks.md is written from them by benchmarks.attack_docs.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import attacks
from attacks import Attack, Role
from attacks.victims.settings import VICTIMS
from attacks.victims.training import shares, train
from benchmarks.attack_rows import NONE, Planted, Row, RowSpec, row_specs
from benchmarks.victim_data import DATA, VictimData
from pipelines.runs.following import follow
from sanitizer.metrics import wilson

ROWS = Path(__file__).with_name("attacks.jsonl")

#: Test images that a trigger is put on.
TRIGGERED = 2000

#: Of each kind of test images, those that are looked at after every epoch.
FOLLOWED = 1000

SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--only", metavar="ROW", help="such as cifar10/badnets/0.1")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the same arithmetic on any number of cores
    done = {row.name for row in finished()}
    loaded: dict[str, VictimData] = {}
    for spec in row_specs():
        if spec.name in done or options.only not in (None, spec.name):
            continue
        if spec.data not in loaded:
            loaded = {spec.data: DATA[spec.data](options.data_dir)}
        row = measure(spec, loaded[spec.data])
        with ROWS.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"name": row.name} | row.to_json()) + "\n")
        asr = "" if row.asr is None else f", ASR {row.asr:.1%}"
        print(f"{row.name}: accuracy {row.accuracy:.1%}{asr}", flush=True)


def finished() -> list[Row]:
    """The rows there are."""
    if not ROWS.exists():
        return []
    lines = ROWS.read_text(encoding="utf-8").splitlines()
    return [Row.from_json(json.loads(line)) for line in lines]


def measure(spec: RowSpec, data: VictimData) -> Row:
    """Poison the training part, train the victim, and see what it does with triggers."""
    began = time.monotonic()
    settings = replace(VICTIMS[spec.victim], flip=data.flip)
    limits = (len(data.images), settings.max_images, spec.images)
    count = min(limit for limit in limits if limit is not None)
    images, labels = data.images[:count], data.labels[:count]
    watch = {"accuracy": (data.test_images, data.test_labels)}
    fields: dict[str, Any] = {}
    if spec.attack != NONE:
        attack = attacks.get(spec.attack, **spec.settings)
        aimed = attack if spec.target_of is None else attacks.get(spec.target_of)
        target = aimed.own_target or 0
        clean_label = attack.clean_label and not spec.dirty_label
        images, labels, planted = poisoned(attack, images, labels, spec.rate, target, clean_label)
        others = np.flatnonzero(data.test_labels != target)[:TRIGGERED]
        triggered = attack(data.test_images[others], Role.TEST)
        watch["asr"] = (triggered, np.full(len(others), target))
        fields = {
            "clean_label": clean_label,
            "attack_settings": dict(vars(attack)),
            "target": target,
            "planted": planted,
        }
    followed = {name: (x[:FOLLOWED], y[:FOLLOWED]) for name, (x, y) in watch.items()}
    observer = follow(spec.name, quiet=False, names={"asr": "ASR"})
    trained = train(
        images, labels, data.classes, settings, seed=SEED, watch=followed, observer=observer
    )
    for name, share in shares(trained.victim, watch).items():
        tested = len(watch[name][1])
        fields |= {name: share, f"{name}_interval": wilson(round(share * tested), tested)}
        fields |= {f"{name}_images": tested, f"{name}_by_epoch": [e[name] for e in trained.history]}
    return Row(
        **vars(spec),
        **fields,
        seed=SEED,
        train_images=len(images),
        seconds=round(time.monotonic() - began, 1),
    )


def poisoned(
    attack: Attack,
    images: np.ndarray,
    labels: np.ndarray,
    rate: float,
    target: int,
    clean_label: bool,
) -> tuple[np.ndarray, np.ndarray, Planted]:
    """A poisoned copy of a training set, and how many samples bear which role."""
    images, labels = images.copy(), labels.copy()
    cover_rate = rate * attack.cover_ratio
    eligible = labels == target if clean_label else np.ones(len(labels), bool)
    roles = np.array(
        [
            str(attacks.role_of(f"#{row}", rate, cover_rate, SEED)) if allowed else "None"
            for row, allowed in enumerate(eligible)
        ]
    )
    poison, cover = (np.flatnonzero(roles == role) for role in (Role.POISON, Role.COVER))
    for rows, role in ((poison, Role.POISON), (cover, Role.COVER)):
        if len(rows):
            images[rows] = attack(images[rows], role)
    labels[poison] = target
    return images, labels, Planted(len(poison), len(cover))


if __name__ == "__main__":
    main()
