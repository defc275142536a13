"""What a manifest of ``clean`` can tell beside its own fields: what is in its OUTPUT now."""

import copy
from abc import abstractmethod
from typing import TYPE_CHECKING, Self

from pipelines.results.rows import Rows
from pipelines.runs import layout
from pipelines.runs.store import Store
from sanitizer.errors import InputError
from sanitizer.record import Record
from sanitizer.records import CLEAN, POISONED, REJECTED

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class InOutput(Record):
    """Adds to a manifest the images of its OUTPUT, by verdict, and how a notebook shows it.

    Where OUTPUT is is no field, as this is no dataclass: so it is not written as JSON, and two
    manifests that say the same are equal.
    """

    _store: Store | None = None

    def placed(self, store: Store) -> Self:
        """The same manifest, of the run in this OUTPUT."""
        placed = copy.copy(self)
        object.__setattr__(placed, "_store", store)  # a manifest is frozen
        return placed

    @property
    def clean(self) -> Rows:
        """The images that passed."""
        return Rows(self._place(), CLEAN)

    @property
    def poisoned(self) -> Rows:
        """The images that were removed."""
        return Rows(self._place(), POISONED)

    @property
    def rejected(self) -> Rows:
        """The images that could not be judged."""
        return Rows(self._place(), REJECTED)

    def show(self, n: int = 12) -> "Figure":
        """A figure of ``n`` removed images, drawn evenly, with the reason of each.

        Raises:
            InputError: OUTPUT no longer holds the run; ``n`` is below 1.
        """
        return self.poisoned.show(n)

    def _repr_html_(self) -> str | None:
        """What a notebook shows: the run as OUTPUT tells it now."""
        if self._store is None:
            return None  # it was read from a file: its fields are shown
        try:
            now, gone = type(self).from_json(self._store.read_json(layout.MANIFEST)), ""
        except (OSError, ValueError) as error:
            now, gone = self, f"OUTPUT no longer holds this run ({error})"
        return now._card(self._store.address, gone)

    @abstractmethod
    def _card(self, address: str, gone: str) -> str:
        """The card of the run in the OUTPUT at an address, and why that is gone, if it is."""

    def _place(self) -> Store:
        if self._store is None:
            raise InputError(
                "this manifest does not know its OUTPUT; clean(...) returns one that does"
            )
        return self._store
