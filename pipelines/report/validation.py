"""A finished run's own files, checked by Great Expectations suites.

What is checked is read back from where it was written, so that what a user loads is what was
judged. Counts by file and by class are tables of their own, so that every check is an
expectation and stands in one list.

Results, over all rows, go to ``report/validation.json``; the report shows them.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import wait
from pathlib import Path
from typing import NoReturn, Self

import pyarrow as pa

from pipelines.report.buckets import read_buckets, spread
from pipelines.report.loading import load_great_expectations
from pipelines.report.results import Validation
from pipelines.report.suites import Suites, quiet
from pipelines.report.tables import class_table, count_table, file_table
from pipelines.runs import layout
from pipelines.runs.interpreters import command
from pipelines.runs.store import Store
from sanitizer.errors import GO_ON, FreqsanError, RunError
from sanitizer.summary import Summary

#: Seconds between two signs of life of the process that validates.
BEAT_SECONDS = 2.0

#: Seconds of silence after which it is taken for lost.
SILENT_SECONDS = 120.0


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
        validation = Validation.of(suites.results())
    store.write_json(layout.VALIDATION, validation.json)
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
    one does, whatever ends it.

    Nothing that a stranger may have written has a part in it: the process is isolated from the
    working directory and from Python's variables, it works in a folder that only its owner can
    read, and order and answer are files in that folder, whatever is printed meanwhile. Through a
    pipe comes a sign of life every few seconds.

    Raises:
        RunError: no process can be started here.
    """

    def __init__(self) -> None:
        if not sys.executable:
            raise RunError(
                "the validation needs a Python to start, and this program does not know where "
                "its own is (sys.executable is empty); use the freqsan command"
            )
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="freqsan-")
            self._signs, theirs = os.pipe()
            self._process = subprocess.Popen(
                command(answer_one_order, self._folder.name, str(theirs)),
                pass_fds=[theirs],
                bufsize=0,
                cwd=self._folder.name,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,  # a Ctrl-C in the terminal is for this process alone
            )
            os.close(theirs)
        except OSError as error:
            raise RunError(f"the validation cannot be started: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with self._process:
            self._process.kill()
        os.close(self._signs)
        self._folder.cleanup()

    def validate(self, store: Store, rows: Sequence[int], summary: Summary) -> Validation:
        """See :func:`validate_run`.

        Raises:
            RunError: a disk is full, a file of the run cannot be read, or the process was
                killed or is silent.
            RuntimeError: it failed in another way; a note has its words.
        """
        assert self._process.stdin is not None
        folder = Path(self._folder.name)
        places = f"{folder.parent} and {store.address}"
        try:
            order = json.dumps([store.address, list(rows), summary.to_json()])
            (folder / _ORDER).write_text(order, encoding="utf-8")
        except OSError as error:
            raise _failed(str(error), places) from error
        with contextlib.suppress(BrokenPipeError):  # it has ended; its exit code says how
            self._process.stdin.write(b"\n")
        code, words = self._ended()
        if code < 0:
            raise RunError(
                f"the validation was ended by signal {-code} ({signal.strsignal(-code)}), which "
                f"may be for want of memory; {GO_ON}"
            )
        if code == _EXPECTED:
            raise _failed(words.rpartition("\n")[2], places)
        if code:
            bug = RuntimeError(f"the validation ended with {code}")
            bug.add_note(words)
            raise bug
        return Validation.from_json(json.loads((folder / _ANSWER).read_bytes()))

    def _ended(self) -> tuple[int, str]:
        """Wait for the process; its exit code and what it has said.

        Raises:
            RunError: it gives no sign of life.
        """
        errors = self._process.stderr
        assert errors is not None
        with ThreadPoolExecutor(1) as reading:
            words = reading.submit(errors.read)
            while wait([self._signs], SILENT_SECONDS):
                if not os.read(self._signs, 1 << 16):
                    return self._process.wait(), words.result().decode("utf-8", "replace").strip()
            self._process.kill()
        raise RunError(f"the validation was silent for {SILENT_SECONDS:.0f} s; {GO_ON}")


def _failed(words: str, places: str) -> RunError:
    return RunError(f"the validation, which writes to {places}, failed: {words}; {GO_ON}")


#: Files in the folder.
_ORDER, _ANSWER = "order.json", "answer.json"

#: Exit code of the other process after a failure that the last line of its words explains.
_EXPECTED = 3


def answer_one_order(folder: str, signs: str) -> None:
    """The other side of :class:`Validator`: a byte on standard input announces the order.

    Standard input ends when the process that started this one has ended.

    Args:
        folder: for the order, the answer and all that is temporary.
        signs: the file descriptor of a pipe for signs of life, in digits.
    """
    tempfile.tempdir = folder
    with quiet():
        load_great_expectations()  # before the order comes
    if not os.read(0, 1):
        _leave_nothing(folder)
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    threading.Thread(target=_beat, args=(int(signs),), daemon=True).start()
    address, rows, summary = json.loads(Path(folder, _ORDER).read_bytes())
    try:
        validation = validate_run(Store(address), rows, Summary.from_json(summary))
        Path(folder, _ANSWER).write_text(json.dumps(validation.json), encoding="utf-8")
    except (OSError, FreqsanError, pa.ArrowInvalid) as error:
        words = " ".join(str(error).split())
        print(f"{type(error).__name__}: {words}", file=sys.stderr)
        sys.exit(_EXPECTED)


def _beat(signs: int) -> None:
    """Give signs of life, as long as somebody is there to hear them."""
    pause = threading.Event()
    with contextlib.suppress(BrokenPipeError):
        while not pause.wait(BEAT_SECONDS):
            os.write(signs, b".")


def _end_with_parent(folder: str) -> None:
    os.read(0, 1)
    _leave_nothing(folder)


def _leave_nothing(folder: str) -> NoReturn:
    """End, whatever other threads do; nobody else is left to remove the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)
