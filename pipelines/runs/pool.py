"""Worker processes on this machine: each does one shard after another, from start to end.

Threads of one process do not get far: half of the time an image takes is Python's own, which
runs in one thread at a time. The processes are started once for all passes of a job; they load
neither Beam nor torch. One that has ended or gone silent is replaced, and its shard done again.
"""

import itertools
import os
import pickle
import subprocess
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection, Pipe
from queue import SimpleQueue
from signal import strsignal
from types import TracebackType
from typing import Any, Self

from pipelines.runs.interpreters import command
from pipelines.runs.output import keep_failure
from pipelines.runs.store import Store
from pipelines.runs.work import PassWork
from pipelines.sources.remote import Unreachable
from sanitizer.errors import GO_ON, FreqsanError, RunError
from sanitizer.garbage import loading

#: Seconds between two signs of life of a worker.
BEAT_SECONDS = 2.0

#: Seconds of silence after which a worker is taken for lost.
SILENT_SECONDS = 120.0

#: How many workers may be lost over one shard: it may be what ends them.
MOST_LOST = 3

#: Seconds for the shards under way to end when one has failed; what they finish is kept.
CLOSING_SECONDS = 30.0

#: Seconds between two looks whether a pool is to stop.
LOOK_SECONDS = 0.1

#: What travels for a shard: its number and the numbers of a ``Shard``.
Element = tuple[int, tuple[Any, ...]]


class LostError(Exception):
    """A worker that has ended, or is silent."""


class Pool:
    """Processes that do shards. A context: they end with it.

    Args:
        processes: how many; they are started at once.

    Attributes:
        say: is told in a line what a user should know of the workers.
    """

    def __init__(self, processes: int):
        self.say: Callable[[str], None] = lambda line: None
        self._key = next(_keys)
        self._processes = processes
        self._stopping = threading.Event()
        self._free: SimpleQueue[Worker] = SimpleQueue()
        self._all: list[Worker] = []

    def __len__(self) -> int:
        return self._processes

    def __enter__(self) -> Self:
        for _ in range(self._processes):
            self._free.put(self._start())
        _pools[self._key] = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del _pools[self._key]
        for worker in self._all:
            worker.end()

    def __reduce__(self) -> tuple[object, ...]:
        """Within this process it travels as its number: Beam pickles what it is given."""
        return _pool_of, (self._key,)

    def stop(self) -> None:
        """Have :meth:`do` end at once in whatever thread it is; nothing where it has ended."""
        self._stopping.set()

    def do(self, work: PassWork, elements: Sequence[Element]) -> None:
        """Do shards, those that are listed first before the others.

        Raises:
            Exception: what was raised by the first that failed; those under way are ended first.
            RunError: workers were lost again and again, or the pool is to stop.
        """
        stored = pickle.dumps(replace(work, tells=False))
        self._stopping.clear()
        with ThreadPoolExecutor(self._processes, thread_name_prefix="freqsan-pool") as threads:
            waiting = {threads.submit(self._do, work, stored, element) for element in elements}
            try:
                while waiting and not self._stopping.is_set():
                    done, waiting = wait(waiting, LOOK_SECONDS, FIRST_EXCEPTION)
                    failed = next((one for one in done if one.exception() is not None), None)
                    if failed is not None:
                        self._note(work.store, failed.exception())
                        self._give_up(waiting, CLOSING_SECONDS)
                        failed.result()
                if waiting:
                    raise RunError(f"stopped; {GO_ON}")
            except BaseException:  # also a Ctrl-C: this may be the thread that gets it
                self._give_up(waiting, 0)
                work.store.remove_leftovers()
                raise

    def _note(self, store: Store, error: BaseException | None) -> None:
        """Keep what is to be told, and tell at once what takes a while to end."""
        if isinstance(error, FreqsanError):
            keep_failure(store, error)
        if isinstance(error, Unreachable):
            self.say(f"{error}; waiting for what is under way")

    def _give_up(self, waiting: set[Future[None]], seconds: float) -> None:
        """Begin no more shards, and leave those under way some time."""
        for future in waiting:
            future.cancel()
        _, late = wait(waiting, seconds)
        self._stopping.set()
        if late:
            for worker in self._all:
                worker.kill()

    def _do(self, work: PassWork, stored: bytes, element: Element) -> None:
        """Do a shard, again where its worker is lost."""
        worker = self._free.get()
        try:
            for lost in itertools.count(1):
                try:
                    return worker.do(stored, element)
                except LostError as error:
                    if self._stopping.is_set():
                        raise
                    what = f"{work.pass_name}, shard {element[0]} of {work.total}"
                    if lost == MOST_LOST:
                        failure = RunError(
                            f"{lost} worker processes were lost over one shard ({what}), the last "
                            f"one {error}; if that is for want of memory, fewer --workers take "
                            f"less; {GO_ON}"
                        )
                        raise failure from error
                    self.say(f"a worker process {error} ({what}); another does its shard again")
                    worker = self._replace(worker)
        finally:
            self._free.put(worker)

    def _replace(self, lost: "Worker") -> "Worker":
        lost.kill()
        self._all.remove(lost)
        return self._start()

    def _start(self) -> "Worker":
        worker = Worker()
        self._all.append(worker)
        return worker


#: The pools of this process, by their numbers.
_pools: dict[int, Pool] = {}
_keys = itertools.count()


def _pool_of(key: int) -> Pool:
    return _pools[key]


class Worker:
    """One process, as its pool sees it."""

    def __init__(self) -> None:
        self._line, theirs = Pipe()
        try:
            self._process = subprocess.Popen(
                command(serve, str(theirs.fileno())),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C in the terminal is for this process alone
            )
        except OSError as error:
            raise RunError(f"a worker process cannot be started: {error}; {GO_ON}") from error
        finally:
            theirs.close()
        self._told: bytes | None = None  #: what it was last told of a pass

    def do(self, work: bytes, element: Element) -> None:
        """Have it do a shard.

        Raises:
            LostError: it has ended, or is silent.
            Exception: what it raised.
        """
        try:
            self._tell((None if self._told is work else work, element))
            self._told = work
            answer = _ALIVE
            while answer is _ALIVE:
                if not self._line.poll(SILENT_SECONDS):
                    raise _silent()
                answer = self._line.recv()
        except (EOFError, OSError) as error:
            code = self._process.wait()
            how = f"by signal {-code} ({strsignal(-code)})" if code < 0 else f"with code {code}"
            raise LostError(f"was ended {how}") from error
        if isinstance(answer, BaseException):
            raise answer

    def _tell(self, order: tuple[bytes | None, Element]) -> None:
        """Send an order. One that is larger than what the line holds has to be taken meanwhile.

        Raises:
            LostError: nobody takes it.
        """
        late = threading.Timer(SILENT_SECONDS, self._process.kill)
        late.daemon = True
        late.start()
        try:
            self._line.send(order)
        except OSError as error:
            if late.finished.is_set():
                raise _silent() from error
            raise
        finally:
            late.cancel()

    def end(self) -> None:
        """Have it end, at once where it is at work."""
        self._line.close()
        self.kill()

    def kill(self) -> None:
        with suppress(OSError):
            self._process.kill()
        self._process.wait()


def _silent() -> LostError:
    return LostError(f"was silent for {SILENT_SECONDS:.0f} s")


#: A sign of life.
_ALIVE = None


def serve(line: str) -> None:
    """The other side of :class:`Worker`: do shards until the line is closed.

    Args:
        line: the file descriptor of a connection, in digits.
    """
    connection, sending = Connection(int(line)), threading.Lock()
    threading.Thread(target=_beat, args=(connection, sending), daemon=True).start()
    work: PassWork | None = None
    for told, (index, shard) in _orders(connection):
        answer: BaseException | bool = True
        try:
            if told is not None:
                with loading():
                    work = pickle.loads(told)
                    work.set_up()
            assert work is not None
            work.do(index, shard)
        except Exception as error:  # noqa: BLE001  (raised in the other process)
            answer = _portable(error)
        with sending:
            connection.send(answer)


def _orders(connection: Connection) -> Iterator[tuple[bytes | None, Element]]:
    with suppress(EOFError, OSError):
        while True:
            yield connection.recv()


def _beat(connection: Connection, sending: threading.Lock) -> None:
    """Give signs of life; when nobody is there to hear them, end, whatever is under way."""
    pause = threading.Event()
    while not pause.wait(BEAT_SECONDS):
        try:
            with sending:
                connection.send(_ALIVE)
        except OSError:
            os._exit(1)


def _portable(error: Exception) -> BaseException:
    """An error that can travel, with the words of its traceback."""
    words = "".join(traceback.format_exception(error))
    try:
        travelled = pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001  (whatever an error of somebody else's holds)
        travelled = RuntimeError(f"{type(error).__name__}: {error}")
    travelled.add_note(f"In a worker process:\n{words}")
    return travelled
