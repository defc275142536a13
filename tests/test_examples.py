"""The notebooks in examples/ run from start to end, in a folder that has nothing but them."""

import json
from pathlib import Path
from typing import Any

import pytest
from kernels import ROOT, Shown, kernel

EXAMPLES = ROOT / "examples"

#: So that three of them are trained in seconds; a quick one takes a minute each.
TINY_VICTIM = """
from dataclasses import replace
from attacks.victims.settings import VICTIMS
VICTIMS["quick"] = replace(VICTIMS["quick"], widths=(4, 8, 8, 16), epochs=2, min_steps=0)
"""


def cells_of(name: str) -> list[dict[str, Any]]:
    notebook = json.loads((EXAMPLES / name).read_text(encoding="utf-8"))
    return list(notebook["cells"])


def ran(name: str, directory: Path, before: str = "") -> list[Shown]:
    """What each cell of code shows."""
    with kernel(directory) as running:
        running.run(before)
        shown = []
        for cell in cells_of(name):
            if cell["cell_type"] == "code":
                shown.append(running.run("".join(cell["source"])))
                assert shown[-1].error == "", (cell["source"], shown[-1])
    return shown


def pictures(shown: list[Shown]) -> int:
    return sum("image/png" in one.forms for one in shown)


def test_a_set_is_cleaned(tmp_path: Path) -> None:
    shown = ran("clean_your_set.ipynb", tmp_path)
    assert "1,000 images" in shown[1].streams["stdout"]
    assert "images removed" in shown[2].forms["text/html"]
    assert pictures(shown) == 3  # the removed images, and two spectra
    assert "num_rows: " in shown[-2].result
    assert "judged images are poisoned" in shown[-1].streams["stdout"]


def test_an_attack_is_proved_to_fail(tmp_path: Path) -> None:
    shown = ran("prove_it.ipynb", tmp_path, TINY_VICTIM)
    assert "ASR" in shown[2].forms["text/markdown"]
    assert pictures(shown) == 1
    assert set(json.loads(shown[-1].result.replace("'", '"'))) == {"found", "innocent images lost"}


def test_an_attack_is_added(tmp_path: Path) -> None:
    shown = ran("add_an_attack.ipynb", tmp_path)
    assert shown[1].streams["stdout"] == "Comb Comb(strength=8)\n"
    assert "PoisonCounts" in shown[3].result
    assert "is_poisoned" in shown[6].forms["text/html"]
    assert pictures(shown) == 2


@pytest.mark.parametrize("notebook", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.name)
def test_notebooks_are_kept_without_outputs(notebook: Path) -> None:
    for cell in cells_of(notebook.name):
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None
