"""``evaluate``: the figures of ``poison`` and ``clean``, cell by cell, and tables of them."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from freqsan import clean, evaluate, poison
from pipelines.evaluation.records import Cell
from pipelines.jobs.demo import SAMPLE
from pipelines.proof.experiment import compare
from pipelines.runs.store import Store

ROWS = 400


@pytest.fixture(scope="module")
def image_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images without a trigger, under two labels."""
    path = tmp_path_factory.mktemp("set") / "set.parquet"
    table = pq.read_table(str(SAMPLE))
    table = table.filter(pc.invert(table["is_poisoned"])).select(["image"]).slice(0, ROWS)
    labels = pa.array(np.arange(ROWS) % 2)
    pq.write_table(table.append_column("label", labels), path)
    return path


@pytest.fixture(scope="module")
def evaluated(image_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("evaluated")
    evaluate(image_set, output, attacks="random_patch,side=8", rates=(0, 0.2), quiet=True)
    return output


def cells_in(output: Path) -> list[Cell]:
    files = sorted((output / "cells").iterdir())
    return [Cell.from_json(json.loads(file.read_text())) for file in files]


def poisoned_cell(output: Path) -> Cell:
    return next(cell for cell in cells_in(output) if cell.plan.planted)


def test_a_cell_has_the_figures_of_poison_and_clean(
    image_set: Path, evaluated: Path, tmp_path: Path
) -> None:
    cell = poisoned_cell(evaluated)
    planted = cell.plan.planted
    assert planted is not None
    done = poison(
        image_set,
        tmp_path / "poisoned",
        attack=planted.attack,
        attack_settings=planted.attack_settings,
        rate=planted.rate,
        target_label=planted.target_label,
        seed=planted.draw,
        quiet=True,
    )
    found = clean(tmp_path / "poisoned/data", tmp_path / "cleaned", quiet=True)
    truth = compare(Store.at(tmp_path / "poisoned"), Store.at(tmp_path / "cleaned"))
    assert cell.counts == done.counts
    assert cell.both is not None and cell.score is not None and found.scan is not None
    assert (cell.both.bdr, cell.both.fpr) == (truth.bdr, truth.fpr)
    assert cell.score.auroc == truth.auroc
    assert cell.searched == found.scan.searched
    assert [c.images for c in cell.called] == [f.images for f in found.scan.findings]
    assert cell.both.bdr.value is not None and cell.both.bdr.value > 0.9
