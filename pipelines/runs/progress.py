"""Progress of long work: a bar on a terminal or in a notebook, else a plain line now and then."""

import functools
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType

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


def _bar_here() -> type[tqdm] | None:
    """The bar that can be drawn where this process is shown; None where none can."""
    if sys.stderr.isatty():
        return _Bar
    # IPython is there already where there is a notebook, and is not loaded to find out.
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if getattr(shell, "kernel", None) is None:
        return None
    return _notebook_bar()


@functools.cache
def _notebook_bar() -> type[tqdm] | None:
    """The bar that Jupyter draws; None without ipywidgets, by which it does."""
    with warnings.catch_warnings(action="ignore"):  # tqdm's advice to install them
        from tqdm import notebook
    if notebook.IProgress is None:
        return None

    class NotebookBar(_Bar, notebook.tqdm):
        """A bar as :class:`_Bar` that is drawn by ipywidgets."""

    return NotebookBar


class Progress:
    """Says on standard error how far the work is, how fast it goes and how long it takes.

    Args:
        what: what is being done, such as ``"judging"``.
        unit: what is counted, several of it.
        quiet: say nothing at all.
    """

    def __init__(self, what: str, *, unit: str = "images", quiet: bool = False):
        self.what = one_line(what)
        self.unit = unit
        self.quiet = quiet or sys.stderr is None  # as in programs without a console
        self._bar: tqdm | None = None

    def start(
        self,
        *,
        total: int | None,
        done: int = 0,
        began: float | None = None,
        size: int = 0,
        size_done: int = 0,
    ) -> None:
        """Begin.

        Args:
            total: what there is to count; None where that is not known.
            done: of it, what an earlier run has finished.
            began: when the work began, by ``time.monotonic``; None: now.
            size: bytes of what there is, by which a total is estimated where none is known; 0
                where that is not known either.
            size_done: of them, those that an earlier run has finished.
        """
        self._total, self._done, self._first = total, done, done
        self._size, self._size_done = size, size_done
        self._last_line = time.monotonic()
        self._began = self._last_line if began is None else began
        if self.quiet:
            return
        if done:
            were = "was" if done == 1 else "were"
            self.say(f"{self.what}: {self._count(done)} {were} done by an earlier run, going on")
        if total == done:  # of nothing there is nothing to tell
            return
        if bar := _bar_here():
            self._bar = bar(
                total=self._expected(),
                initial=done,
                desc=self.what,
                unit=f" {self.unit}",
                smoothing=0.1,
            )
        elif extent := self._extent():
            self.say(f"{self.what}: {extent}{' in all' if done else ' to do'}")
        elif not done:
            self.say(f"{self.what} …")

    def advance(self, count: int, note: str = "", size: int = 0) -> None:
        """``count`` more are done, of so many bytes; ``note`` is shown beside them."""
        self._done += count
        self._size_done += size
        if self._bar is not None:
            self._bar.total = self._expected()
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
            text = f"{self.what}: {self._count(self._done)} done, {duration(seconds)}"
            if seconds >= 1:  # of less it says how long the start took
                text += f", {_speed((self._done - self._first) / seconds, f' {self.unit}')}"
            self.say(text)

    def _count(self, number: int) -> str:
        """A number of what is counted, in words."""
        return f"{number:,} {self.unit.removesuffix('s') if number == 1 else self.unit}"

    def _extent(self) -> str:
        """How much there is, as far as that is known."""
        if self._total is not None:
            return self._count(self._total)
        return f"{self.unit} in {_bytes(self._size)}" if self._size else ""

    def _expected(self) -> int | None:
        """What there is to count, estimated where it is not known; None where it cannot be."""
        if self._total is not None or not self._size_done:
            return self._total
        return max(self._done, round(self._done * self._size / self._size_done))

    def _status(self) -> str:
        rate = (self._done - self._first) / max(time.monotonic() - self._began, 1e-9)
        text = f"{self.what}: {self._done:,}"
        expected = self._expected()
        if expected is not None:
            text += f" of {'about ' if self._total is None else ''}{expected:,}"
        text += f" {self.unit}, {_speed(rate)}"
        if expected is not None and rate > 0:
            left = (expected - self._done) / rate
            text += f", {'about ' if left >= 1 else ''}{duration(left)} left"
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


def duration(seconds: float) -> str:
    """A time as people say it.

    >>> duration(0.3), duration(42.4), duration(249), duration(5_400)
    ('less than 1 s', '42 s', '4 min', '1 h 30 min')
    """
    if seconds < 1:
        return "less than 1 s"
    if round(seconds) < 120:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


def _bytes(number: int) -> str:
    """A size as people say it.

    >>> _bytes(740), _bytes(2_457_600), _bytes(4_200_000_000)
    ('1 kB', '2.5 MB', '4.2 GB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:,.1f} {unit}"
    return f"{max(1, round(number / 1e3)):,} kB"


def _speed(rate: float, unit: str = "") -> str:
    """How much is done in a second, or how long one takes.

    >>> _speed(1234.5, " images"), _speed(0.05)
    ('1,234 images/s', '20 s each')
    """
    return f"{rate:,.0f}{unit}/s" if rate >= 0.5 or rate == 0 else f"{duration(1 / rate)} each"


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
def watch(
    progress: Progress,
    output: Output,
    pass_name: str,
    known: set[int],
    sizes: Mapping[int, int] = MappingProxyType({}),
) -> Iterator[None]:
    """Report shards as their receipts appear, on whatever machine they are made.

    Args:
        known: shards that need not be reported.
        sizes: bytes of each shard, where that is known.
    """
    stop = threading.Event()
    seen = set(known)

    def look() -> None:
        with suppress(Unreachable):  # whoever needs the receipts will say so
            for index, receipt in output.receipts(pass_name, skip=seen).items():
                seen.add(index)
                progress.advance(receipt.rows, size=sizes.get(index, 0))

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
