"""How many poisoned and how many clean images a detector flags, on images it never saw.

    python -m benchmarks.detection DATA_DIR --detector freqsan-small --output detection

Only test rows are read: CIFAR-10 rows 40,000-49,999, GTSRB tracks 4 mod 5, Imagenette rows
3,000-3,924, and all of Caltech 101, which no part of the bundled detector was made from. The
trigger is put on the pixels, then the whole set is encoded. Verdicts are those of the stored
calibration. The clean and the poisoned half are the same images. Writes OUTPUT.json and
OUTPUT.md.
"""

import argparse
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

import attacks
from benchmarks.detection_data import decoded, table, tracks
from detector.bundled import find
from detector.calibration import Calibration
from detector.card import Measured, MeasuredRow
from detector.model import Detector
from detector.scores import Scores
from detector.storage import save_card
from detector.training.histories import jpeg
from sanitizer.metrics import auroc, auroc_interval, bdr_at_fpr, rate, wilson
from sanitizer.policy import Budget
from sanitizer.resizing import Filter, resize

#: Encodings of the whole set after the trigger: JPEG quality, 4:2:0.
HISTORIES = {"PNG": None, "JPEG q95": 95, "JPEG q75": 75}

#: Accepted clean losses that verdicts are given at.
LOSSES = (0.01, 0.001)


@dataclass(frozen=True)
class Row:
    """One line of the table; intervals are at 95 %."""

    data: str
    history: str
    attack: str
    images: int  #: clean, and as many poisoned
    fpr: dict[str, float]  #: by accepted clean loss
    fpr_interval: dict[str, tuple[float, float]]  #: Wilson
    bdr: dict[str, float]
    bdr_interval: dict[str, tuple[float, float]]  #: Wilson
    bdr_at_own_1_percent_fpr: float  #: threshold set on the clean half itself
    auroc: float
    auroc_interval: tuple[float, float]  #: bootstrap


def main() -> None:
    """Read the arguments, measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--detector", default="freqsan-small")
    parser.add_argument("--attack", action="append", help="default: all there are")
    parser.add_argument("--images", type=int, default=2000, help="of each data set, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("detection"))
    parser.add_argument(
        "--record", action="store_true", help="put the figures into the detector's card, too"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    detector = Detector.load(arguments.detector)
    sets = test_images(arguments.data, arguments.images, arguments.seed)
    rows = []
    for name, images in sets.items():
        rows += measure(detector, name, images, arguments.attack or attacks.names())
        print(f"{name}: done", flush=True)
    text = markdown(rows, f"{detector.identity}, seed {arguments.seed}")
    print(text)
    arguments.output.with_suffix(".md").write_text(text)
    result = {
        "detector": detector.identity,
        "seed": arguments.seed,
        "rows": list(map(asdict, rows)),
    }
    arguments.output.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    if arguments.record:
        measured = Measured(arguments.seed, tuple(map(_figures, rows)))
        card = replace(detector.card, measured=measured)
        save_card(find(arguments.detector), card, detector.calibration)


def test_images(data: Path, n: int, seed: int) -> dict[str, np.ndarray]:
    """Up to n random test images of each data set, (n, h, w, 3) uint8, by name."""
    cifar = table(data / "cifar10_train.parquet")
    gtsrb = table(data / "gtsrb_train.parquet")
    pictures = table(data / "imagenette224.parquet")
    caltech = table(data / "caltech101_32.parquet")
    rng = np.random.default_rng(seed)

    def some(rows: np.ndarray) -> np.ndarray:
        return np.sort(rng.choice(rows, min(n, len(rows)), replace=False))

    large = decoded(pictures, some(np.arange(3000, len(pictures))))
    return {
        "cifar10": np.stack(decoded(cifar, some(np.arange(40_000, 50_000)))),
        "gtsrb": np.stack(decoded(gtsrb, some(np.flatnonzero(tracks(gtsrb) % 5 == 4)))),
        "imagenette32": np.stack([resize(p, (32, 32), Filter.BICUBIC) for p in large]),
        "imagenette64": np.stack([resize(p, (64, 64), Filter.BICUBIC) for p in large]),
        "caltech (unseen)": np.stack(decoded(caltech, some(np.arange(len(caltech))))),
    }


def measure(detector: Detector, name: str, images: np.ndarray, names: list[str]) -> list[Row]:
    """One row for each history and attack."""
    rows = []
    for history, quality in HISTORIES.items():
        clean = _scores(detector, images, quality)
        for attack in names:
            poisoned = _scores(detector, attacks.get(attack)(images), quality)
            fpr, fpr_interval = _flagged(detector.calibration, clean)
            bdr, bdr_interval = _flagged(detector.calibration, poisoned)
            rows.append(
                Row(
                    name,
                    history,
                    attack,
                    len(images),
                    fpr,
                    fpr_interval,
                    bdr,
                    bdr_interval,
                    bdr_at_fpr(clean.values, poisoned.values, 0.01),
                    auroc(clean.values, poisoned.values),
                    auroc_interval(clean.values, poisoned.values, rounds=300),
                )
            )
    return rows


def _scores(detector: Detector, images: np.ndarray, quality: int | None) -> Scores:
    encoded = images if quality is None else [jpeg(pixels, quality) for pixels in images]
    return detector.score([detector.inputs.cut(pixels) for pixels in encoded])


def _flagged(
    calibration: Calibration, scores: Scores
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    shares, intervals = {}, {}
    p_values = calibration.p_values(scores).values
    for loss in LOSSES:
        calibration.check(loss)
        flagged = Budget(loss).fit(p_values).poisoned(p_values)
        shares[f"{loss:g}"] = rate(flagged)
        intervals[f"{loss:g}"] = wilson(int(flagged.sum()), len(flagged))
    return shares, intervals


def markdown(rows: list[Row], title: str) -> str:
    """The table; shares in percent, intervals at 95 % in brackets."""
    keys = [f"{loss:g}" for loss in LOSSES]
    heads = ["data", "history", "attack", "n"]
    heads += [f"{what} at {loss:.1%} loss" for what in ("FPR", "BDR") for loss in LOSSES]
    heads += ["BDR at own 1 % FPR", "AUROC"]
    lines = [title, "", _line(heads), _line(["---"] * len(heads))]
    for row in rows:
        cells = [row.data, row.history, row.attack, f"{row.images:,}"]
        cells += [_share(row.fpr[k], row.fpr_interval[k]) for k in keys]
        cells += [_share(row.bdr[k], row.bdr_interval[k]) for k in keys]
        low, high = row.auroc_interval
        cells += [f"{row.bdr_at_own_1_percent_fpr:.1%}", f"{row.auroc:.3f} [{low:.3f}, {high:.3f}]"]
        lines.append(_line(cells))
    return "\n".join(lines) + "\n"


def _figures(row: Row) -> MeasuredRow:
    """What a detector's card says of one row."""
    return MeasuredRow(
        data=row.data,
        history=row.history,
        attack=row.attack,
        images=row.images,
        fpr=row.fpr,
        bdr=row.bdr,
        auroc=round(row.auroc, 4),
    )


def _share(share: float, interval: tuple[float, float]) -> str:
    return f"{share:.1%} [{interval[0]:.1%}, {interval[1]:.1%}]"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
