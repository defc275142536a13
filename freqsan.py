"""The public functions: ``from freqsan import clean, score, reject``.

The functions live in four packages beside this module. They are looked up when first asked
for, so that the import and ``freqsan --help`` answer at once. The module itself imports nothing
that Python has not loaded: until :func:`main` begins, a Ctrl-C is a traceback.

>>> from freqsan import attacks
>>> [attack.name for attack in attacks()][:3]
['adaptive_blend', 'adaptive_patch', 'badnets']
"""

import sys

# ``python -m freqsan`` looks first into the working directory, which may be the data's: nothing
# there is to be executed, be it named like a module of Python or of a library.
if (
    __name__ == "__main__"
    and not sys.flags.safe_path
    and sys.path[0] != __file__[: -len("/freqsan.py")]
):
    del sys.path[0]

TYPE_CHECKING = False  # as in ``typing``, which takes its time
if TYPE_CHECKING:
    from typing import Any

    from pipelines.jobs.apply import apply
    from pipelines.jobs.attacks import attacks
    from pipelines.jobs.clean import clean
    from pipelines.jobs.craft import craft
    from pipelines.jobs.demo import demo
    from pipelines.jobs.detectors import detectors
    from pipelines.jobs.dry_run import dry_run
    from pipelines.jobs.evaluate import evaluate
    from pipelines.jobs.export import export
    from pipelines.jobs.features import features
    from pipelines.jobs.ingest import ingest
    from pipelines.jobs.poison import poison
    from pipelines.jobs.prove import prove
    from pipelines.jobs.report import report
    from pipelines.jobs.scan import scan
    from pipelines.jobs.score import score
    from pipelines.jobs.spectrum import spectrum
    from pipelines.jobs.train import train
    from pipelines.jobs.tune import tune
    from pipelines.judging.serving import Judged, judge, reject
    from sanitizer.errors import FreqsanError, InputError, PoisonedError, RunError, UnjudgedError

__all__ = [
    "FreqsanError",
    "InputError",
    "Judged",
    "PoisonedError",
    "RunError",
    "UnjudgedError",
    "apply",
    "attacks",
    "clean",
    "craft",
    "demo",
    "detectors",
    "dry_run",
    "evaluate",
    "export",
    "features",
    "ingest",
    "judge",
    "poison",
    "prove",
    "reject",
    "report",
    "scan",
    "score",
    "spectrum",
    "train",
    "tune",
]

#: The modules of those names that are not a job each.
_ELSEWHERE = {
    "FreqsanError": "sanitizer.errors",
    "InputError": "sanitizer.errors",
    "PoisonedError": "sanitizer.errors",
    "RunError": "sanitizer.errors",
    "UnjudgedError": "sanitizer.errors",
    "Judged": "pipelines.judging.serving",
    "judge": "pipelines.judging.serving",
    "reject": "pipelines.judging.serving",
}

_PACKAGES = ("attacks", "detector", "pipelines", "sanitizer")


def __getattr__(name: str) -> "Any":
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _check_packages()
    import importlib

    return getattr(importlib.import_module(_ELSEWHERE.get(name, f"pipelines.jobs.{name}")), name)


def __dir__() -> list[str]:
    return __all__


def _check_packages() -> None:
    """See that a stranger's ``pipelines/`` or ``attacks.py`` does not stand in front of ours.

    Raises:
        ImportError: one does; the message names it.
    """
    from pathlib import Path

    home = Path(__file__).resolve().parent
    for name in _PACKAGES:
        found, ours = _place_of(name), home / name / "__init__.py"
        if found is None or Path(found).resolve() != ours:
            raise ImportError(
                f"freqsan needs its own package {name!r} ({ours.parent}), but Python finds "
                f"{found or 'none'}; rename that, or run from another directory"
            )


def _place_of(name: str) -> str | None:
    """The file, else the folder, of the module that an import of ``name`` gives."""
    import importlib.util

    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # so find_spec says of a module that somebody has made by hand
        return f"a module without a file, {sys.modules[name]!r}"
    if spec is None:
        return None
    return spec.origin or next(iter(spec.submodule_search_locations or ()), None)


def main() -> None:
    """The ``freqsan`` command, in a process of its own."""
    import signal

    # A signal that comes while we are not ready for it waits until we are.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        _check_packages()
    except ImportError as error:
        sys.exit(f"freqsan: {error}")
    from pipelines.process import mend_streams, own_temporary_folder, stop_on_signals
    from sanitizer.garbage import own_process

    mend_streams()
    stop_on_signals(own_temporary_folder())
    own_process()
    from pipelines.cli import main as command

    command()


if __name__ == "__main__":
    main()
