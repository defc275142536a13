"""Whether the attacks really attack: a victim trained on each, row by row.

    python -m benchmarks.attack_table DATA_DIR                         # all rows that are missing
    python -m benchmarks.attack_table DATA_DIR --only cifar10/badnets/0.1

A finished row is a line of benchmarks/attacks.jsonl; rows that are there are skipped. The table
of docs/attacks.md is written from them by benchmarks.attack_docs.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import attacks
from attacks import Attack, Role
from attacks.victims.training import VICTIMS, VictimProgress, train
from benchmarks.attack_rows import RowSpec, row_specs
from benchmarks.victim_data import DATA, VictimData
from sanitizer.metrics import wilson

ROWS = Path(__file__).with_name("attacks.jsonl")

#: Test images that a trigger is put on.
TRIGGERED = 2000

SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--only", metavar="ROW", help="such as cifar10/badnets/0.1")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the same arithmetic on any number of cores
    done = {row["name"] for row in finished()}
    loaded: dict[str, VictimData] = {}
    for spec in row_specs():
        if spec.name in done or options.only not in (None, spec.name):
            continue
        if spec.data not in loaded:
            loaded = {spec.data: DATA[spec.data](options.data_dir)}
        row = measure(spec, loaded[spec.data])
        with ROWS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{spec.name}: accuracy {row['accuracy']:.1%}, ASR {row['asr']:.1%}", flush=True)


def finished() -> list[dict[str, Any]]:
    """The rows there are."""
    if not ROWS.exists():
        return []
    return [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]


def measure(spec: RowSpec, data: VictimData) -> dict[str, Any]:
    """Poison the training part, train the victim, and see what it does with triggers."""
    began = time.monotonic()
    attack = attacks.get(spec.attack, **spec.settings)
    target = attack.own_target or 0
    settings = replace(VICTIMS[spec.victim], flip=data.flip)
    count = min(len(data.images), settings.max_images or len(data.images))
    images, labels, planted = poisoned(
        attack, data.images[:count], data.labels[:count], spec.rate, target
    )
    others = np.flatnonzero(data.test_labels != target)[:TRIGGERED]
    triggered = attack(data.test_images[others], Role.TEST)
    watch = {
        "accuracy": (data.test_images, data.test_labels),
        "asr": (triggered, np.full(len(others), target)),
    }
    trained = train(images, labels, data.classes, settings, seed=SEED, watch=watch, progress=_show)
    accuracy, asr = trained.history[-1]["accuracy"], trained.history[-1]["asr"]
    return {
        "name": spec.name,
        **asdict(spec),
        "clean_label": attack.clean_label,
        "attack_settings": dict(vars(attack).items()),
        "target": target,
        "seed": SEED,
        "train_images": len(images),
        "planted": planted,
        "accuracy": accuracy,
        "accuracy_interval": _interval(accuracy, len(data.test_labels)),
        "test_images": len(data.test_labels),
        "asr": asr,
        "asr_interval": _interval(asr, len(others)),
        "triggered_images": len(others),
        "asr_by_epoch": [entry["asr"] for entry in trained.history],
        "seconds": round(time.monotonic() - began, 1),
    }


def poisoned(
    attack: Attack, images: np.ndarray, labels: np.ndarray, rate: float, target: int
) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """A poisoned copy of a training set, and how many samples bear which role."""
    images, labels = images.copy(), labels.copy()
    cover_rate = rate * attack.cover_ratio
    eligible = labels == target if attack.clean_label else np.ones(len(labels), bool)
    roles = np.array(
        [
            str(attacks.role_of(f"#{row}", rate, cover_rate, SEED)) if allowed else "None"
            for row, allowed in enumerate(eligible)
        ]
    )
    counts = {}
    for role in (Role.POISON, Role.COVER):
        rows = np.flatnonzero(roles == role)
        counts[str(role)] = len(rows)
        if len(rows):
            images[rows] = attack(images[rows], role)
        if role is Role.POISON:
            labels[rows] = target
    return images, labels, counts


def _interval(share: float, n: int) -> tuple[float, float]:
    return wilson(round(share * n), n)


def _show(state: VictimProgress) -> None:
    if state.shares is not None:
        shares = ", ".join(f"{name} {share:.1%}" for name, share in state.shares.items())
        print(
            f"  epoch {state.epoch} of {state.epochs}: loss {state.loss:.3f}, {shares}, "
            f"{state.seconds_left:.0f} s left",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main()
