"""The detection table: one row for each history and attack, and nothing from training rows."""

import importlib
import itertools
from pathlib import Path

import numpy as np
import pytest

from detector.bulk import FEWEST
from detector.calibration import Calibration, CalibrationGroup
from detector.inputs import Tiles
from detector.kinds import ANY_PARTS, LOSSLESS
from detector.scores import Scores


@pytest.fixture(name="benchmark")
def _benchmark(monkeypatch):
    """Imports a module of ``benchmarks/``, which is not installed."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1]))
    return lambda name: importlib.import_module(f"benchmarks.{name}")


class WhiteCorner:
    """Suspects whatever is white near the lower right corner."""

    inputs = Tiles()
    identity = "white@0"
    calibration = Calibration(
        (CalibrationGroup("any", ANY_PARTS, None, np.linspace(0, 0.9, 1999, dtype=np.float32)),)
    )

    def score(self, images):
        values = [image.tiles[-1, 28, 28].mean() / 255 for image in images]
        return Scores(
            np.array(values, np.float32),
            np.array([len(image) for image in images]),
            np.array([image.about.encoding for image in images]),
        )


ATTACKS = ["badnets", "blend"]


@pytest.fixture(name="images")
def _images():
    return np.random.default_rng(0).integers(0, 120, (20, 32, 32, 3), dtype=np.uint8)


def expected(detection):
    """History and attack of each row, in order."""
    clean = [*detection.HISTORIES, "PNG resized by 0.5", "PNG resized by 2", detection.DECODED]
    attacked = (*detection.ATTACKED, detection.DECODED)
    return [(h, a) for h in clean for a in ("", *(ATTACKS if h in attacked else ()))]


def test_each_history_and_attack_gets_a_row(benchmark, images, tmp_path):
    detection = benchmark("detection")
    kept = detection.Kept(tmp_path / "rows.jsonl", "toy detector")
    detection.measure(WhiteCorner(), "toy", images, ATTACKS, kept)
    rows = kept.rows
    assert [(r.history, r.attack) for r in rows] == expected(detection)
    clean, first = rows[:2]
    assert (clean.images, clean.poisoned, clean.bdr, clean.auroc) == (20, 0, None, None)
    assert list(clean.fpr_by_share) == ["0"]
    assert clean.fpr == clean.fpr_by_share["0"] == clean.fpr_stored == 0
    assert first.images == first.poisoned == 20
    assert first.fpr == first.fpr_stored == 0
    assert set(map(float, first.fpr_by_share)) == {0, *detection.SHARES}
    assert not any(first.fpr_by_share.values())
    assert first.bdr == first.bdr_stored == first.bdr_at_own_1_percent_fpr == first.auroc == 1
    assert first.bdr_interval[0] < 1
    table = detection.markdown(rows, "toy detector")
    clean_lines, attack_lines = (part.splitlines() for part in table.split("\n\n")[1:])
    attacked = [row for row in rows if row.attack]
    assert len(clean_lines) == 2 + len(rows) - len(attacked) + 1
    assert len(attack_lines) == 2 + len(attacked)
    for lines in (clean_lines, attack_lines):
        assert len({line.count("|") for line in lines}) == 1


def test_finished_rows_are_kept_and_not_measured_again(benchmark, images, tmp_path, monkeypatch):
    detection = benchmark("detection")
    path = tmp_path / "rows.jsonl"
    first = detection.Kept(path, "toy detector")
    detection.measure(WhiteCorner(), "toy", images, ATTACKS[:1], first)
    lines = path.read_text().splitlines()
    again = detection.Kept(path, "toy detector")
    assert detection.markdown(again.rows, "") == detection.markdown(first.rows, "")
    detection.measure(WhiteCorner(), "toy", images, ATTACKS, again)
    added = path.read_text().splitlines()[len(lines) :]
    assert len(added) == len(detection.ATTACKED) + 1  # of the second attack
    monkeypatch.setattr(WhiteCorner, "score", None)
    detection.measure(WhiteCorner(), "toy", images, ATTACKS, detection.Kept(path, "toy detector"))
    assert detection.Kept(path, "another detector").rows == []


def test_a_set_with_enough_images_is_judged_by_itself(benchmark):
    """Most images of it would be lost to the stored groups, and none is."""
    detection = benchmark("detection")
    rng = np.random.default_rng(0)

    def scores(odds):
        kinds = (np.full(len(odds), kind) for kind in (1, LOSSLESS))
        return Scores((1 / (1 + np.exp(-odds))).astype(np.float32), *kinds)

    groups = (scores(rng.normal(-4, 0.5 + place, 999)).values for place in (0, 0.1, 0.2))
    detector = WhiteCorner()
    detector.calibration = Calibration(
        tuple(CalibrationGroup(str(i), (1, 1), LOSSLESS, np.sort(g)) for i, g in enumerate(groups))
    )
    clean, poisoned = scores(rng.normal(2, 0.5, 1000)), scores(rng.normal(9, 0.5, 50))
    row = detection.row(detector, "high", "PNG", "toy", clean, poisoned)
    assert row.fpr_stored > 0.9
    assert row.fpr_by_share["0"] < 0.03
    assert max(row.fpr_by_share.values()) < 0.03
    assert row.fpr == row.fpr_by_share["0.05"]
    assert row.bdr == row.bdr_stored == 1
    few = detection.flagged(detector, scores(rng.normal(2, 0.5, FEWEST - 1)), None, clean)
    assert few.mean() > 0.9  # of a small set the stored groups decide


def test_parts_do_not_overlap(benchmark):
    parts = benchmark("bundled_detector")
    for spans, end in ((parts.CIFAR, 40_000), (parts.IMAGENETTE, 3_000)):
        ordered = sorted(spans.values())
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(ordered))
        assert ordered[-1][1] <= end  # where the test rows begin
    endings = [e for part in parts.GTSRB.values() for e in part]
    assert len(endings) == len(set(endings))
    assert not any(e % 5 == 4 for e in endings)
