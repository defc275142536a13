"""The scan beside defences that train a model on the suspect set first: quality and CPU time.

    pip install -e '.[rivals]'
    python -m benchmarks.rivals cifar10_train.parquet --attack badnets --attack blend --rate 0.05

Spectral signatures (Tran, Li, Madry, NeurIPS 2018) and activation clustering (Chen et al., SafeAI
2019) are those of the Adversarial Robustness Toolbox, as it sets them, on the features of
freqsan's standard victim, which is trained on the poisoned set. Spectral signatures are told the
true share of poison in the target class, which nobody knows in earnest. A row for each attack and
rate is written when it is finished; one that is there is not measured again.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from attacks.victims.model import Victim, as_tensor
from attacks.victims.settings import VICTIMS
from attacks.victims.training import train
from pipelines.jobs.poison import poison
from pipelines.jobs.scan import scan
from sanitizer.files import write_atomically
from sanitizer.images import decode
from sanitizer.metrics import Share
from sanitizer.record import Record

ROWS = Path("benchmarks/rows/rivals")

#: Images whose features are computed at once.
BATCH = 500


@dataclass(frozen=True)
class Result(Record):
    """What one defence says of one set."""

    tpr: Share  #: of the poisoned images, those that are found
    fpr: Share  #: of all other images, those that are found
    cpu_minutes: float  #: its own, with the training of the victim that it needs


@dataclass(frozen=True)
class Row(Record):
    """All defences on one set."""

    attack: str
    rate: float
    seed: int
    images: int
    victim_accuracy: float  #: of the victim on its own training set
    results: dict[str, Result]


@dataclass(frozen=True)
class PoisonedSet:
    """A poisoned set, in memory and as files."""

    folder: Path
    ids: list[str]
    images: np.ndarray  #: (n, 32, 32, 3) uint8
    labels: np.ndarray  #: (n,) int64
    poisoned: np.ndarray  #: (n,) bool


def poisoned_set(
    data: Path, rows: slice, attack: str, rate: float, seed: int, at: Path
) -> PoisonedSet:
    """Poison rows of a set as ``freqsan poison`` does."""
    clean = at / "clean.parquet"
    pq.write_table(pq.read_table(data).slice(rows.start, rows.stop - rows.start), clean)
    poison(clean, at / "poisoned", attack=attack, rate=rate, seed=seed, quiet=True)
    table = pq.read_table(at / "poisoned" / "data")
    return PoisonedSet(
        at / "poisoned" / "data",
        table["sample_id"].to_pylist(),
        np.stack([decode(image["bytes"]) for image in table["image"].to_pylist()]),
        table["label"].to_numpy().astype(np.int64),
        table["is_poisoned"].to_numpy().astype(bool),
    )


def features(victim: Victim, images: np.ndarray) -> np.ndarray:
    """(n, d) float32 activations of the penultimate layer."""
    victim.network.eval()
    with torch.inference_mode():
        parts = [
            victim.network.features(as_tensor(images[i : i + BATCH], victim.device)).cpu().numpy()
            for i in range(0, len(images), BATCH)
        ]
    return np.concatenate(parts)


def classifier(victim: Victim, known: np.ndarray) -> Any:
    """As much of a classifier as the toolbox looks at: its classes and its features."""
    return SimpleNamespace(
        nb_classes=victim.classes,
        layer_names=["features"],
        get_activations=lambda *arguments, **options: known,
    )


def spectral_signatures(victim: Victim, known: np.ndarray, given: PoisonedSet) -> np.ndarray:
    """(n,) bool, what spectral signatures find."""
    from art.defences.detector.poison import SpectralSignatureDefense

    one_hot = np.eye(victim.classes)[given.labels]
    target = given.labels[given.poisoned][0]
    share = float(given.poisoned[given.labels == target].mean())
    defence = SpectralSignatureDefense(
        classifier(victim, known), given.images, one_hot, expected_pp_poison=share
    )
    return np.array(defence.detect_poison()[1]) == 0


def activation_clustering(victim: Victim, known: np.ndarray, given: PoisonedSet) -> np.ndarray:
    """(n,) bool, what activation clustering finds."""
    from art.defences.detector.poison import ActivationDefence

    one_hot = np.eye(victim.classes)[given.labels]
    defence = ActivationDefence(classifier(victim, known), given.images, one_hot)
    return np.array(defence.detect_poison(nb_clusters=2, nb_dims=10, reduce="PCA")[1]) == 0


def scanned(given: PoisonedSet, at: Path) -> np.ndarray:
    """(n,) bool, what ``freqsan scan`` finds, reading and decoding included."""
    scan(given.folder, at / "scanned", quiet=True)
    rows = pq.read_table(
        sorted((at / "scanned" / "scores").glob("*.parquet")), columns=["sample_id", "verdict"]
    )
    found = dict(zip(rows["sample_id"].to_pylist(), rows["verdict"].to_pylist(), strict=True))
    return np.array([found[one] == "poisoned" for one in given.ids])


def cpu_seconds() -> float:
    """Of this process and the children that have ended."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def measured(find: Callable[[], np.ndarray], given: PoisonedSet, beforehand: float) -> Result:
    """The result of a defence; ``beforehand`` are CPU seconds that it needed before."""
    began = cpu_seconds()
    found = find()
    return Result(
        Share.counted(found[given.poisoned]),
        Share.counted(found[~given.poisoned]),
        (beforehand + cpu_seconds() - began) / 60,
    )


def row(data: Path, rows: slice, attack: str, rate: float, seed: int) -> Row:
    """Measure all defences on one set."""
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        given = poisoned_set(data, rows, attack, rate, seed, at)
        ours = measured(lambda: scanned(given, at), given, 0.0)
        began = cpu_seconds()
        classes = int(given.labels.max()) + 1
        victim = train(given.images, given.labels, classes, VICTIMS["standard"], seed=seed).victim
        known = features(victim, given.images)
        beforehand = cpu_seconds() - began
        return Row(
            attack=attack,
            rate=rate,
            seed=seed,
            images=len(given.images),
            victim_accuracy=float((victim.predict(given.images) == given.labels).mean()),
            results={
                "freqsan scan": ours,
                "spectral signatures": measured(
                    lambda: spectral_signatures(victim, known, given), given, beforehand
                ),
                "activation clustering": measured(
                    lambda: activation_clustering(victim, known, given), given, beforehand
                ),
            },
        )


def tell(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    names = list(rows[0].results)
    lines = [
        "| attack | rate | "
        + " | ".join(f"{name}: TPR / FPR, %, CPU min" for name in names)
        + " |",
        "|---|---|" + "---|" * len(names),
    ]
    for one in rows:
        cells = [
            f"{100 * (r.tpr.value or 0):.1f} / {100 * (r.fpr.value or 0):.2f}, {r.cpu_minutes:.1f}"
            for r in one.results.values()
        ]
        lines.append(f"| {one.attack} | {one.rate:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--attack", action="append", required=True)
    parser.add_argument("--rate", action="append", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", default="25000:50000", help="Of the set, A:B.")
    parser.add_argument("--output", type=Path, default=ROWS)
    given = parser.parse_args()
    first, end = map(int, given.rows.split(":"))
    done = []
    for rate in given.rate:
        for attack in given.attack:
            path = given.output / f"{attack}-{rate:g}-{first}-{end}-{given.seed}.json"
            if not path.exists():
                began = time.monotonic()
                measured_row = row(given.data, slice(first, end), attack, rate, given.seed)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, json.dumps(measured_row.to_json(), indent=1).encode())
                print(f"{attack} {rate:g}: {time.monotonic() - began:.0f} s", flush=True)
            done.append(Row.from_json(json.loads(path.read_bytes())))
    print(tell(done))


if __name__ == "__main__":
    main()
