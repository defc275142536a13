"""Progress of long work: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tqdm import tqdm

from pipelines.runs.output import Output
from pipelines.sources.remote import Unreachable
from sanitizer.errors import one_line

#: Seconds between two lines where standard error is not a terminal.
LINE_SECONDS = 10.0

#: Seconds between two looks at the finished shards; in a store each look is paid for.
POLL_SECONDS, POLL_SECONDS_REMOTE = 0.5, 5.0


class _Bar(tqdm):
    """A bar without what tqdm would leave in the caller's process.

    That is a thread, and a lock between processes that settles how ``multiprocessing`` starts them.
    """

    monitor_interval = 0


_Bar.set_lock(threading.RLock())


class Progress:
    """Says on standard error how far the work is, how fast it goes and how long it takes.

    Args:
        what: what is being done, such as ``"judging"``.
        unit: what is counted.
        quiet: say nothing at all.
    """

    def __init__(self, what: str, *, unit: str = "images", quiet: bool = False):
        self.what = one_line(what)
        self.unit = unit
        self.quiet = quiet or sys.stderr is None  # as in programs without a console
        self._bar: tqdm | None = None

    def start(self, *, total: int | None, done: int = 0, began: float | None = None) -> None:
        """Begin.

        Args:
            total: what there is to count; None where that is not known.
            done: of it, what an earlier run has finished.
            began: when the work began, by ``time.monotonic``; None: now.
        """
        self._total, self._done, self._first = total, done, done
        self._last_line = time.monotonic()
        self._began = self._last_line if began is None else began
        if self.quiet:
            return
        if done:
            self.say(f"{self.what}: {done:,} {self.unit} were done by an earlier run, going on")
            if done == total:
                return
        if sys.stderr.isatty():
            self._bar = _Bar(
                total=total, initial=done, desc=self.what, unit=f" {self.unit}", smoothing=0.1
            )
        else:
            size = "" if total is None else f" {total:,} {self.unit}"
            self.say(f"{self.what}:{size} to do" if not done else f"{self.what}:{size} in all")

    def advance(self, count: int, note: str = "") -> None:
        """``count`` more are done; ``note`` is shown beside them."""
        self._done += count
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
        elif not self.quiet and time.monotonic() - self._last_line >= LINE_SECONDS:
            self._last_line = time.monotonic()
            self.say(f"{self._status()}{', ' + note if note else ''}")

    def finish(self) -> None:
        """End; tells how long it took."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        elif not self.quiet and self._done > self._first:
            seconds = time.monotonic() - self._began
            self.say(
                f"{self.what}: {self._done:,} {self.unit} done, {seconds:,.0f} s, "
                f"{_speed((self._done - self._first) / max(seconds, 1e-9), f' {self.unit}')}"
            )

    def _status(self) -> str:
        rate = (self._done - self._first) / max(time.monotonic() - self._began, 1e-9)
        text = f"{self.what}: {self._done:,}"
        if self._total is not None:
            text += f" of {self._total:,}"
        text += f" {self.unit}, {_speed(rate)}"
        if self._total is not None and rate > 0:
            text += f", about {(self._total - self._done) / rate:,.0f} s left"
        return text

    def say(self, text: str) -> None:
        """A line of its own, unless quiet."""
        if self.quiet:
            return
        try:
            _Bar.write(one_line(text), file=sys.stderr)
        except OSError:
            # A reader who left, or a full disk under a log, is no reason to end hours of work.
            self.quiet = True


def _speed(rate: float, unit: str = "") -> str:
    """How much is done in a second, or how long one takes.

    >>> _speed(1234.5, " images"), _speed(0.05)
    ('1,234 images/s', '20 s each')
    """
    return f"{rate:,.0f}{unit}/s" if rate >= 0.5 or rate == 0 else f"{1 / rate:,.0f} s each"


@contextmanager
def counting(what: str, *, unit: str, quiet: bool) -> Iterator[Callable[[int], None]]:
    """What is told how many more there are, of work that is shown only where there are many."""
    progress = Progress(what, unit=unit, quiet=quiet)
    begun = False

    def found(more: int) -> None:
        nonlocal begun
        if not begun:
            progress.start(total=None)
            begun = True
        progress.advance(more)

    try:
        yield found
    finally:
        if begun:
            progress.finish()


@contextmanager
def watch(progress: Progress, output: Output, pass_name: str, known: set[int]) -> Iterator[None]:
    """Report shards as their receipts appear, on whatever machine they are made."""
    stop = threading.Event()
    seen = set(known)

    def look() -> None:
        with suppress(Unreachable):  # whoever needs the receipts will say so
            for index, receipt in output.receipts(pass_name, skip=seen).items():
                seen.add(index)
                progress.advance(receipt.rows)

    def poll() -> None:
        while not stop.wait(POLL_SECONDS if output.store.local else POLL_SECONDS_REMOTE):
            look()

    thread = threading.Thread(target=poll, name="progress", daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        stop.set()
        if output.store.local is not None:  # another may be what has failed, and be asked for long
            thread.join()
            look()
        progress.finish()
        raise
    stop.set()
    thread.join()
    look()
    progress.finish()
