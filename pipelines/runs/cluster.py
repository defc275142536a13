"""A Dask cluster: refused early what it would fail of late, and watched while it works.

The work itself goes through Beam's own DaskRunner. That and Dask wait for ever for workers that
never come, for a scheduler that is silent and for a worker that hangs; what is done about that is
here.
"""

import dataclasses
import logging
import platform
import re
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib import metadata
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar

from pipelines.runs.guest import Shared
from pipelines.runs.manifest import VERSIONED
from sanitizer.errors import GO_ON, InputError, RunError, quoted

if TYPE_CHECKING:
    import apache_beam as beam
    from distributed import Client, Future

#: What ``--runner`` calls it. Beam itself has no short name for its runner.
DASK = "dask"

#: Seconds for the scheduler to answer, and for its first worker to come, before work begins.
ANSWER_SECONDS = 20.0

#: Seconds that a run goes on without any worker, or without an answer of the scheduler: a worker
#: that has ended is started anew within seconds, one that a cloud has taken within a minute or two.
PATIENCE_SECONDS = 120.0

#: Seconds after which a run ends that waits for a worker that is silent while others are not. Dask
#: gives such a worker's shards to others, unless told not to, after half of that, its
#: ``distributed.scheduler.worker-ttl``.
SILENT_SECONDS = 600.0

#: Seconds between two looks at the scheduler.
LOOK_SECONDS = 2.0

#: Seconds for the scheduler to let go of a run that has failed or was interrupted.
CLOSING_SECONDS = 5.0

#: What Dask can connect to; for another scheme its client waits a minute for itself.
_ADDRESS = re.compile(r"(tcp|tls|ws|wss)://[^/]+:[0-9]+")

#: The loggers of Dask that speak for a driver, each with a level of its own.
_LOGS = "distributed"

#: The Python here, without its last number.
HERE = platform.python_version_tuple()[:2]

#: Packages that must be alike on all machines: what changes results, and what carries the work.
ALIKE = (*VERSIONED, "onnxruntime", "dask", "distributed", "cloudpickle")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A Dask cluster that does the work."""

    scheduler: str  #: its address, such as ``tcp://host:8786``
    patience: float = PATIENCE_SECONDS  #: seconds without any worker, or without the scheduler
    runner: ClassVar[str] = "apache_beam.runners.dask.dask_runner.DaskRunner"  #: Beam's own

    def check(self) -> None:
        """Refuse a cluster on which nothing would come of the work.

        Raises:
            InputError: Dask is not installed here, or the address is none.
            RunError: the scheduler does not answer, has no workers, or other versions are
                installed there.
        """
        if not _ADDRESS.fullmatch(self.scheduler):
            raise InputError(
                f"--dask-scheduler: expected an address such as tcp://host:8786, got "
                f"{quoted(self.scheduler)}"
            )
        try:
            import dask.bag  # noqa: F401  (of what Beam's runner needs, the last to be installed)
            import distributed  # noqa: F401
        except ImportError as error:
            raise InputError(
                f"--runner {DASK} needs Dask, which is not installed here ({error}); "
                "pip install 'freqsan[dask]', and the same on the scheduler and on all workers"
            ) from error
        with _dask_is_silent, self._connected() as client:
            deadline = time.monotonic() + ANSWER_SECONDS
            while not self._workers(client, ANSWER_SECONDS):
                if time.monotonic() >= deadline:
                    raise RunError(
                        f"the Dask scheduler at {self.scheduler} has no workers; start some with "
                        f"`dask worker {self.scheduler} --nthreads 1 --nworkers CORES`"
                    )
                time.sleep(0.1)
            _check_alike(client, self.scheduler)

    def run(
        self,
        build: "Callable[[beam.Pipeline], object]",
        tasks: int,
        beam_options: Sequence[str],
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Build a pipeline, run it, and wait until it has ended.

        Args:
            build: applies the transforms, a single chain.
            tasks: elements at its beginning; each becomes a task of its own.
            beam_options: further Beam options.
            say: is told in a line of a worker that is lost.

        Raises:
            RunError: the scheduler or all workers are gone or silent, or a shard has ended
                worker after worker.
            Exception: what a worker raised.
        """
        from pipelines.runs.engine import run_and_watch

        arguments = [f"--runner={self.runner}", *beam_options, *self.arguments(tasks)]
        with _dask_is_silent, _beam_outside_notebooks:
            try:
                run_and_watch(build, arguments, partial(self._watch, say))
            except OSError as error:
                if "connect" not in str(error):
                    raise
                raise RunError(self._unreachable()) from error

    def arguments(self, tasks: int) -> list[str]:
        """What Beam's runner is told: where, and that every element is a partition of its own.

        By default it puts 128 into one, and few shards would be done by one worker.
        """
        return [f"--dask_client_address={self.scheduler}", f"--dask_npartitions={tasks}"]

    @contextmanager
    def _connected(self) -> "Iterator[Client]":
        from distributed import Client

        try:
            client = Client(self.scheduler, timeout=ANSWER_SECONDS, set_as_default=False)
        except (OSError, RuntimeError, TypeError) as error:
            raise RunError(self._unreachable()) from error
        try:
            yield client
        finally:
            _close(client)

    def _unreachable(self) -> str:
        return (
            f"no Dask scheduler answers at {self.scheduler} within {ANSWER_SECONDS:.0f} s; start "
            "one with `dask scheduler`, or give the address that it says"
        )

    def _workers(self, client: "Client", patience: float) -> dict[str, float]:
        """When the scheduler last heard of each worker, by its own clock.

        Raises:
            RunError: it does not answer.
        """
        try:
            told = client.sync(client.scheduler.identity, n_workers=-1, callback_timeout=patience)
        except (OSError, TimeoutError) as error:
            raise RunError(
                f"the Dask scheduler at {self.scheduler} has ended, or not answered for "
                f"{patience:.0f} s; {GO_ON}"
            ) from error
        return {address: worker["last_seen"] for address, worker in told["workers"].items()}

    def _watch(self, say: Callable[[str], None], result: Any) -> None:
        """Wait for the end of a run of Beam's runner, but not for ever."""
        client: Client = result.client
        (future,) = result.futures
        try:
            self._wait(client, future, say)
        finally:
            # Also after a failure and a Ctrl-C: what has not begun is given up with the connection.
            _close(client, future)

    def _wait(self, client: "Client", future: "Future", say: Callable[[str], None]) -> None:
        from distributed import wait
        from distributed.client import CancelledError
        from distributed.scheduler import KilledWorker

        heard = _Heard()
        while not future.done():
            with suppress(TimeoutError, CancelledError):
                wait(future, timeout=LOOK_SECONDS)
            if future.status == "pending":
                workers = self._workers(client, self.patience)
                for address in heard.lost(workers):
                    say(f"the Dask worker {address} has gone; others do what it had under way")
                self._check_heard(heard, workers)
        if future.cancelled():
            raise RunError(
                f"the Dask scheduler at {self.scheduler} has ended, was restarted or has cancelled "
                f"the work; {GO_ON}"
            )
        try:
            future.result()
        except KilledWorker as error:
            raise RunError(
                f"a shard has ended {error.allowed_failures + 1} Dask workers one after another, "
                f"the last was {error.last_worker.address}; it may need more memory than they "
                "have: give them more, or --shard-rows fewer; finished shards are kept only for "
                "the same --shard-rows"
            ) from error

    def _check_heard(self, heard: "_Heard", workers: dict[str, float]) -> None:
        """End a run that nobody works for.

        Raises:
            RunError: so it is.
        """
        silent = heard.silent(workers)
        if heard.since_any(silent) > self.patience:
            raise RunError(
                f"no worker of the Dask scheduler at {self.scheduler} has been heard of for "
                f"{self.patience:.0f} s; start some, {GO_ON}"
            )
        for address, seconds in silent.items():
            if seconds > max(SILENT_SECONDS, self.patience):
                raise RunError(
                    f"the Dask worker {address} has not been heard of for {seconds:.0f} s and may "
                    f"hold shards; end it, {GO_ON}"
                )


class _Heard:
    """When each worker was last heard of, by our own clock: those of other machines may differ."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, float]] = {}  # by worker: its word of it, our time
        self._any = time.monotonic()

    def lost(self, workers: dict[str, float]) -> list[str]:
        """Those that were there the last time, and are no more."""
        return [address for address in self._seen if address not in workers]

    def silent(self, workers: dict[str, float]) -> dict[str, float]:
        """For how many seconds each has been silent.

        Args:
            workers: when the scheduler last heard of each.
        """
        now = time.monotonic()
        before, self._seen = self._seen, {}
        for address, last in workers.items():
            known = before.get(address)
            self._seen[address] = known if known is not None and known[0] == last else (last, now)
        return {address: now - at for address, (_, at) in self._seen.items()}

    def since_any(self, silent: dict[str, float]) -> float:
        """For how many seconds all have been."""
        now = time.monotonic()
        if silent:
            self._any = max(self._any, now - min(silent.values()))
        return now - self._any


def _check_alike(client: "Client", scheduler: str) -> None:
    """Refuse machines with other versions than here.

    Only what Python itself brings is called there, so that this works whatever is installed.

    Raises:
        RunError: so it is; names one machine, and what it has.
    """
    for place, theirs in _everywhere(client, platform.python_version_tuple):
        if tuple(theirs[:2]) != HERE:
            raise _unlike(scheduler, place, "Python", ".".join(theirs), ".".join(HERE))
    for package in ALIKE:
        ours = version(package)
        for place, theirs in _everywhere(client, metadata.version, package):
            if theirs != ours:
                found = "none" if isinstance(theirs, Exception) else theirs
                raise _unlike(scheduler, place, package, found, ours)


def _unlike(scheduler: str, place: str, what: str, theirs: str, ours: str) -> RunError:
    return RunError(
        f"{place} of {scheduler} has {what} {theirs}, and here it is {ours}; install the same on "
        "all machines, and start the scheduler and the workers anew"
    )


def _everywhere(
    client: "Client", function: Callable[..., Any], *arguments: str
) -> Iterator[tuple[str, Any]]:
    """What a function says on the scheduler and on each worker, or what it raises there."""
    # The public calls wait for ever where a machine hangs.
    in_time = {"callback_timeout": ANSWER_SECONDS}
    try:
        try:
            told = client.sync(client._run_on_scheduler, function, *arguments, **in_time)
        except metadata.PackageNotFoundError as error:
            told = error
        yield "the Dask scheduler", told
        on_workers = client.sync(client._run, function, *arguments, on_error="return", **in_time)
    except TimeoutError as error:
        raise RunError(
            f"not all Dask workers answer within {ANSWER_SECONDS:.0f} s; end those that hang, "
            "then run the command again"
        ) from error
    for address, each in on_workers.items():
        yield f"the Dask worker {address}", each


def _close(client: "Client", *futures: "Future") -> None:
    """Give up what is left of the work and disconnect, whatever has become of the scheduler."""
    with suppress(Exception):
        client.cancel(list(futures), force=True)
    with suppress(Exception):
        client.close(timeout=CLOSING_SECONDS)


# --- What Dask and Beam do to the process ---------------------------------------------------


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask from logging, and warning of, what whoever asked for the run is told.

    It warns of other versions, also of packages that change nothing, and of graphs of more than
    10 MB, which ours are from some 20,000 shards on.
    """
    import dask
    import distributed  # noqa: F401  (which sets its loggers up)
    from distributed.versions import VersionMismatchWarning

    unheard = ("ignore", None, VersionMismatchWarning, None, 0)
    loggers = [logging.getLogger(n) for n in logging.root.manager.loggerDict if n.startswith(_LOGS)]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    warnings.filters.insert(0, unheard)  # type: ignore[attr-defined]
    try:
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if unheard in warnings.filters:  # the caller may have put others in place of all
            warnings.filters.remove(unheard)  # type: ignore[attr-defined]


_dask_is_silent = Shared(_quiet)


@contextmanager
def _not_in_notebooks() -> Iterator[None]:
    """Make Beam's runner believe that it is in no notebook, where it refuses to work.

    Nothing in it depends on that.
    """
    from apache_beam.runners.dask import dask_runner

    before = dask_runner.is_in_notebook
    dask_runner.is_in_notebook = lambda: False
    try:
        yield
    finally:
        dask_runner.is_in_notebook = before


_beam_outside_notebooks = Shared(_not_in_notebooks)
