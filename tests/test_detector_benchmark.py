"""The detection table: one row for each history and attack, and nothing from training rows."""

import importlib
import itertools
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(name="benchmark")
def _benchmark(monkeypatch):
    """Imports a module of ``benchmarks/``, which is not installed."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1]))
    return lambda name: importlib.import_module(f"benchmarks.{name}")


class WhiteCorner:
    """Suspects whatever is white near the lower right corner."""

    calibration = (
        {"name": "any", "min_tiles": 1, "max_tiles": 25, "scores": np.linspace(0, 0.9, 1999)},
    )

    def score(self, tiles):
        return (tiles[:, 28, 28].mean(axis=1) / 255).astype(np.float32)


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
        found = sorted(spans.values())
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(found))
        assert found[-1][1] <= end  # where the test rows begin
    endings = [e for part in parts.GTSRB.values() for e in part]
    assert len(endings) == len(set(endings))
    assert not any(e % 5 == 4 for e in endings)
