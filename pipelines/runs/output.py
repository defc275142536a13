"""An output directory, from its plan to its manifest.

While a job runs, ``OUTPUT/.freqsan/`` holds the plan (what is being made, from what, with
which versions) and a receipt for every finished shard of every pass. A second run with the
same plan goes on at the shards without a receipt. The manifest is written last and is the
commit; then ``.freqsan/`` goes.
"""

import dataclasses
from collections.abc import Container
from pathlib import PurePosixPath
from typing import Any

from filelock import FileLock, Timeout

from pipelines.runs import layout
from pipelines.runs.guards import check_space
from pipelines.runs.manifest import Manifest, Plan
from pipelines.runs.passes import Receipt
from pipelines.runs.store import Store
from pipelines.sources.base import Reader
from sanitizer.errors import InputError, RunError


class Output:
    """The directory a job writes to.

    Args:
        store: OUTPUT.
        plan: of the run.
    """

    def __init__(self, store: Store, plan: Plan):
        self.store = store
        self.plan = plan
        self._lock: FileLock | None = None

    def open(self, *, overwrite: bool, needed_bytes: int = 0) -> bool:
        """Make the directory ready and lock it; :meth:`close` it in the end.

        Only a directory of this machine can be locked; on an object store two runs at once
        are for the user to avoid.

        Returns:
            False, and nothing is done, if this very run is already complete there.

        Raises:
            InputError: the directory holds another run, without ``overwrite``; files that
                are not freqsan's; or a run that is at work right now.
            RunError: a new run would need more than the free space, ``needed_bytes``.
        """
        manifest, plan = read_manifest(self.store), _read_json(self.store, layout.PLAN)
        if manifest is None and plan is None and self._holds_foreign_files():
            raise InputError(
                f"{self.store.address} is not empty and holds no freqsan run; nothing in it is "
                "touched, give an empty or new OUTPUT"
            )
        if not overwrite:
            if manifest is not None:
                self._check_same_run(manifest)
                # Left by a run that was killed right after its commit.
                self.store.remove(layout.WORK)
                return False
            if plan not in (None, self.plan.to_json()):
                raise InputError(
                    f"{self.store.address} holds an unfinished run that differs in "
                    f"{self.plan.differences(plan or {})}; give --overwrite to start anew, or "
                    "the same settings and input to go on"
                )
            if plan is None:
                check_space(self.store, needed_bytes)
        self._acquire_lock()
        if overwrite:
            self._clear()
        self.store.remove_leftovers()
        self.store.write_json(layout.PLAN, self.plan.to_json())
        return True

    def close(self) -> None:
        """Let others in."""
        if self._lock is not None:
            self._lock.release()

    def _holds_foreign_files(self) -> bool:
        entries = [*self.store.names(), *self.store.names("", ".*")]
        return any(name != layout.WORK for name in entries)

    def _check_same_run(self, manifest: dict[str, Any]) -> None:
        """Refuse the manifest of another run.

        Raises:
            InputError: it is one.
        """
        if manifest["plan"] != self.plan.to_json():
            raise InputError(
                f"{self.store.address} holds a finished run that differs in "
                f"{self.plan.differences(manifest['plan'])}; give --overwrite to replace it, "
                "or another OUTPUT"
            )

    def _acquire_lock(self) -> None:
        if self.store.local is None:
            return
        path = self.store.local / layout.LOCK
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise InputError(
                f"another freqsan run is writing to {self.store.address} right now; wait for it "
                "or give another OUTPUT"
            ) from error
        self._lock = lock

    def _clear(self) -> None:
        """Remove an earlier run, and only what is ours."""
        # A run killed from here on must neither look finished nor like somebody else's files.
        self.store.write_json(layout.PLAN, {"job": "overwritten"})
        for entry in layout.OWN_ENTRIES:
            self.store.remove(entry)
        kept = (layout.PLAN, layout.LOCK)
        for entry in self.store.names(layout.WORK):
            if entry not in kept:
                self.store.remove(entry)

    def with_stored_units(self, reader: Reader) -> Reader:
        """The reader, with its units in a file of this output: small enough to be sent around."""
        data = reader.units.to_bytes()
        if self.store.size(layout.LISTING) != len(data):
            self.store.write(layout.LISTING, data)
        units = reader.units.stored(self.store.locate(layout.LISTING))
        return dataclasses.replace(reader, units=units)  # type: ignore[type-var]

    def receipts(self, pass_name: str, skip: Container[int] = ()) -> dict[int, Receipt]:
        """Receipts of the finished shards of a pass, by shard number, but those in ``skip``.

        A shard whose receipt is damaged, or whose files are gone or not of the size they had,
        is not finished.
        """
        receipts = {}
        for name in self.store.names(f"{layout.WORK}/{pass_name}", "[0-9]*.json"):
            try:
                index = int(PurePosixPath(name).stem)
                if index in skip:
                    continue
                receipt = Receipt.from_json(self.store.read_json(name))
            except ValueError:
                continue
            if all(self.store.size(f) == facts.bytes for f, facts in receipt.files.items()):
                receipts[index] = receipt
        return receipts

    @staticmethod
    def write_receipt(store: Store, pass_name: str, receipt: Receipt) -> None:
        """Leave the receipt of a shard whose files are in place."""
        store.write_json(layout.receipt(pass_name, receipt.index), receipt.to_json())

    def commit(self, manifest: Manifest) -> None:
        """Write the manifest, the act that makes the run a result, and tidy up."""
        self.store.write_json(layout.MANIFEST, manifest.to_json())
        self.store.remove(layout.WORK)


def read_manifest(store: Store) -> dict[str, Any] | None:
    """The manifest of a finished run, as JSON; None where there is none of freqsan's.

    Raises:
        InputError: there is one, but it is unreadable.
    """
    manifest = _read_json(store, layout.MANIFEST)
    # Other programs write files of that name too.
    ours = manifest is not None and {"freqsan", "job", "plan"} <= manifest.keys()
    return manifest if ours else None


def _read_json(store: Store, name: str) -> dict[str, Any] | None:
    try:
        value = store.read_json(name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise InputError(
            f"{store.locate(name)} is unreadable ({error}); remove it to go on"
        ) from error
    return value if isinstance(value, dict) else None


def write_failure(store: Store, error: Exception) -> None:
    """Leave an expected failure where the driver finds it, whatever the runner does to it."""
    store.write_json(layout.FAILURE, {"kind": type(error).__name__, "text": str(error)})


def take_failure(store: Store) -> Exception | None:
    """The failure that a worker left, if any; it is removed."""
    if not store.exists(layout.FAILURE):
        return None
    failure = store.read_json(layout.FAILURE)
    store.remove(layout.FAILURE)
    return {"InputError": InputError}.get(failure["kind"], RunError)(failure["text"])
