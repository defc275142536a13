"""A finished run's own files, checked by Great Expectations suites.

What is checked is read back from where it was written, so that what a user loads is what was
judged. Counts by file and by class are tables of their own, so that every check is an
expectation and stands in one list.

Results go to ``report/validation.json`` and, rendered by Great Expectations, to one page a
suite. Both are over all rows.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pipelines.report.buckets import read_buckets, spread
from pipelines.report.results import Validation
from pipelines.report.suites import Suites, quiet
from pipelines.report.tables import class_table, count_table, file_table
from pipelines.runs import layout
from pipelines.runs.store import Store
from sanitizer.errors import RunError
from sanitizer.summary import Summary

#: Where our packages are.
HOME = str(Path(__file__).resolve().parents[2])


def validate_run(store: Store, rows: Sequence[int], summary: Summary) -> Validation:
    """Check the files of a run of ``clean`` and write the results beside its report.

    Args:
        store: OUTPUT, with its splits, score rows and rejects.
        rows: how many samples were read from each shard.
        summary: of the run.

    Raises:
        OSError, pyarrow.ArrowInvalid: a file of score rows cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="freqsan-") as folder, quiet():
        written = spread(store, rows, Path(folder))
        suites = Suites()
        for samples in read_buckets(Path(folder)):
            suites.check_samples(samples, summary.decision.limit)
        suites.check_files(file_table(store, rows, written))
        suites.check_counts(count_table(rows, summary, written))
        suites.check_classes(class_table(summary, written))
        results = suites.results()
        for page in store.names(layout.DATA_DOCS, "*.html"):
            store.remove(page)
        for suite in results:
            store.write(layout.data_docs_page(suite.name), suite.data_docs_page().encode())
    validation = Validation.of(sum(rows), (one for s in results for one in s.expectations()))
    store.write_json(layout.VALIDATION, validation.to_json())
    return validation


def check_valid(store: Store, validation: Validation) -> None:
    """Refuse a run whose validation failed.

    Raises:
        RunError: an expectation is not met; ``report/validation.json`` has the whole list.
    """
    if not validation.success:
        raise RunError(
            f"validation failed: {'; '.join(validation.failures)} "
            f"(all in {store.locate(layout.VALIDATION)}); do not use this output"
        )


class Validator:
    """:func:`validate_run` in a process of its own, which starts at once.

    Great Expectations takes seconds to import and a hundred megabytes: beside the work that
    is to be validated the first costs no time, and in a process that ends the second is
    given back. Without a run to validate the process ends with the ``with`` block, or when this
    one does.
    """

    def __init__(self) -> None:
        given = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
        self._process = subprocess.Popen(
            # Our own packages, whatever lies in the working directory.
            [sys.executable, "-P", "-m", __name__],
            env=os.environ | {"PYTHONPATH": os.pathsep.join([HOME, *given])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def validate(self, store: Store, rows: Sequence[int], summary: Summary) -> Validation:
        """See :func:`validate_run`.

        Raises:
            RuntimeError: the process failed; its words are on standard error.
        """
        order = json.dumps([store.address, list(rows), summary.to_json()])
        answer, _ = self._process.communicate(order)
        if self._process.returncode != 0:
            raise RuntimeError(f"the validation ended with {self._process.returncode}")
        return Validation.from_json(json.loads(answer))


def _answer_one_order() -> None:
    """The other side of :class:`Validator`: one order on standard input, or none."""
    with quiet():
        import great_expectations.expectations  # noqa: F401  (before the order comes)
    if order := sys.stdin.read():
        address, rows, summary = json.loads(order)
        validation = validate_run(Store(address), rows, Summary.from_json(summary))
        print(json.dumps(validation.to_json()))


if __name__ == "__main__":
    _answer_one_order()
