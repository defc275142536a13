"""What an earlier run has left in an OUTPUT, and what of it another run may remove.

All that is read here may be broken or hostile: somebody else may have written it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, Self, TypeVar

from pipelines.runs import layout
from pipelines.runs.checksums import (
    ALTERED,
    Changes,
    Checksum,
    changes,
    is_sealed,
    report_changes,
    strays,
)
from pipelines.runs.manifest import Manifest, StoredPlan
from pipelines.runs.store import Store, as_json
from pipelines.sources.remote import Unreachable
from sanitizer.errors import InputError
from sanitizer.record import Record

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Finished:
    """A run that was committed."""

    manifest: Manifest  #: what the manifests of all jobs say
    json: dict[str, Any]  #: all that it says

    @cached_property
    def results(self) -> dict[str, Checksum]:
        """The files of its result, by name."""
        return self.manifest.results()

    def changes(self, store: Store) -> Changes:
        """The files of its result that are not, or not only, what it wrote."""
        # Of a key that stands there twice only one was read, so the bytes are compared as well.
        if not is_sealed(self.json) or store.read(layout.MANIFEST) != as_json(self.json):
            return {layout.MANIFEST: ALTERED}
        return changes(store, self.results) | strays(store, self.results)

    def report_changes(self, store: Store) -> Changes:
        """The files of its report, if it has one, that are not what was written."""
        if layout.SUMMARY not in self.manifest.files:
            return {}
        return report_changes(store, layout.findings_among(self.results))

    def owns(self, name: str) -> bool:
        """Whether a file that may be freqsan's is this run's."""
        return (
            name == layout.MANIFEST
            or name in self.results
            or (layout.SUMMARY in self.manifest.files and layout.is_report(name))
            or (layout.PROOF in self.manifest.files and layout.is_proof_work(name))
        )


@dataclass(frozen=True)
class Earlier:
    """What there is of an earlier run."""

    finished: Finished | None
    plan: StoredPlan | None  #: of a run that is not finished
    broken: str | None  #: what cannot be read, and why, in one line

    @classmethod
    def read(cls, store: Store) -> Self:
        """Look at an OUTPUT, without looking at the files of the result."""
        try:
            finished = read_finished(store)
            plan = _read(store, layout.PLAN, StoredPlan)
        except Unreachable:  # which says nothing of what is there
            raise
        except InputError as error:
            return cls(None, None, str(error))
        return cls(finished, None if plan is None else plan[0], None)

    @property
    def is_there(self) -> bool:
        """Whether there is anything of a run."""
        return any(each is not None for each in (self.finished, self.plan, self.broken))

    def files(self, store: Store) -> list[str]:
        """The files of the run that are there.

        Of a run that cannot be read these are all that have a name that freqsan gives.
        """
        return [name for name in candidates(store) if self._owns(name)]

    def _owns(self, name: str) -> bool:
        if self.broken is not None:
            return True
        if self.finished is not None and self.finished.owns(name):
            return True
        return self.plan is not None and (
            name in (self.plan.replaces or ())
            or (self.finished is None and layout.shards_of(name) in (None, self.plan.plan.shards))
        )


def candidates(store: Store) -> list[str]:
    """The files in an OUTPUT that may be freqsan's, by their names."""
    folders = [name for name in layout.FOLDERS if "/" not in name and name != layout.WORK]
    inside = [name for folder in folders for name in store.walk(folder) if layout.is_ours(name)]
    on_top = [name for name in store.names() if layout.is_ours(name)]
    return [name for name in on_top if store.size(name) is not None] + inside


def remove(store: Store, files: Iterable[str]) -> None:
    """Remove files of an earlier run, and the folders that are empty then.

    Args:
        store: OUTPUT.
        files: their names; those that freqsan does not give are left alone.
    """
    named = set(filter(layout.is_ours, files))
    for name in candidates(store):
        if name in named:
            store.remove(name)
    folders = {str(parent) for name in named for parent in PurePosixPath(name).parents}
    for folder in sorted(folders - {"."}, reverse=True):  # an inner one before the outer
        store.remove_empty(folder)


def read_finished(store: Store) -> Finished | None:
    """The run that was committed in an OUTPUT; None where there is none of freqsan's.

    Raises:
        InputError: there is one, but its manifest cannot be read.
    """
    try:
        read = _read(store, layout.MANIFEST, Manifest)
    except Unreachable:
        raise
    except InputError:
        if _speaks_of_freqsan(store):
            raise
        return None
    return None if read is None else Finished(*read)


def _speaks_of_freqsan(store: Store) -> bool:
    """Whether an OUTPUT is freqsan's by other signs than its manifest."""
    own = (kind for kind in layout.SHARDED if kind != layout.TRAIN)  # others name theirs so too
    if store.exists(layout.PLAN) or any(store.shards(kind) for kind in own):
        return True
    return any(_mentions_freqsan(store, name) for name in (layout.MANIFEST, layout.CARD))


def _mentions_freqsan(store: Store, name: str) -> bool:
    try:
        return b"freqsan" in store.read(name)
    except OSError:  # what cannot be read says nothing
        return False


def _read(store: Store, name: str, kind: type[R]) -> tuple[R, dict[str, Any]] | None:
    """A record and the JSON it was read from; None where there is no such file.

    Raises:
        InputError: it is damaged.
    """
    try:
        value = store.read_json(name)
        record = kind.from_json(value)
        record.to_json()  # what is nested too deeply to be written is refused here, not later
        return record, value
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"{store.locate(name)} cannot be read ({reason})") from error
