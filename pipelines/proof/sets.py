"""The sets of a proof: what is given, and what of it is trained and tested on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from pipelines.poisoning.labels import Labels, listed, no_labels, read_labels
from pipelines.poisoning.recipe import poisoned_schema
from pipelines.proof.selection import HashRange, select, train_and_test
from pipelines.runs.guards import check_apart
from pipelines.runs.job import Settings
from pipelines.runs.store import Store
from pipelines.sources.base import Source
from sanitizer.errors import InputError

#: Fewer images than this prove nothing.
MIN_IMAGES = 150


@dataclass(frozen=True)
class Selected:
    """Some rows of a set, copied to Parquet."""

    source: Source
    sizes: Sequence[tuple[int, int]]  #: heights and widths among them; of several, two


@dataclass(frozen=True)
class TestFacts:
    """The set that a proof tests on, where it is another one; else None."""

    test: str | None  #: as the user gave it
    test_sha256: str | None  #: of its files


@dataclass(frozen=True)
class Sets:
    """What a proof is given to train on, and to test on where that is another set."""

    source: Source
    test: Source | None
    rows: int  #: of ``source``
    settings: Settings  #: as the user chose

    @classmethod
    def open(
        cls, input: str | Path, test: str | Path | None, store: Store, settings: Settings
    ) -> Self:
        """Resolve both.

        Raises:
            InputError: unreadable, without labels, poisoned before, too few images, or
                OUTPUT within one of them.
        """
        source = settings.open(input)
        other = None if test is None else replace(settings, split=None).open(test, "--test")
        for name, given in (("INPUT", source), ("--test", other)):
            if given is not None:
                _check(given, f"{name} {given.location}", store)
        rows = _count_rows(source)
        if rows < MIN_IMAGES:
            raise InputError(
                f"{source.location} holds {rows:,} images, expected at least {MIN_IMAGES}"
            )
        return cls(source, other, rows, settings)

    def labels(self) -> Labels:
        """The labels of ``source``, which mean the same in the set that is tested on.

        Raises:
            InputError: there is a single class; the classes of the set that is tested on are
                others, or it has labels that ``source`` has not.
        """
        labels = read_labels(self.source, quiet=self.settings.quiet)
        if self.test is not None:
            self._check_classes(labels, self.test)
        if len(labels.values) < 2:
            raise InputError(f"{self.source.location} has a single class, expected two or more")
        return labels

    def _check_classes(self, labels: Labels, test: Source) -> None:
        other = read_labels(test, quiet=self.settings.quiet)
        if labels.names and other.names and labels.names != other.names:
            raise InputError(
                f"--test {test.location} has other classes than INPUT, "
                f"{_difference(labels.names, other.names)}; give sets with the same classes in "
                "the same order, or the same class folders in both (an empty one does not count)"
            )
        strange = [repr(label) for label in other.values if label not in labels.values]
        if strange:
            raise InputError(
                f"--test {test.location} has labels that INPUT has not: "
                f"{listed(strange)}; give a test set without them"
            )

    def test_facts(self) -> "TestFacts":
        """What tells the set that is tested on from another."""
        if self.test is None:
            return TestFacts(None, None)
        return TestFacts(self.test.location, self.test.digest())

    def within(self, source: Source) -> Settings:
        """Settings of the jobs that work on some rows of ``source``."""
        return replace(
            self.settings,
            split=None,
            image_column=source.image_column,
            label_column=source.label_column,
            overwrite=False,
        )

    def select(self, store: Store, max_train: int | None) -> tuple[Selected, Selected]:
        """Copy what is trained on to ``train/`` and what is tested on to ``test/``."""
        test_rows = None if self.test is None else _count_rows(self.test)
        train, test = train_and_test(self.rows, test_rows, max_train)
        return (
            self._select(self.source, store.within("train"), train, "selecting to train on"),
            self._select(
                self.test or self.source, store.within("test"), test, "selecting to test on"
            ),
        )

    def _select(self, source: Source, store: Store, rows: HashRange, doing: str) -> Selected:
        settings = self.within(source)
        selection = select(source, store, rows, doing, settings)
        return Selected(settings.open(store.locate("data")), selection.sizes)


def _check(source: Source, given: str, store: Store) -> None:
    """Refuse a set that OUTPUT is not apart from, that has no labels, or was poisoned before."""
    check_apart(source.root, given, source.location, store)
    if source.label_column is None:
        raise no_labels(source, "a victim")
    poisoned_schema(source)


def _difference(names: Sequence[str], other: Sequence[str]) -> str:
    """How other class names differ."""
    missing = [repr(name) for name in names if name not in other]
    added = [repr(name) for name in other if name not in names]
    differences = [f"without {listed(missing)}"] if missing else []
    differences += [f"with {listed(added)} besides"] if added else []
    return " and ".join(differences) or "in another order"


def _count_rows(source: Source) -> int:
    if source.rows is not None:
        return source.rows
    return sum(map(len, source.samples()))
