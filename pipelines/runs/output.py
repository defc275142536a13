"""An output directory, from its plan to its manifest.

While a job runs, ``OUTPUT/.freqsan/`` holds the plan (what is being made, from what, with
which versions) and a receipt for every finished shard of every pass. A second run with the
same plan goes on at the shards without a receipt. The manifest is written last and is the
commit; then ``.freqsan/`` goes.
"""

import dataclasses
from collections.abc import Callable, Container
from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import Any, TypeVar

from pipelines.runs import layout
from pipelines.runs.amending import settle
from pipelines.runs.checksums import (
    STRAY,
    Changes,
    Checksum,
    changes,
    checksum,
    described,
    is_sealed,
    seal,
    strays,
)
from pipelines.runs.earlier import Earlier, Finished, remove
from pipelines.runs.guards import check_folders, check_space
from pipelines.runs.lock import locked
from pipelines.runs.manifest import Manifest, Plan, StoredPlan
from pipelines.runs.passes import Receipt
from pipelines.runs.store import NotPlainError, Store, as_json
from pipelines.sources.base import Reader
from pipelines.sources.remote import Unreachable
from sanitizer.errors import FreqsanError, InputError, RunError
from sanitizer.record import Record

AnyManifest = TypeVar("AnyManifest", bound=Manifest)


class Output:
    """The directory a job writes to.

    Args:
        store: OUTPUT.
        plan: of the run.
    """

    def __init__(self, store: Store, plan: Plan):
        self.store = store
        self.plan = plan
        self._held = ExitStack()
        self._files: dict[str, Checksum] = {}  # written for the whole set, by name

    def open(
        self,
        *,
        overwrite: bool,
        needed_bytes: int = 0,
        say: Callable[[str], None] = lambda line: None,
    ) -> bool:
        """Make the directory ready and lock it; :meth:`close` it in the end.

        Args:
            overwrite: replace an earlier run.
            needed_bytes: that a new run will write, about.
            say: is told in a line what this waits for.

        Returns:
            False, and nothing is done, if this very run is already complete there.

        Raises:
            InputError: the directory holds another run, or one that cannot be read, without
                ``overwrite``; files that are not freqsan's; or a run that is at work right now.
            RunError: a new run would need more than the free space, ``needed_bytes``; or this
                very run is complete there, but its files are no longer what it wrote.
        """
        check_folders(self.store)
        self._held.enter_context(locked(self.store, say))
        settle(self.store)
        earlier = Earlier.read(self.store)
        if not earlier.is_there and self._holds_foreign_files():
            raise InputError(
                f"{self.store.address} is not empty and holds no freqsan run; nothing in it is "
                "touched, give an empty or new OUTPUT"
            )
        if overwrite:
            if earlier.finished is not None and earlier.finished.json.get("reviews"):
                say(
                    f"the decisions of people on the run in {self.store.address} go with it; "
                    "freqsan apply takes them again"
                )
            replaced: tuple[str, ...] | None = tuple(earlier.files(self.store))
            if left := strays(self.store, replaced or ()):
                raise InputError(
                    f"{self.store.address}: {described(left)} that is replaced and would look like "
                    "a part of the new one; move that elsewhere"
                )
        else:
            self._check_same_run(earlier)
            replaced = None if earlier.plan is None else earlier.plan.replaces
            if earlier.finished is not None and replaced is None:
                check_unchanged(self.store, earlier.finished)
                # Left by a run that was killed right after its commit.
                self.store.remove(layout.WORK)
                return False
            if earlier.plan is None:
                check_space(self.store, needed_bytes)
        self._begin(replaced)
        return True

    def close(self) -> None:
        """Let others in."""
        self._held.close()

    def _holds_foreign_files(self) -> bool:
        entries = [*self.store.names(), *self.store.names("", ".*")]
        return any(name != layout.WORK for name in entries)

    def _check_same_run(self, earlier: Earlier) -> None:
        """Refuse what is not this run, finished or not.

        Raises:
            InputError: it is another, or cannot be read.
        """
        if earlier.broken is not None:
            raise InputError(f"{earlier.broken}; give --overwrite to start anew")
        if earlier.plan is not None and earlier.plan.plan != self.plan:
            raise InputError(
                f"{self.store.address} holds an unfinished run that differs in "
                f"{self.plan.differences(earlier.plan.plan)}; give --overwrite to start anew, or "
                "the same settings and input to go on"
            )
        if earlier.plan is None and earlier.finished is not None:
            before = earlier.finished.manifest.plan
            if before != self.plan:
                raise InputError(
                    f"{self.store.address} holds a finished run that differs in "
                    f"{self.plan.differences(before)}; give --overwrite to replace it, or another "
                    "OUTPUT"
                )

    def _begin(self, replaced: tuple[str, ...] | None) -> None:
        """Leave the plan, and nothing of a run that is replaced.

        The list of what goes is written first: a run that is killed from here on neither looks
        finished nor like somebody else's files, and the next one knows what is still to go.

        Args:
            replaced: files of that run, and with them its receipts; None where there is none.
        """
        if replaced is not None:
            self._write_plan(replaced)
            remove(self.store, replaced)
            for entry in self.store.names(layout.WORK):
                if entry not in (layout.PLAN, layout.LOCK):
                    self.store.remove(entry)
        self.store.remove(layout.ORDERS)  # workers of an earlier run may still be at one
        # What an earlier run failed of is not what this one fails of.
        self.store.remove(layout.FAILURE)
        self.store.remove_leftovers()
        self._write_plan(None)

    def _write_plan(self, replaces: tuple[str, ...] | None) -> None:
        self.store.write_json(layout.PLAN, StoredPlan(self.plan, replaces).to_json())

    def with_stored_units(self, reader: Reader) -> Reader:
        """The reader, with its units in a file of this output: small enough to be sent around."""
        self.store.write(layout.LISTING, reader.units.to_bytes())
        units = reader.units.stored(self.store.locate(layout.LISTING))
        return dataclasses.replace(reader, units=units)  # type: ignore[type-var]

    def receipts(self, pass_name: str, skip: Container[int] = ()) -> dict[int, Receipt]:
        """Receipts of the finished shards of a pass, by shard number, but those in ``skip``.

        A shard whose receipt is damaged is not finished. Its files are not looked at, see
        :meth:`resume`.
        """
        receipts = {}
        for name in self.store.names(f"{layout.WORK}/{pass_name}", "[0-9]*.json"):
            try:
                index = int(PurePosixPath(name).stem)
                if index in skip:
                    continue
                value = self.store.read_json(name)
                receipt = Receipt.from_json(value)
            except NotPlainError:
                self.store.remove(name)  # it is in the way of the receipt that is to come
                continue
            except (ValueError, RecursionError):
                continue
            if is_sealed(value) and receipt.index == index:
                receipts[index] = receipt
        return receipts

    @staticmethod
    def has_receipt(store: Store, pass_name: str, index: int) -> bool:
        """Whether a shard of a pass is finished, by its receipt alone."""
        try:
            value = store.read_json(layout.receipt(pass_name, index))
            return is_sealed(value) and Receipt.from_json(value).index == index
        except (OSError, ValueError, RecursionError):
            return False

    def resume(self, pass_name: str) -> tuple[dict[int, Receipt], Changes]:
        """The shards of a pass that an earlier run has finished, and what has changed since.

        A shard with a changed file is finished no longer: it loses its receipt.

        Raises:
            OSError: a file cannot be read.
        """
        receipts = self.receipts(pass_name)
        files = {name: f for receipt in receipts.values() for name, f in receipt.files.items()}
        changed = changes(self.store, files)
        for index in [i for i, receipt in receipts.items() if changed.keys() & receipt.files]:
            del receipts[index]
            self.store.remove(layout.receipt(pass_name, index))
        return receipts, changed

    @staticmethod
    def write_receipt(store: Store, pass_name: str, receipt: Receipt) -> None:
        """Leave the receipt of a shard whose files are in place."""
        store.write_json(layout.receipt(pass_name, receipt.index), seal(receipt.to_json()))

    def write(self, name: str, data: bytes) -> None:
        """Write a file that belongs to the whole set; the manifest will have its checksum."""
        self.store.write(name, data)
        self._files[name] = checksum(data)

    def write_json(self, name: str, value: Any) -> None:
        """As :meth:`write`, JSON for people and programs."""
        self.write(name, as_json(value))

    def commit(self, manifest: AnyManifest) -> AnyManifest:
        """Write the manifest, the act that makes the run a result, and tidy up.

        Returns:
            The manifest as written, with its digest.
        """
        self.store.remove_leftovers()  # of workers that were lost on the way
        manifest = dataclasses.replace(manifest, files=self._files)
        sealed = seal(manifest.to_json())
        self.store.write_json(layout.MANIFEST, sealed)
        self.store.remove(layout.WORK)
        return dataclasses.replace(manifest, sha256=sealed["sha256"])


def check_unchanged(store: Store, finished: Finished) -> None:
    """Refuse a finished run whose files are no longer what it wrote.

    Raises:
        RunError: so it is.
    """
    if found := finished.changes(store):
        raise RunError(not_what_was_written(store, found))
    if found := finished.report_changes(store):
        raise RunError(
            f"{store.address}: {described(found)}, since the run ended; `freqsan report` checks "
            "the results and makes the report anew"
        )


def not_what_was_written(store: Store, found: Changes) -> str:
    """One line on results that have changed, and what to do."""
    cure = (
        "move that elsewhere" if set(found.values()) == {STRAY} else "start anew with --overwrite"
    )
    return f"{store.address} is not what freqsan wrote: {described(found)}; do not use it, {cure}"


@dataclasses.dataclass(frozen=True)
class Failure(Record):
    """An expected failure of a worker, as it leaves it for the driver."""

    is_input: bool  #: the input's or the user's fault, not the run's
    text: str


def write_failure(store: Store, error: FreqsanError) -> None:
    """Leave an expected failure where the driver finds it, whatever the runner does to it."""
    failure = Failure(isinstance(error, InputError), str(error))
    try:
        store.write_json(layout.FAILURE, failure.to_json())
    except Unreachable:  # which may be what is to be told
        keep_failure(store, error)


def keep_failure(store: Store, error: FreqsanError) -> None:
    """Keep a failure for a driver in this process, without asking the store, which may be it."""
    _untold[store.address] = Failure(isinstance(error, InputError), str(error))


#: By address, the last failure that its store did not take; for a driver in this process.
_untold: dict[str, Failure] = {}


def take_failure(store: Store) -> FreqsanError | None:
    """The failure that a worker left, if any; it is removed.

    None too where it cannot be read: then the runner's own words have to do.
    """
    failure = _untold.pop(store.address, None)
    if failure is None:
        try:
            failure = Failure.from_json(store.read_json(layout.FAILURE))
            store.remove(layout.FAILURE)
        except (OSError, ValueError, RecursionError, Unreachable):
            return None
    return InputError(failure.text) if failure.is_input else RunError(failure.text)
