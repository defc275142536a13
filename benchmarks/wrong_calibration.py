"""How often a run says that the calibration does not fit, on clean and on poisoned sets.

    python -m benchmarks.wrong_calibration DATA_DIR

Only test rows are read: CIFAR-10 rows 40,000-49,999, GTSRB tracks 4 mod 5, Imagenette rows
3,000-3,924, Caltech 101 rows 1,000-1,999. ``--part choosing`` takes other rows instead: those
that the limits in ``sanitizer/fit.py`` were chosen on. Each image is scored once for each look
and trigger; sets are drawn from these scores. Rows are kept in WORK as they are
finished, so a run that was stopped goes on; OUTPUT.json has the counts.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageFilter, ImageOps

import attacks
from benchmarks.detection_data import decoded, table, tracks
from detector.bulk import OwnScale
from detector.calibration import Calibration
from detector.inputs import Parts
from detector.model import Detector
from detector.scores import Scores
from detector.training.histories import jpeg, sample, webp
from sanitizer.cores import allow_threads
from sanitizer.fit import ScoreShape, fit, standing_out
from sanitizer.images import Header
from sanitizer.metrics import Share
from sanitizer.policy import ROUNDING
from sanitizer.record import Record
from sanitizer.resizing import Filter, resize

Look = Callable[[np.ndarray], np.ndarray]

#: Accepted clean loss.
LIMIT = 0.01

#: Sets drawn for each row, each of this share of the images.
SETS, SHARE = 5, 0.7

#: Of all images; of a clean-label attack, of the target class.
RATES, CLEAN_LABEL_RATES = (0.005, 0.01, 0.02, 0.05, 0.1), (0.1, 0.5, 1.0)

#: Images of a data set, at most.
IMAGES = 2500

ATTACKS = (
    *("random_patch", "badnets", "blend", "trojan_square", "trojan_watermark", "nature", "l2_inv"),
    *("l0_inv", "gan_tri", "sig", "ftrojan", "ctrl", "bpp", "issba", "adaptive_patch"),
)


@dataclass(frozen=True)
class Row(Record):
    """Some sets of one kind."""

    part: str  #: "choosing" or "test"
    data: str
    look: str  #: how the images were processed
    attack: str  #: "" for clean sets
    labels: str  #: "one target", "all to all", "clean label", or "none"
    rate: float
    sets: int
    lost: float  #: share of clean images removed, mean
    found: float | None  #: share of poisoned images removed, mean
    wrong: int  #: sets of which it is said that the calibration does not fit
    #: The same with two of the three signs alone: what each of them adds.
    without_spread: int
    without_split: int
    without_kept: int
    doubted: int  #: sets of which it is said to be in doubt: two signs, and more lost than promised
    target_named: int  #: sets in which the target class is named
    innocents_named: int  #: sets in which another class is named


@dataclass(frozen=True)
class Scored:
    """The images of one look and trigger."""

    scores: Scores
    stored: np.ndarray  #: p-values by the calibration groups


def _pillow(change: Callable[[Image.Image], Image.Image]) -> Look:
    return lambda pixels: np.asarray(change(Image.fromarray(pixels)).convert("RGB"))


def _noise(deviation: float) -> Look:
    def add(pixels: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng(int(pixels.sum()))
        noisy = pixels + rng.normal(0, deviation, pixels.shape)
        return noisy.round().clip(0, 255).astype(np.uint8)

    return add


def _resized(side: int, method: Filter) -> Look:
    return lambda pixels: resize(pixels, (side, side), method)


#: Clean processing of the images as they are. Those from "detail" on were not looked at while
#: the limits were chosen.
LOOKS: dict[str, Look] = {
    "as they are": lambda pixels: pixels,
    "JPEG q75": lambda pixels: jpeg(pixels, 75),
    "JPEG q15": lambda pixels: jpeg(pixels, 15),
    "WebP q50": lambda pixels: webp(pixels, 50),
    "grey": _pillow(lambda image: image.convert("L")),
    "unsharp mask": _pillow(lambda image: image.filter(ImageFilter.UnsharpMask(1, 150, 0))),
    "noise of 4": _noise(4),
    "noise of 10": _noise(10),
    "64 colours": _pillow(lambda image: image.quantize(64)),
    "posterised": _pillow(lambda image: ImageOps.posterize(image, 4)),
    "equalised": _pillow(ImageOps.equalize),
    "median filter": _pillow(lambda image: image.filter(ImageFilter.MedianFilter(3))),
    "doubled, nearest": lambda p: np.repeat(np.repeat(p, 2, 0), 2, 1),
    "detail": _pillow(lambda image: image.filter(ImageFilter.DETAIL)),
    "edges enhanced": _pillow(lambda image: image.filter(ImageFilter.EDGE_ENHANCE)),
    "noise of 2": _noise(2),
    "web palette": _pillow(lambda image: image.convert("P")),
    "16 colours": _pillow(lambda image: image.quantize(16)),
    "5 bits a channel": _pillow(lambda image: ImageOps.posterize(image, 5)),
    "autocontrast": _pillow(lambda image: ImageOps.autocontrast(image, 2)),
    "solarised": _pillow(lambda image: ImageOps.solarize(image, 160)),
    "maximum filter": _pillow(lambda image: image.filter(ImageFilter.MaxFilter(3))),
    "WebP q50, unsharp": _pillow(
        lambda image: Image.fromarray(webp(np.asarray(image), 50)).filter(
            ImageFilter.UnsharpMask(2, 100, 0)
        )
    ),
}

#: Looks that are files of another encoding than PNG, and their quality.
QUALITIES = {"JPEG q75": 75, "JPEG q15": 15, "64 px, JPEG q75": 75, "64 px, JPEG q15": 15}

#: The same of large pictures, brought to the size of small sets first.
SMALLER: dict[str, Look] = {
    "64 px, bicubic": _resized(64, Filter.BICUBIC),
    "64 px, nearest": lambda pixels: sample(pixels, (64, 64), Filter.NEAREST),
    "64 px, bilinear without antialiasing": lambda p: sample(p, (64, 64), Filter.BILINEAR),
    "32 px, nearest": lambda pixels: sample(pixels, (32, 32), Filter.NEAREST),
    "128 px, nearest": lambda pixels: sample(pixels, (128, 128), Filter.NEAREST),
    "96 px, bicubic without antialiasing": lambda p: sample(p, (96, 96), Filter.BICUBIC),
    "64 px crop": lambda pixels: pixels[80:144, 80:144],
}


def main() -> None:
    """Read the arguments, measure what is not there yet, count, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--part", choices=("choosing", "test"), default="test")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/wrong_calibration"))
    parser.add_argument("--work", type=Path, default=Path("build/wrong_calibration.jsonl"))
    arguments = parser.parse_args()
    allow_threads(1)

    file = arguments.work
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [Row.from_json(json.loads(line)) for line in _lines(file)]
    done = {(row.part, row.data, row.look, row.attack) for row in rows}
    detector = Detector.load("freqsan-small")
    for name, (images, labels) in _image_sets(arguments.data, arguments.part).items():
        for look, attack, rendered in _views(name, images):
            if (arguments.part, name, look, attack) in done:
                continue
            quality = QUALITIES.get(look)
            clean = _scored(detector, rendered(None), quality)
            poisoned = _scored(detector, rendered(attack), quality) if attack else None
            draw = partial(_drawn, detector.calibration, clean, poisoned or clean, labels)
            is_clean = poisoned is None
            fresh = list(_rows(arguments.part, name, look, attack, is_clean, draw))
            with file.open("a") as out:
                out.writelines(json.dumps(row.to_json()) + "\n" for row in fresh)
            rows += fresh
            print(f"{name}, {look}, {attack or 'clean'}: done", flush=True)
    rows = [row for row in rows if row.part == arguments.part]
    result = {"detector": detector.identity, "part": arguments.part, "counts": _counts(rows)}
    arguments.output.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    print(_markdown(result["counts"]))


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def _image_sets(data: Path, part: str) -> dict[str, tuple[list[np.ndarray], np.ndarray]]:
    """Images and labels of each data set."""
    gtsrb = tracks(table(data / "gtsrb_train.parquet"))
    rng = np.random.default_rng(0)
    test = part == "test"
    rows = {
        "cifar10_train": rng.permutation(
            np.arange(*((40_000, 50_000) if test else (36_000, 40_000)))
        ),
        "gtsrb_train": rng.permutation(np.flatnonzero(gtsrb % 5 == 4 if test else gtsrb % 10 == 3)),
        "imagenette224": np.arange(*((3000, 3925) if test else (2400, 3000))),
        "caltech101_32": np.arange(*((1000, 2000) if test else (0, 1000))),
    }
    sets = {}
    for name, chosen in rows.items():
        file = data / f"{name}.parquet"
        chosen = np.sort(chosen[:IMAGES])
        labels = pq.read_table(file, columns=["label"])["label"].to_numpy()[chosen]
        sets[name.split("_")[0]] = decoded(table(file), chosen), labels
    return sets


Rendered = Callable[[str | None], list[np.ndarray]]


def _views(name: str, images: list[np.ndarray]) -> Iterator[tuple[str, str, Rendered]]:
    """Look, trigger, and what renders the images with a trigger or none."""
    large = name.startswith("imagenette")
    usual = SMALLER["64 px, bicubic"] if large else LOOKS["as they are"]

    def through(first: Look, then: Look) -> Rendered:
        def render(attack: str | None) -> list[np.ndarray]:
            pixels = np.stack([first(one) for one in images])
            return [then(one) for one in (attacks.get(attack)(pixels) if attack else pixels)]

        return render

    for look, change in LOOKS.items():
        yield f"64 px, {look}" if large else look, "", through(usual, change)
    for look, change in SMALLER.items() if large else ():
        yield look, "", through(change, LOOKS["as they are"])
    for attack in ATTACKS:
        for look in ("as they are", "JPEG q75"):
            yield look, attack, through(usual, LOOKS[look])


def _scored(detector: Detector, images: list[np.ndarray], quality: int | None) -> Scored:
    """As files of JPEG of that quality, or stored losslessly."""

    def parts(pixels: np.ndarray) -> Parts:
        height, width = pixels.shape[:2]
        header = None if quality is None else Header(width, height, "JPEG", quality)
        return detector.inputs.cut(pixels, header)

    scores = detector.score([parts(pixels) for pixels in images])
    return Scored(scores, detector.calibration.p_values(scores).values)


def _rows(
    part: str, data: str, look: str, attack: str, is_clean: bool, draw: Callable[..., "Drawn"]
) -> Iterator[Row]:
    """A row for each way to label and each rate; ``draw`` takes them and what chance there is."""
    kinds = (
        [("one target", 0.0), ("none", 0.0)]
        if is_clean
        else [
            *((kind, rate) for kind in ("one target", "all to all", "none") for rate in RATES),
            *(("clean label", rate) for rate in CLEAN_LABEL_RATES),
        ]
    )
    for kind, rate in kinds:
        rng = np.random.default_rng(0)
        sets = [draw(kind, rate, rng) for _ in range(SETS)]
        found = [one.found for one in sets if one.found is not None]
        yield Row(
            part, data, look, attack, kind, rate, SETS,
            lost=float(np.mean([one.lost for one in sets])),
            found=float(np.mean(found)) if found else None,
            wrong=sum(o.spread and o.kept and not o.split for o in sets),
            without_spread=sum(o.kept and not o.split for o in sets),
            without_split=sum(o.spread and o.kept for o in sets),
            without_kept=sum(o.spread and not o.split for o in sets),
            doubted=sum(o.doubted for o in sets),
            target_named=sum(o.target_named for o in sets),
            innocents_named=sum(o.innocents_named for o in sets),
        )  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    """What is said of one set."""

    lost: float
    found: float | None
    spread: bool
    split: bool
    kept: bool
    doubted: bool
    target_named: bool
    innocents_named: bool


def _drawn(
    calibration: Calibration,
    clean: Scored,
    poisoned: Scored,
    labels: np.ndarray,
    kind: str,
    rate: float,
    rng: np.random.Generator,
) -> Drawn:
    """One set: some of the images, of which a share carries the trigger; judged as clean does."""
    rows = rng.permutation(len(labels))[: int(SHARE * len(labels))]
    own, classes = labels[rows], np.unique(labels)
    target = rng.choice(own)
    eligible = own == target if kind == "clean label" else np.ones(len(rows), bool)
    bad = np.zeros(len(rows), bool)
    bad[rng.permutation(np.flatnonzero(eligible))[: round(rate * eligible.sum())]] = True
    values, parts, encodings = (
        np.where(bad, getattr(poisoned.scores, name)[rows], getattr(clean.scores, name)[rows])
        for name in ("values", "parts", "encodings")
    )
    scores = Scores(values, parts, encodings)
    stored = np.where(bad, poisoned.stored[rows], clean.stored[rows])
    p_values = OwnScale.of(calibration, scores).p_values(scores, stored)
    index = np.searchsorted(classes, own)
    if kind == "one target":
        index = np.where(bad, np.searchsorted(classes, target), index)
    elif kind == "all to all":
        index = np.where(bad, (index + 1) % len(classes), index)
    elif kind == "none":
        index = np.zeros_like(index)
    out = p_values <= LIMIT + ROUNDING
    removed = np.bincount(index[out], minlength=len(classes))
    judged = np.bincount(index, minlength=len(classes))
    shape = ScoreShape.of(scores.values, p_values, LIMIT)
    facts = fit(removed, judged, shape, LIMIT, calibration.smallest_group)
    named = standing_out(removed, judged, LIMIT) & (not facts.doubtful)
    is_target = classes == target if kind in ("one target", "clean label") and rate else classes < 0
    return Drawn(
        lost=float(out[~bad].mean()),
        found=float(out[bad].mean()) if bad.any() else None,
        spread=facts.spread,
        split=facts.split,
        kept=facts.kept_suspicious,
        doubted=facts.doubts(int(out.sum()), LIMIT * len(rows)),
        target_named=bool((named & is_target).any()),
        innocents_named=bool((named & ~is_target).any()),
    )


def _counts(rows: list[Row]) -> list[dict[str, object]]:
    """How many sets of each kind."""

    def loss(low: float, high: float) -> Callable[[Row], bool]:
        return lambda row: not row.attack and low <= row.lost < high

    def poison(kind: str) -> Callable[[Row], bool]:
        return lambda row: bool(row.attack) and row.labels == kind

    kinds: dict[str, Callable[[Row], bool]] = {
        "clean, lost at most 1 %": loss(0, 0.01),
        "clean, lost 1 to 3 %": loss(0.01, 0.03),
        "clean, lost 3 to 10 %": loss(0.03, 0.1),
        "clean, lost 10 to 50 %": loss(0.1, 0.5),
        "clean, lost over 50 %": loss(0.5, 2),
        "poisoned, one target": poison("one target"),
        "poisoned, clean label": poison("clean label"),
        "poisoned, all to all": poison("all to all"),
        "poisoned, no labels": poison("none"),
    }
    counts = []
    for kind, belongs in kinds.items():
        chosen = [row for row in rows if belongs(row)]
        counts.append(
            {"kind": kind, "sets": sum(row.sets for row in chosen)}
            | {
                name: sum(getattr(row, name) for row in chosen)
                for name in (
                    *("wrong", "without_spread", "without_split", "without_kept"),
                    *("doubted", "target_named", "innocents_named"),
                )
            }
        )
    return counts


def _markdown(counts: Iterable[dict[str, object]]) -> str:
    """The table."""
    lines = [
        "| sets | number | said to be wrongly calibrated, % | without the sign of spread | of one "
        "hump | of kept images | said to be in doubt, % | target named, % | other class named, % |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in counts:
        sets = int(str(one["sets"]))
        cells = [_percent(int(str(one[key])), sets) for key in list(one)[2:]]
        lines.append(f"| {one['kind']} | {sets:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _percent(count: int, of: int) -> str:
    share = Share.counted(np.arange(of) < count)
    if share.interval is None or share.value is None:
        return ""
    low, high = share.interval
    return f"{100 * share.value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


if __name__ == "__main__":
    main()
