"""How a detector does on kinds of triggers that nobody thought of: families that are left out.

    python -m benchmarks.left_out DATA_DIR --epochs 4 --pairs 40000

For each family a detector is trained on the others, and one on all, equally short. What was left
out and every trigger are put on test images, the rows of ``benchmarks.detection``; the threshold is
what 1 % of them exceed as they are. Finished rows and checkpoints are kept in --work.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import attacks
from benchmarks.bundled_detector import VIEWS, views
from benchmarks.detection import images_of
from benchmarks.lines import append, rows_of
from detector.network import logits, pixels_on
from detector.training.loop import Trained, TrainSettings, train
from detector.training.manipulations import FAMILIES, manipulate
from sanitizer.cores import allow_threads
from sanitizer.metrics import Share, threshold_at_fpr
from sanitizer.record import Record

#: What detectors are tested on.
SETS = ("cifar10", "gtsrb", "imagenette 32", "caltech (unseen)")

#: The name of the detector that has learnt from all families.
NONE = "none"

#: Share of the clean images above the threshold.
LOSS = 0.01


@dataclass(frozen=True)
class Row(Record):
    """What a detector finds of one manipulation or trigger."""

    left_out: str  #: a family, or ``NONE``
    data: str
    found: str  #: a family, or a trigger
    bdr: Share


def main() -> None:
    """Read the arguments, train and test what is missing, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=40_000)
    parser.add_argument("--images", type=int, default=500, help="of each test set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("build/left-out"))
    arguments = parser.parse_args()
    allow_threads(1)

    path = arguments.work / "rows.jsonl"
    sets = images_of(arguments.data, arguments.images, arguments.seed, "test")
    pool = np.concatenate(list(views(arguments.data, "train", VIEWS).values()))
    for left_out in (NONE, *FAMILIES):
        if any(row.left_out == left_out for row in rows_of(path, Row)):
            continue
        settings = TrainSettings(
            epochs=arguments.epochs,
            pairs=arguments.pairs,
            seed=arguments.seed,
            left_out=() if left_out == NONE else (left_out,),
        )
        trained = train(pool, {}, settings, checkpoint_dir=arguments.work / left_out)
        rows = [row for name in SETS for row in tested(trained, left_out, name, sets[name])]
        append(path, rows)
        print(f"{left_out}: done", flush=True)
    print(table(rows_of(path, Row)))


def tested(trained: Trained, left_out: str, name: str, images: np.ndarray) -> list[Row]:
    """Of each family and each trigger, what is found on one set."""
    threshold = threshold_at_fpr(_logits(trained, images), LOSS)

    def row(found: str, changed: np.ndarray) -> Row:
        bdr = Share.counted(_logits(trained, changed) > threshold)
        return Row(left_out, name, found, bdr)

    return [
        *(row(family, _only(family, images)) for family in FAMILIES),
        *(row(attack, attacks.get(attack)(images)) for attack in attacks.names()),
    ]


def _only(family: str, images: np.ndarray) -> np.ndarray:
    """Images, each with a manipulation of one family."""
    rng, others = np.random.default_rng(0), [name for name in FAMILIES if name != family]
    return np.stack([manipulate(p, images[rng.integers(len(images))], rng, others) for p in images])


def _logits(trained: Trained, images: np.ndarray) -> np.ndarray:
    device = next(trained.network.parameters()).device
    return logits(trained.network, pixels_on(images, device))


def table(rows: list[Row]) -> str:
    """For each family left out: what is found of it, with it and without; and of all triggers."""
    lines = [
        "| left out | set | of the family, % | with it in training | of the 22 triggers, % |",
        "|---|---|---|---|---|",
    ]
    found = {(row.left_out, row.data, row.found): row.bdr for row in rows}
    for left_out in dict.fromkeys(row.left_out for row in rows):
        for name in SETS:
            triggers = np.mean([found[left_out, name, a].value or 0.0 for a in attacks.names()])
            cells = ["", ""]
            if left_out != NONE:
                cells = [_share(found[key, name, left_out]) for key in (left_out, NONE)]
            lines.append(f"| {left_out} | {name} | {' | '.join(cells)} | {100 * triggers:.1f} |")
    return "\n".join(lines)


def _share(share: Share) -> str:
    assert share.value is not None
    assert share.interval is not None
    low, high = share.interval
    return f"{100 * share.value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


if __name__ == "__main__":
    main()
