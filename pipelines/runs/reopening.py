"""A finished run that another command works on."""

from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.runs import layout
from pipelines.runs.amending import settle
from pipelines.runs.earlier import Earlier, Finished
from pipelines.runs.guards import check_folders
from pipelines.runs.lock import locked
from pipelines.runs.store import Store
from sanitizer.errors import InputError, RunError


@contextmanager
def reopened(store: Store) -> Iterator[Finished]:
    """A finished run of ``clean``, locked; what a review has left half-way is carried to its end.

    Args:
        store: OUTPUT.

    Raises:
        InputError: it holds no such run, or another command is at work there.
        RunError: a file cannot be read or written.
    """
    nothing = InputError(
        f"{store.address} holds no finished run of freqsan clean (no {layout.MANIFEST} of it); "
        "give the OUTPUT of one"
    )
    if store.local is not None and not store.local.is_dir():
        what = "is a file" if store.local.exists() else "does not exist"
        raise InputError(f"{store.address} {what}; give the OUTPUT of a finished freqsan clean")
    if not store.exists(layout.MANIFEST):
        if store.exists(layout.PLAN):
            raise InputError(
                f"{store.address} holds a run that is not finished; give its command again to go on"
            )
        raise nothing
    check_folders(store)
    try:
        with locked(store):
            settle(store)
            earlier = Earlier.read(store)
            if earlier.broken is not None:
                raise InputError(f"{earlier.broken}; clean again with --overwrite")
            if earlier.finished is None:
                raise nothing
            if (job := earlier.finished.manifest.job) != "clean":
                raise InputError(
                    f"{store.address} holds a run of freqsan {job}, which has no report; "
                    "freqsan clean makes one"
                )
            if earlier.plan is not None and earlier.plan.replaces is not None:
                raise InputError(f"{store.address} is being replaced; clean again with --overwrite")
            yield earlier.finished
    except OSError as error:
        raise RunError(f"{error.strerror or error} ({error.filename or store.address})") from error
