"""``evaluate``: the figures of ``poison`` and ``clean``, cell by cell, and tables of them."""

import json
import re
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from commands import run, signal_when, start
from schemas import check_printed

from freqsan import InputError, clean, evaluate, ingest, poison
from pipelines.evaluation.figures import Evaluation
from pipelines.evaluation.looked import CleanSet
from pipelines.evaluation.records import Cell
from pipelines.evaluation.sets import OpenSet
from pipelines.evaluation.tables import page
from pipelines.jobs.demo import SAMPLE
from pipelines.judging.score import ScoreStep, label_type
from pipelines.proof.experiment import compare
from pipelines.runs.store import Store
from pipelines.sources import open_source
from sanitizer.metrics import Share, pooled
from sanitizer.records import scored_schema

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
    assert found.scan is not None
    assert cell.both is not None
    assert cell.score is not None
    assert (cell.both.bdr, cell.both.fpr) == (truth.bdr, truth.fpr)
    assert cell.score.auroc == truth.auroc
    assert cell.searched == found.scan.searched
    assert [c.images for c in cell.called] == [f.images for f in found.scan.findings]
    assert cell.called
    assert cell.both.bdr.count > 0.9 * cell.both.bdr.of


def test_cells_are_not_measured_twice_and_others_are_added(
    image_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    common = {"attacks": "badnets", "scan": False, "rows": "0:60", "output": output}
    first = evaluate(image_set, rates=0.1, draws=2, **common)
    before = {file: file.read_bytes() for file in (output / "cells").iterdir()}
    again = evaluate(image_set, rates=0.1, draws=2, **common)
    assert again == first
    check_printed("evaluate", json.dumps(again.to_json()))
    assert {file: file.read_bytes() for file in (output / "cells").iterdir()} == before
    assert "2 cells were done by an earlier run" in capsys.readouterr().err
    more = evaluate(image_set, rates=(0, 0.1), draws=2, encodings=("keep", "jpeg:75"), **common)
    assert (first.cells, more.cells) == (2, 6)
    assert before.items() <= {f: f.read_bytes() for f in (output / "cells").iterdir()}.items()


def test_a_set_without_labels_is_refused_in_one_line(image_set: Path, tmp_path: Path) -> None:
    path = tmp_path / "unlabelled.parquet"
    pq.write_table(pq.read_table(image_set, columns=["image"]), path)
    result = run("evaluate", path, "--output", tmp_path / "out", "--no-score")
    assert result.exit_code == 2
    assert "unlabelled.parquet" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_copy_of_a_set_is_the_same_set_and_another_label_makes_another(
    image_set: Path, tmp_path: Path
) -> None:
    def cells_of(folder: str, table: pa.Table) -> int:
        at = tmp_path / folder / "set.parquet"
        at.parent.mkdir()
        pq.write_table(table, at)
        common = {"attacks": "badnets", "rates": 0.1, "scan": False, "rows": "0:40"}
        return evaluate(at, tmp_path / "cells", **common, quiet=True).cells

    table = pq.read_table(image_set)
    number = table.column_names.index("label")
    labels = table.column("label").to_pylist()
    labels[0], labels[1] = 1 - labels[0], 1 - labels[1]
    other = table.set_column(number, table.field(number), [labels])
    assert [cells_of("here", table), cells_of("there", table)] == [1, 1]
    assert cells_of("other", other) == 2


def test_processes_side_by_side_measure_the_same(image_set: Path, tmp_path: Path) -> None:
    several = [
        evaluate(
            image_set,
            tmp_path / str(workers),
            attacks=("badnets", "blend"),
            rates=0.2,
            scan=False,
            rows="0:50",
            workers=workers,
            quiet=True,
        )
        for workers in (1, 2)
    ]
    one, other = ([row.verdicts for row in each.sections[0].attacks] for each in several)
    assert one == other


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_signal_ends_all_processes_at_once_and_keeps_what_is_finished(
    number: signal.Signals, code: int, word: str, image_set: Path, tmp_path: Path
) -> None:
    process = start(
        *("evaluate", image_set, "--output", tmp_path, "--attack", "badnets", "--rate", 0.1),
        *("--draws", 1000, "--no-scan", "--rows", "0:40", "--workers", 2),
        stderr=subprocess.PIPE,
    )
    ended, said = signal_when(process, number, (tmp_path / "evaluation.json").exists)
    assert ended == code
    progress = "evaluating", "looking through"
    (line,) = [line for line in said.splitlines() if not line.startswith(progress)]
    assert word in line
    finished = len(cells_in(tmp_path))
    assert 0 < finished < 1000
    tables = json.loads((tmp_path / "evaluation.json").read_text())
    assert tables["cells"] in (finished, finished - 1)


def test_a_draw_decides_all_that_is_random_and_rates_share_it(
    image_set: Path, tmp_path: Path
) -> None:
    evaluate(
        image_set,
        tmp_path,
        attacks=("wanet", "badnets,side=6", "smooth"),
        rates=(0.1, 0.2),
        draws=4,
        scan=False,
        rows="0:40",
        quiet=True,
    )
    planted = [cell.plan.planted for cell in cells_in(tmp_path)]
    targets: dict[tuple[str, int], set[object]] = {}
    for one in planted:
        assert one is not None
        targets.setdefault((one.name, one.draw), set()).add(one.target_label)
        assert one.attack_settings.get("seed", one.draw) == one.draw
        if one.attack == "badnets":
            assert one.attack_settings["side"] == 6
    assert all(len(one) == 1 for one in targets.values())
    assert {next(iter(targets["wanet", draw])) for draw in range(4)} == {0, 1}


@pytest.mark.parametrize(("encoding", "format"), [("keep", "PNG"), ("jpeg:50", "JPEG")])
def test_an_encoding_is_that_of_the_whole_set(encoding: str, format: str, image_set: Path) -> None:
    """Else a JPEG among lossless images would tell what is poisoned."""
    source = open_source(image_set)
    step = ScoreStep("image", "label", scored_schema(label_type(source)), None, True)
    clean_set = CleanSet.load(OpenSet.of(source, (10, 40), quiet=True), encoding, step)
    samples = clean_set.looked.samples
    assert [sample.sample_id for sample in samples] == [f"set.parquet#{i}" for i in range(10, 40)]
    assert {sample.format for sample in samples} == {format}
    assert clean_set.looked.seen.all()


def test_the_command_prints_the_tables_and_writes_the_page(
    image_set: Path, evaluated: Path
) -> None:
    result = run(
        *("evaluate", image_set, "--output", evaluated, "--attack", "random_patch,side=8"),
        *("--rate", 0, "--rate", 0.2),
    )
    assert result.exit_code == 0, result.output
    written = (evaluated / "evaluation.md").read_text()
    assert "images judged" not in written
    for table in ("### Scores and scan together", "### Scan alone", "### Without poison"):
        assert table in result.stdout
        assert table in written
    cell = poisoned_cell(evaluated)
    assert cell.both is not None
    assert f"| {100 * cell.both.bdr.count / cell.both.bdr.of:.1f} / " in result.stdout
    assert "### All figures" in written
    figures = json.loads((evaluated / "evaluation.json").read_text())
    assert figures == Evaluation.of(cells_in(evaluated), cell.code).to_json()


def test_the_output_of_another_job_is_left_alone(image_set: Path, tmp_path: Path) -> None:
    ingest(image_set, tmp_path / "out", quiet=True)
    with pytest.raises(InputError, match="holds another run; give a folder of its own"):
        evaluate(image_set, tmp_path / "out", quiet=True)


def like(cell: Cell, attack: str, draw: int, found: int, lost: int, code: str = "now") -> Cell:
    """A cell as that one, of 100 poisoned images and 1,000 clean ones."""
    assert cell.plan.planted is not None
    assert cell.scan is not None
    planted = replace(cell.plan.planted, name=attack, draw=draw)
    flagged = replace(
        cell.scan, bdr=Share.from_counts(found, 100), fpr=Share.from_counts(lost, 1000)
    )
    return replace(cell, plan=replace(cell.plan, planted=planted), scan=flagged, code=code)


def test_what_was_not_judged_is_told(image_set: Path, tmp_path: Path) -> None:
    small = evaluate(
        *(image_set, tmp_path),
        attacks="random_patch,side=8",
        rates=(0.2,),
        score=False,
        rows="0:60",
        quiet=True,
    )
    text = page(small)
    assert re.search(r"\| images judged +\| 0 of 60 +\|", text)
    assert "Below 90 % at 20 % poison: random_patch,side=8 not judged." in text


def test_the_mean_is_over_attacks_and_the_weak_are_named(evaluated: Path) -> None:
    cell = poisoned_cell(evaluated)
    cells = [
        like(cell, "strong", 0, 98, 0),
        like(cell, "strong", 1, 100, 2),
        like(cell, "weak", 0, 40, 1),
        like(cell, "weak", 1, 60, 5, code="older"),
    ]
    evaluation = Evaluation.of(cells, "now")
    (section,) = evaluation.sections
    strong, weak = (row.verdicts["scan"] for row in section.attacks)
    assert (strong.bdr.value, weak.bdr.value) == (pytest.approx(0.99), pytest.approx(0.5))
    assert strong.fpr.value == pytest.approx(0.001)
    (rate,) = section.rates
    assert rate.bdr["scan"] == pooled([strong.bdr, weak.bdr])
    assert rate.weak["scan"] == ("weak",)
    (note,) = evaluation.notes
    assert note.startswith("1 of 4 cells were measured by other code")
    text = page(evaluation)
    assert re.search(r"\| strong +\| 99.0 / 0.100 +\|\n\| weak +\| 50.0 / 0.300 +\|", text)
    assert "Below 90 % at 20 % poison: weak 50.0." in text
    assert note in text


def test_a_mean_of_figures_that_are_all_alike_has_no_interval(evaluated: Path) -> None:
    cell = poisoned_cell(evaluated)
    cells = [like(cell, name, draw, 0, 0) for name in ("one", "two") for draw in (0, 1)]
    text = page(Evaluation.of(cells, "now"))
    assert re.search(r"\| its TPR, interval +\| - +\|\n\| its FPR, interval +\| - +\|", text)
    assert "[0.00, 0.00]" not in text


def test_a_class_is_called_wrongly_where_no_poison_is_in_it(evaluated: Path) -> None:
    cell = poisoned_cell(evaluated)
    assert (cell.searched, len(cell.infected)) == (2, 1)
    assert (cell.wrongly.count, cell.wrongly.of) == (0, 1)
    (called, *_) = cell.called
    assert (called.label,) == cell.infected
    assert called.poisoned <= called.images.count
    other = replace(called, label="the other")
    assert replace(cell, called=(called, other, other)).wrongly.count == 1


def test_a_cell_of_another_version_is_told_before_anything_is_measured(
    image_set: Path, tmp_path: Path
) -> None:
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells/old.json").write_text("{}")
    with pytest.raises(InputError, match=r"cells/old.json is no cell of this version .*remove it"):
        evaluate(image_set, tmp_path, quiet=True)
    assert len(list(tmp_path.rglob("*"))) == 2


WRONG = [
    ({"attacks": "badnet"}, "no attack 'badnet', known: badnets"),
    ({"attacks": "badnets,side"}, "attack 'badnets,side': expected NAME,KEY=VALUE"),
    ({"attacks": "badnets,seize=3"}, "badnets has no setting 'seize'"),
    ({"rates": 1.5}, "rates: expected from 0, the set without poison, to 1, got 1.5"),
    ({"rates": ("0.1",)}, "rates: expected one or several finite numbers"),
    ({"encodings": "jpg"}, "encode: expected keep, png or jpeg:Q"),
    ({"draws": 0}, "draws: expected 1 or more, got 0"),
    ({"rows": "5"}, "rows: expected A:B with 0 <= A < B, got '5'"),
    ({"rows": "0:900"}, "rows 0:900: .* has 400 rows"),
    ({"score": False, "scan": False}, "neither scores nor a scan"),
    ({"workers": 0}, "workers: expected at least 1, got 0"),
    ({"inputs": ()}, "inputs: expected at least one set"),
    ({"inputs": SAMPLE}, "already has a column 'is_poisoned'"),
]


@pytest.mark.parametrize(("given", "words"), WRONG)
def test_what_is_wrong_is_told_before_anything_is_measured(
    given: dict[str, object], words: str, image_set: Path, tmp_path: Path
) -> None:
    arguments = {"inputs": image_set, "quiet": True} | given
    with pytest.raises(InputError, match=words):
        evaluate(output=tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()
