"""freqsan in a notebook: a real IPython kernel, with the pandas that is installed."""

from collections.abc import Iterator

import pytest
from kernels import Kernel, kernel

from pipelines.jobs.demo import SAMPLE

#: A set that takes a while: the sample, many times over.
LONG = f"""
import pyarrow, pyarrow.parquet as pq
pq.write_table(pyarrow.concat_tables([pq.read_table({str(SAMPLE)!r})] * 60), "long.parquet")
"""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    directory = tmp_path_factory.mktemp("notebook")
    with kernel(directory) as running:
        # Without them progress is plain lines.
        running.run("import sys; sys.modules['ipywidgets'] = None")
        yield running


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A notebook that has cleaned the sample, and in which Jupyter draws bars."""
    directory = tmp_path_factory.mktemp("cleaned")
    with kernel(directory) as running:
        running.run(f"from freqsan import clean, spectrum\nSAMPLE = {str(SAMPLE)!r}")
        yield running


def test_clean_runs_and_shows_what_came_out(notebook: Kernel) -> None:
    shown = notebook.run(f"from freqsan import clean\nclean({str(SAMPLE)!r}, 'cleaned')")
    assert shown.error == ""
    assert shown.result.startswith("CleanManifest(")
    assert "counts=Counts(read=1000, clean=" in shown.result
    assert len(shown.result) < 3000
    lines = shown.streams["stderr"].splitlines()
    assert lines[0] == "scoring: 1,000 images to do"
    assert all(line.startswith(("scoring: ", "scanning: ", "splitting: ")) for line in lines)
    assert shown.streams["stdout"] == ""


def test_the_notebook_is_left_as_it_was(notebook: Kernel) -> None:
    """Beam asks again whether it is in a notebook, and leaves no temporary folder."""
    shown = notebook.run(
        f"from freqsan import ingest\ningest({str(SAMPLE)!r}, 'ingested', quiet=True)\n"
        "import sys, apache_beam.pipeline as beam\n"
        "print(beam.is_in_ipython(), 'apache_beam.dataframe' in sys.modules)"
    )
    assert shown.streams == {"stdout": "True False\n", "stderr": ""}
    listed = notebook.run("import os\nsorted(os.listdir('tmp'))")
    assert "beam" not in listed.result


def test_an_interrupt_is_a_keyboard_interrupt_and_the_next_call_goes_on(notebook: Kernel) -> None:
    notebook.run(LONG)
    call = "ingest('long.parquet', 'copied', shard_rows=1000).counts"
    stopped = notebook.run(f"from freqsan import ingest\n{call}", interrupt_at="to do")
    assert stopped.error == "KeyboardInterrupt", stopped
    assert notebook.run(call).result == "IngestCounts(read=60000)"


WIDGET = "application/vnd.jupyter.widget-view+json"


def test_jupyter_draws_the_progress_where_it_can(cleaned: Kernel) -> None:
    shown = cleaned.run("result = clean(SAMPLE, 'cleaned')")
    assert shown.error == ""
    assert len([one for one in shown.displayed if WIDGET in one]) == 3  # score, scan, split
    assert shown.streams == {"stdout": "", "stderr": ""}
    assert cleaned.run("clean(SAMPLE, 'again', quiet=True); 0").displayed == []


def test_the_result_is_a_card_and_still_the_manifest(cleaned: Kernel) -> None:
    shown = cleaned.run("result")
    assert shown.result.startswith("CleanManifest(")
    card = shown.forms["text/html"]
    assert "images removed" in card
    assert "cleaned/report/index.html" in card
    assert "<script" not in card
    assert "http" not in card
    same = "import json\nresult.to_json() == json.load(open('cleaned/manifest.json'))"
    assert cleaned.run(same).result == "True"


def test_rows_of_each_verdict_are_tables_of_what_is_on_the_disk(cleaned: Kernel) -> None:
    counted = "result.counts.{0} == len(result.{0}) == len(result.{0}.to_pandas())"
    for verdict in ("clean", "poisoned", "rejected"):
        assert cleaned.run(counted.format(verdict)).result == "True"
    shown = cleaned.run("result.poisoned.head(3)")
    assert "reason" in shown.forms["text/html"]
    assert cleaned.run("set(result.poisoned.head(3).verdict)").result == "{'poisoned'}"
    assert "the first 5" in cleaned.run("result.poisoned").forms["text/html"]


@pytest.mark.parametrize("cell", ["result.show(6)", "result.rejected.show(2)", "spectrum(SAMPLE)"])
def test_figures_are_drawn_without_a_word_to_matplotlib(cleaned: Kernel, cell: str) -> None:
    assert cleaned.run(cell).forms["image/png"].startswith("iVBOR")
