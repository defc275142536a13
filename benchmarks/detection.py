"""How many poisoned and how many clean images a detector flags, on images it never saw.

    python -m benchmarks.detection DATA_DIR --detector freqsan-small --output detection

Only test rows are read: CIFAR-10 rows 40,000-49,999, GTSRB tracks 4 mod 5, Imagenette rows
3,000-3,924, and all of Caltech 101, which no part of the bundled detector was made from;
``--part validation`` reads rows for work on the detector instead. A trigger is put on the pixels,
then the whole set is encoded, and judged as ``freqsan clean`` does: a set with enough images by its
own bulk. Its poisoned images are a share of it that is drawn; detection is measured on all images
with the trigger. Each finished row is kept in OUTPUT.jsonl; OUTPUT.md shows all.
"""

import argparse
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import attacks
import detector as detector_package
from benchmarks.detection_data import decoded, table, tracks
from benchmarks.lines import append, rows_of
from detector.bulk import OwnScale
from detector.bundled import find
from detector.card import Measured, MeasuredRow
from detector.inputs import Parts
from detector.model import Detector
from detector.scores import Scores
from detector.storage import save_card
from detector.training.histories import jpeg
from sanitizer.cores import allow_threads
from sanitizer.images import Header
from sanitizer.metrics import auroc, auroc_interval, bdr_at_fpr, rate, wilson
from sanitizer.policy import Budget
from sanitizer.record import Record
from sanitizer.resizing import Filter, resize

#: What is made of a picture and its trigger: quality and subsampling of JPEG, if it is encoded.
HISTORIES: dict[str, tuple[int, int] | None] = {
    "PNG": None,
    **{
        f"JPEG q{quality} {name}": (quality, subsampling)
        for quality in (50, 75, 90, 95, 100)
        for name, subsampling in (("4:2:0", 2), ("4:4:4", 0))
    },
}

#: Clean sets are also resized, by these factors, and stored losslessly.
RESIZED = (0.5, 2.0)

#: Encodings that triggers are measured in.
ATTACKED = ("PNG", "JPEG q75 4:2:0")

#: Triggers on pictures that are decoded JPEGs, stored losslessly: a case of its own.
DECODED = "PNG of a JPEG q75"

#: Clean loss that is accepted.
LOSS = 0.01

#: Poisoned images of a set while others are measured, and where clean losses are.
SHARE, SHARES = 0.05, (0.01, 0.05, 0.1, 0.2, 0.3)

#: Images of a large set on which triggers are measured.
LARGE = 300

Encode = Callable[[np.ndarray], Parts]


@dataclass(frozen=True)
class Row(Record):
    """One line of the table; intervals are Wilson's, at 95 %."""

    data: str
    history: str
    attack: str  #: empty: of clean sets
    images: int  #: clean
    poisoned: int  #: images with the trigger
    fpr: float  #: of the clean images that are flagged in a set of them and ``SHARE`` poisoned
    fpr_interval: tuple[float, float]
    fpr_by_share: dict[str, float]  #: the same, by the share of poisoned images
    bdr: float | None
    bdr_interval: tuple[float, float] | None
    fpr_stored: float  #: by the stored groups alone
    bdr_stored: float | None
    bdr_at_own_1_percent_fpr: float | None  #: threshold set on the clean images themselves
    auroc: float | None
    auroc_interval: tuple[float, float] | None  #: bootstrap
    of: str = ""  #: the detector, the part of the data, and :func:`code`


def main() -> None:
    """Read the arguments, measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--detector", default="freqsan-small")
    parser.add_argument("--attack", action="append", help="default: all there are")
    parser.add_argument("--set", action="append", help="default: all there are")
    parser.add_argument("--images", type=int, default=2000, help="of each data set, at most")
    parser.add_argument("--part", choices=("test", "validation"), default="test")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("detection"))
    parser.add_argument(
        "--record", action="store_true", help="put the figures into the detector's card, too"
    )
    arguments = parser.parse_args()
    allow_threads(1)

    detector = Detector.load(arguments.detector)
    of = f"{detector.identity}, {arguments.part}, code {code()}"
    kept = Kept(arguments.output.with_suffix(".jsonl"), of)
    sets = images_of(arguments.data, arguments.images, arguments.seed, arguments.part)
    for name, images in sets.items():
        if arguments.set is None or name in arguments.set:
            measure(detector, name, images, arguments.attack or attacks.names(), kept)
            print(f"{name}: done", flush=True)
    text = markdown(kept.rows, f"{detector.identity}, seed {arguments.seed}")
    print(text)
    arguments.output.with_suffix(".md").write_text(text)
    if arguments.record:
        measured = Measured(arguments.seed, tuple(_figures(row) for row in kept.rows))
        card = replace(detector.card, measured=measured)
        save_card(find(arguments.detector), card, detector.calibration)


def code() -> str:
    """A digest of the code that judges: what other code has measured is measured anew."""
    sources = sorted(Path(detector_package.__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()[:12]


class Kept:
    """Rows that are finished, of one detector, one part of the data, and one code."""

    def __init__(self, path: Path, of: str):
        self._path, self._of = path, of
        self.rows = [row for row in rows_of(path, Row) if row.of == of]

    def has(self, *key: str) -> bool:
        return any((row.data, row.history, row.attack) == key for row in self.rows)

    def add(self, row: Row) -> None:
        row = replace(row, of=self._of)
        self.rows.append(row)
        append(self._path, [row])


def images_of(data: Path, n: int, seed: int, part: str) -> dict[str, np.ndarray]:
    """Up to n random images of each data set, (n, h, w, 3) uint8, by name."""
    cifar = table(data / "cifar10_train.parquet")
    gtsrb = table(data / "gtsrb_train.parquet")
    pictures = table(data / "imagenette224.parquet")
    caltech = table(data / "caltech101_32.parquet")
    rng = np.random.default_rng(seed)

    def some(rows: np.ndarray) -> np.ndarray:
        return np.sort(rng.choice(rows, min(n, len(rows)), replace=False))

    if part == "test":
        rows = np.arange(40_000, 50_000), tracks(gtsrb) % 5 == 4, np.arange(3000, len(pictures))
    else:
        rows = np.arange(36_000, 38_000), tracks(gtsrb) % 10 == 3, np.arange(2400, 3000)
    large = decoded(pictures, some(rows[2]))
    sets = {
        "cifar10": np.stack(decoded(cifar, some(rows[0]))),
        "gtsrb": np.stack(decoded(gtsrb, some(np.flatnonzero(rows[1])))),
        "imagenette 224": np.stack(large),
    }
    for side in (32, 64, 128):
        resized = [resize(p, (side, side), Filter.BICUBIC) for p in large]
        sets[f"imagenette {side}"] = np.stack(resized)
    if part == "test":
        sets["caltech (unseen)"] = np.stack(decoded(caltech, some(np.arange(len(caltech)))))
    return sets


def measure(
    detector: Detector, name: str, images: np.ndarray, names: list[str], kept: Kept
) -> None:
    """One row for each history of the clean set, and for each trigger in some of them."""
    attacked = images[:LARGE] if images.shape[1] > 64 else images
    for history, encode in encodings(detector).items():
        asked = [attack for attack in names if not kept.has(name, history, attack)]
        asked = asked if history in (*ATTACKED, DECODED) else []
        if not asked and kept.has(name, history, ""):
            continue
        given = decoded_jpegs(images) if history == DECODED else images
        clean = detector.score([encode(pixels) for pixels in given])
        if not kept.has(name, history, ""):
            kept.add(row(detector, name, history, "", clean, None))
        for attack in asked:
            given = decoded_jpegs(attacked) if history == DECODED else attacked
            triggered = attacks.get(attack)(given)
            poisoned = detector.score([encode(pixels) for pixels in triggered])
            kept.add(row(detector, name, history, attack, clean, poisoned))
            print(f"{name}, {history}, {attack}: {kept.rows[-1].bdr:.1%}", flush=True)


def encodings(detector: Detector) -> dict[str, Encode]:
    """What makes parts of pixels, by history."""
    inputs = detector.inputs

    def encoded(quality: int, subsampling: int) -> Encode:
        def encode(pixels: np.ndarray) -> Parts:
            header = Header(pixels.shape[1], pixels.shape[0], "JPEG", quality)
            return inputs.cut(jpeg(pixels, quality, subsampling), header)

        return encode

    def resized(factor: float) -> Encode:
        def encode(pixels: np.ndarray) -> Parts:
            side = tuple(round(length * factor) for length in pixels.shape[:2])
            return inputs.cut(resize(pixels, (side[0], side[1]), Filter.BILINEAR))

        return encode

    made = {name: inputs.cut if q is None else encoded(*q) for name, q in HISTORIES.items()}
    made |= {f"PNG resized by {factor:g}": resized(factor) for factor in RESIZED}
    return made | {DECODED: inputs.cut}


def decoded_jpegs(images: np.ndarray) -> np.ndarray:
    """(n, h, w, 3) uint8 after JPEG of quality 75."""
    return np.stack([jpeg(pixels, 75) for pixels in images])


def row(
    detector: Detector,
    name: str,
    history: str,
    attack: str,
    clean: Scores,
    poisoned: Scores | None,
) -> Row:
    """The figures of a clean set and of images with a trigger."""
    own = {0.0: flagged(detector, clean, None, clean)}
    found = found_stored = at_own = area = None
    n = 0
    if poisoned is not None:
        for share in SHARES:
            among = drawn(poisoned, round(len(clean) * share / (1 - share)))
            own[share] = flagged(detector, clean, among, clean)
        found = flagged(
            detector, clean, drawn(poisoned, round(len(clean) * SHARE / (1 - SHARE))), poisoned
        )
        found_stored = stored(detector, poisoned)
        at_own = bdr_at_fpr(clean.values, poisoned.values, LOSS)
        area = (
            auroc(clean.values, poisoned.values),
            auroc_interval(clean.values, poisoned.values, rounds=300),
        )
        n = len(poisoned)
    lost = own[SHARE if poisoned is not None else 0.0]
    return Row(
        data=name,
        history=history,
        attack=attack,
        images=len(clean),
        poisoned=n,
        fpr=rate(lost),
        fpr_interval=wilson(int(lost.sum()), len(lost)),
        fpr_by_share={f"{share:g}": rate(of) for share, of in own.items()},
        bdr=None if found is None else rate(found),
        bdr_interval=None if found is None else wilson(int(found.sum()), len(found)),
        fpr_stored=rate(stored(detector, clean)),
        bdr_stored=None if found_stored is None else rate(found_stored),
        bdr_at_own_1_percent_fpr=at_own,
        auroc=None if area is None else area[0],
        auroc_interval=None if area is None else area[1],
    )


def drawn(scores: Scores, n: int) -> Scores:
    """n of the images, more than once where there are not as many."""
    rows = np.random.default_rng(1).permutation(np.resize(np.arange(len(scores)), n))
    return Scores(scores.values[rows], scores.parts[rows], scores.encodings[rows])


def flagged(
    detector: Detector, clean: Scores, poisoned: Scores | None, asked: Scores
) -> np.ndarray:
    """Which of the images asked for are flagged in a set of clean and poisoned ones, (n,) bool."""
    whole = clean if poisoned is None else Scores.joined([clean, poisoned])
    own = OwnScale.of(detector.calibration, whole)
    p_values = own.p_values(asked, detector.calibration.p_values(asked).values)
    return Budget(LOSS).fit(p_values).poisoned(p_values)


def stored(detector: Detector, asked: Scores) -> np.ndarray:
    """Which images are flagged by the stored groups alone, (n,) bool."""
    p_values = detector.calibration.p_values(asked).values
    return Budget(LOSS).fit(p_values).poisoned(p_values)


def markdown(rows: list[Row], title: str) -> str:
    """The tables; shares in percent, intervals at 95 % in brackets."""
    return "\n".join([title, "", *_clean_lines(rows), "", *_attack_lines(rows)]) + "\n"


def _clean_lines(rows: list[Row]) -> Iterator[str]:
    yield _line(["clean set", "history", "n", "lost", "by stored groups"])
    yield _line(["---"] * 5)
    clean = [row for row in rows if not row.attack]
    for row in clean:
        lost = _share(row.fpr, row.fpr_interval)
        yield _line([row.data, row.history, f"{row.images:,}", lost, f"{row.fpr_stored:.1%}"])
    if clean:
        losses = [row.fpr for row in clean]
        yield _line(["mean, highest", "", "", f"{np.mean(losses):.2%}, {max(losses):.2%}", ""])


def _attack_lines(rows: list[Row]) -> Iterator[str]:
    heads = ["set", "history", "attack", "n", "BDR", "clean loss at 5 %"]
    heads += [f"{share:.0%}" for share in SHARES if share != SHARE]
    heads += ["BDR by stored groups", "BDR at own 1 % FPR", "AUROC"]
    yield _line(heads)
    yield _line(["---"] * len(heads))
    for row in rows:
        if row.bdr is None or row.bdr_interval is None or row.auroc_interval is None:
            continue
        cells = [row.data, row.history, row.attack, f"{row.poisoned:,}"]
        cells += [_share(row.bdr, row.bdr_interval), f"{row.fpr:.2%}"]
        cells += [f"{row.fpr_by_share[f'{s:g}']:.2%}" for s in SHARES if s != SHARE]
        low, high = row.auroc_interval
        cells += [f"{row.bdr_stored:.1%}", f"{row.bdr_at_own_1_percent_fpr:.1%}"]
        yield _line([*cells, f"{row.auroc:.3f} [{low:.3f}, {high:.3f}]"])


def _figures(row: Row) -> MeasuredRow:
    """What a detector's card says of one row."""
    return MeasuredRow(
        data=row.data,
        history=row.history,
        attack=row.attack,
        images=row.images,
        fpr={f"{LOSS:g}": row.fpr},
        bdr={} if row.bdr is None else {f"{LOSS:g}": row.bdr},
        auroc=None if row.auroc is None else round(row.auroc, 4),
    )


def _share(share: float, interval: tuple[float, float]) -> str:
    return f"{share:.1%} [{interval[0]:.1%}, {interval[1]:.1%}]"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
