"""Beam's engines: refused early what they would fail of late, and started without their noise.

Beam takes over parts of the process it runs in and waits for ever for a worker that never
comes. What is done about that is here; :mod:`pipelines.runs.chain` says what is run.
"""

import io
import os
import re
import shlex
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path
from typing import Any

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.runners.direct.direct_runner import SwitchingDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.fn_api_runner.worker_handlers import EmbeddedGrpcWorkerHandler
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.runners.runner import PipelineResult, PipelineRunner, create_runner
from apache_beam.runners.worker import sdk_worker
from apache_beam.transforms.environments import SubprocessSDKEnvironment
from apache_beam.utils.thread_pool_executor import UnboundedThreadPoolExecutor

from pipelines.runs.guest import Shared
from pipelines.runs.interpreters import safe_environment
from pipelines.runs.loopback import listening_on_loopback
from sanitizer.errors import GO_ON, InputError, RunError

#: Seconds for a job service to answer.
SERVICE_SECONDS = 20.0

#: Seconds between two looks at worker processes.
LOOK_SECONDS = 0.5

#: Seconds for the worker threads of a failed or interrupted run to end what they are at.
CLOSING_SECONDS = 30.0

#: Options that FnApiRunner passes over in silence: it has workers of its own.
_ELSEWHERE = ("job_endpoint", "environment_type", "environment_config")


def check_engine(runner: str, beam_options: Sequence[str]) -> None:
    """Refuse an engine that does not exist or answer, and options that none of Beam's parts knows.

    A job service may know options that Beam here does not, so those pass.

    Raises:
        InputError: so it is.
        RunError: no job service answers.
    """
    parsers: list[Any] = []
    words = io.StringIO()
    try:
        with redirect_stderr(words):
            engine = create_runner(runner)
            options = PipelineOptions(list(beam_options))
            options.get_all_options(add_extra_args_fn=parsers.append)
            _, unknown = parsers[0].parse_known_args(list(beam_options))
    except SystemExit as error:  # so argparse ends, after lines of usage
        said = _last_line(words.getvalue()).rpartition("error: ")[2]
        raise InputError(f"Beam refuses these options: {said}") from error
    except (AttributeError, ImportError, ValueError) as error:
        raise InputError(f"Beam refuses these options: {_first_line(error)}") from error
    if isinstance(engine, PortableRunner):
        _check_service(engine, runner, options.view_as(PortableOptions).job_endpoint)
    elif unknown:
        raise InputError(f"Beam knows no option {unknown[0]}; see what follows --")
    elif isinstance(engine, FnApiRunner):
        for name in _ELSEWHERE:
            if getattr(options.view_as(PortableOptions), name):
                raise InputError(
                    f"--{name} has no effect with {runner}, which works in this process; give "
                    "--runner PortableRunner and a --job_endpoint, or leave it out"
                )


def _check_service(engine: PipelineRunner, runner: str, endpoint: str | None) -> None:
    """Refuse a job service that does not answer; Beam would wait five minutes."""
    if not endpoint:
        if type(engine) is PortableRunner:  # others start a service of their own
            raise InputError(f"{runner} needs --job_endpoint=HOST:PORT after --")
    elif endpoint != "embed":
        with grpc.insecure_channel(endpoint) as channel:
            try:
                grpc.channel_ready_future(channel).result(timeout=SERVICE_SECONDS)
            except grpc.FutureTimeoutError as error:
                raise RunError(
                    f"no Beam job service answers at {endpoint} within {SERVICE_SECONDS:.0f} s; "
                    "start one or give another --job_endpoint"
                ) from error


def run_pipeline(
    build: Callable[[beam.Pipeline], object],
    arguments: list[str],
    stop: Callable[[], None] = lambda: None,
) -> None:
    """Build a pipeline, run it, and wait until it has ended.

    Args:
        build: applies the transforms.
        arguments: Beam's command line.
        stop: called when a run in this process ends, however: ends what it has left under way.

    Raises:
        RunError: a worker process could not start, or has ended.
        Exception: what a worker raised, as the engine wraps it.
    """
    options = PipelineOptions(arguments)
    engine = create_runner(options.view_as(StandardOptions).runner)
    here = isinstance(engine, FnApiRunner | SwitchingDirectRunner)
    mode = options.view_as(DirectOptions).direct_running_mode
    _this_run.stop = stop
    with _not_interactive, _without_prints, closing_in_time, listening_on_loopback:
        if here and mode == "multi_processing":
            _run_in_processes(build, options)
        else:
            with beam.Pipeline(options=options) as pipeline:
                build(pipeline)


def run_and_watch(
    build: Callable[[beam.Pipeline], object],
    arguments: list[str],
    watch: Callable[[PipelineResult], None],
) -> None:
    """As :func:`run_pipeline`, on an engine that Beam does not watch well enough.

    Args:
        watch: waits until the run has ended, instead of Beam.
    """
    with _not_interactive:
        pipeline = beam.Pipeline(options=PipelineOptions(arguments))
        build(pipeline)
        watch(pipeline.run())


# --- Tracebacks -----------------------------------------------------------------------------


@contextmanager
def _beam_prints_nothing() -> Iterator[None]:
    """Keep Beam from printing what a worker raised, which whoever asked for the run is told.

    Its worker threads print the traceback besides, past all logging.
    """
    names = vars(sdk_worker)
    names["print"] = lambda *words, **options: None
    try:
        yield
    finally:
        del names["print"]


_without_prints = Shared(_beam_prints_nothing)


# --- The end of a run -----------------------------------------------------------------------


#: Of the thread that waits for a run: how to end what it has left under way.
_this_run = threading.local()


@contextmanager
def _beam_closes_in_time() -> Iterator[None]:
    """Make Beam wait for its worker threads at the end of a run, but not for ever.

    Where one has failed, the others are still at work: they would write to OUTPUT when somebody
    else may. Beam waits for the threads of a worker, but not for those that all workers share, so
    each gets its own. A Ctrl-C that comes while one is being connected leaves it waiting for ever,
    and Beam for it.
    """
    stop, run = EmbeddedGrpcWorkerHandler.stop_worker, sdk_worker.SdkHarness.run

    def run_in_its_own_threads(self: sdk_worker.SdkHarness) -> None:
        self._worker_thread_pool = UnboundedThreadPoolExecutor()
        run(self)

    def stop_in_time(self: EmbeddedGrpcWorkerHandler) -> None:
        getattr(_this_run, "stop", lambda: None)()
        self.worker_thread.join(CLOSING_SECONDS)

    EmbeddedGrpcWorkerHandler.stop_worker = stop_in_time
    sdk_worker.SdkHarness.run = run_in_its_own_threads
    try:
        yield
    finally:
        EmbeddedGrpcWorkerHandler.stop_worker, sdk_worker.SdkHarness.run = stop, run


#: For as long as any run lasts, see :func:`_beam_closes_in_time`.
closing_in_time = Shared(_beam_closes_in_time)


# --- Notebooks ------------------------------------------------------------------------------


@contextmanager
def _beam_outside_ipython() -> Iterator[None]:
    """Make Beam believe that no IPython is there.

    Otherwise it loads its interactive part, which fails with pandas 3 (``DataFrame.first``), to
    put the number of the cell in front of the names of our transforms; and it leaves a folder
    of temporary files for that part to remove. There is no option against it, and it asks by
    these two names of the one module alone.
    """
    module = beam.pipeline
    before = module.alter_label_if_ipython, module.is_in_ipython
    module.alter_label_if_ipython = lambda transform, pvalueish: None
    module.is_in_ipython = lambda: False
    try:
        yield
    finally:
        module.alter_label_if_ipython, module.is_in_ipython = before


_not_interactive = Shared(_beam_outside_ipython)


# --- Workers in processes of their own ------------------------------------------------------


def _run_in_processes(build: Callable[[beam.Pipeline], object], options: PipelineOptions) -> None:
    """Run by FnApiRunner, its workers processes of which the end is noticed.

    Beam's own ``multi_processing`` waits for ever for a worker that has ended, and lets all
    write hundreds of lines to standard error.
    """
    options.view_as(DirectOptions).direct_running_mode = "in_memory"
    failures: list[Exception] = []

    def run(environment: SubprocessSDKEnvironment) -> None:
        try:
            runner = FnApiRunner(default_environment=environment)
            with beam.Pipeline(runner=runner, options=options) as pipeline:
                build(pipeline)
        except Exception as error:  # noqa: BLE001  (raised below, in the caller's thread)
            failures.append(error)

    # The shell of a worker that is killed may yet write its code.
    folder_of_run = tempfile.TemporaryDirectory(prefix="freqsan-", ignore_cleanup_errors=True)
    with safe_environment(), folder_of_run as folder:
        words, code, ids = (Path(folder, name) for name in ("words", "code", "ids"))
        python = f"{shlex.quote(sys.executable)} -m apache_beam.runners.worker.sdk_worker_main"
        # Beam gives the command to a shell.
        command = "exec 2>>{}; {} & echo $! >>{}; wait $! || echo $? >>{} || true".format(
            shlex.quote(str(words)), python, *(shlex.quote(str(file)) for file in (ids, code))
        )
        environment = SubprocessSDKEnvironment.from_command_string(command)
        # A daemon: where a worker is lost it waits until this process ends.
        thread = threading.Thread(target=run, args=(environment,), name="beam", daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(LOOK_SECONDS)
                if code.exists() and thread.is_alive():
                    raise RunError(
                        f"a worker process ended with code {_last_line(code.read_text())} "
                        f"({_last_line(words.read_text()) or 'it said nothing'}); {GO_ON}"
                    )
        except BaseException:  # also a Ctrl-C in Python: those that are left would work on
            with _broken_connections_are_silent():
                for worker in ids.read_text().split() if ids.exists() else ():
                    with suppress(OSError):  # it may just have ended
                        os.kill(int(worker), signal.SIGKILL)
                thread.join(LOOK_SECONDS)
            raise
    if failures:
        raise failures[0]


@contextmanager
def _broken_connections_are_silent() -> Iterator[None]:
    """Beam's threads die with a traceback each when their worker is gone."""
    before = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if not issubclass(args.exc_type, grpc.RpcError):
            before(args)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


# --- Words ----------------------------------------------------------------------------------


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2].strip()


def last_words(error: Exception) -> str:
    """What a runner's error comes down to, where it holds a traceback and more."""
    text = str(error).strip()
    if details := re.search(r'details = "(.*)"', text):
        return details[1]
    raised = re.findall(r"^[A-Za-z_][\w.]*(?:: .*)?$", text, re.MULTILINE)
    return raised[-1] if raised else _last_line(text)
