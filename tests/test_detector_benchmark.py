"""The detection table: one row for each history and attack, and nothing from training rows."""

import importlib
import itertools
from pathlib import Path

import numpy as np
import pytest

from detector.calibration import Calibration, CalibrationGroup
from detector.inputs import Tiles
from detector.scores import Scores


@pytest.fixture(name="benchmark")
def _benchmark(monkeypatch):
    """Imports a module of ``benchmarks/``, which is not installed."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1]))
    return lambda name: importlib.import_module(f"benchmarks.{name}")


class WhiteCorner:
    """Suspects whatever is white near the lower right corner."""

    inputs = Tiles()
    calibration = Calibration((CalibrationGroup("any", 1, 25, np.linspace(0, 0.9, 1999)),))

    def score(self, parts):
        values = [image[:, 28, 28].mean() / 255 for image in parts]
        return Scores(np.array(values, np.float32), np.array([len(image) for image in parts]))


def test_each_history_and_attack_gets_a_row(benchmark):
    detection = benchmark("detection")
    images = np.random.default_rng(0).integers(0, 120, (20, 32, 32, 3), dtype=np.uint8)
    rows = detection.measure(WhiteCorner(), "toy", images, ["badnets", "blend"])
    assert [(r.history, r.attack) for r in rows] == [
        (history, attack) for history in detection.HISTORIES for attack in ("badnets", "blend")
    ]
    first = rows[0]
    assert first.images == 20
    assert first.fpr["0.01"] == 0
    assert first.bdr["0.01"] == first.bdr["0.001"] == first.auroc == 1
    assert first.bdr_interval["0.01"][0] < 1
    table = detection.markdown(rows, "toy detector")
    assert len(table.splitlines()) == 4 + len(rows)
    assert len({line.count("|") for line in table.splitlines()[2:]}) == 1


def test_parts_do_not_overlap(benchmark):
    parts = benchmark("bundled_detector")
    for spans, end in ((parts.CIFAR, 40_000), (parts.IMAGENETTE, 3_000)):
        ordered = sorted(spans.values())
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(ordered))
        assert ordered[-1][1] <= end  # where the test rows begin
    endings = [e for part in parts.GTSRB.values() for e in part]
    assert len(endings) == len(set(endings))
    assert not any(e % 5 == 4 for e in endings)
