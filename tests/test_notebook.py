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
    assert stopped.error == "KeyboardInterrupt"
    assert notebook.run(call).result == "IngestCounts(read=60000)"
