"""The sets of a proof: what is given, and what of it is trained and tested on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.poisoning.labels import Labels, listed, no_labels, read_labels
from pipelines.poisoning.poison import poisoned_schema
from pipelines.proof.selection import Part, parts, select
from pipelines.runs.guards import check_apart
from pipelines.runs.job import Settings
from pipelines.runs.output import make_plan
from pipelines.sources.base import Source
from sanitizer.errors import InputError

#: Fewer images than this prove nothing.
MIN_IMAGES = 150


@dataclass(frozen=True)
class Selected:
    """Part of a set, copied to Parquet."""

    source: Source
    sizes: Sequence[Sequence[int]]  #: heights and widths among them; of several, two


@dataclass(frozen=True)
class Sets:
    """What a proof is given to train on, and to test on where that is another set."""

    source: Source
    test: Source | None
    rows: int  #: of ``source``
    settings: Settings  #: as the user chose

    @classmethod
    def open(
        cls, input: str | Path, test: str | Path | None, output: Path, settings: Settings
    ) -> "Sets":
        """Resolve both.

        Raises:
            InputError: unreadable, without labels, poisoned before, too few images, or
                OUTPUT within one of them.
        """
        source = settings.open(input)
        other = None if test is None else replace(settings, split=None).open(test)
        for name, one in (("INPUT", source), ("--test", other)):
            if one is not None:
                _check(one, f"{name} {one.location}", output)
        rows = _rows(source)
        if rows < MIN_IMAGES:
            raise InputError(
                f"{source.location} holds {rows:,} images, expected at least {MIN_IMAGES}"
            )
        return cls(source, other, rows, settings)

    def check_classes(self, labels: Labels) -> None:
        """See that labels mean the same in the set that is tested on.

        Args:
            labels: of ``source``.

        Raises:
            InputError: its classes are others, or it has labels that ``source`` has not.
        """
        if self.test is None:
            return
        other = read_labels(self.test, quiet=self.settings.quiet)
        if labels.names and other.names and labels.names != other.names:
            raise InputError(
                f"--test {self.test.location} has other classes than INPUT, "
                f"{_difference(labels.names, other.names)}; give sets with the same classes in "
                "the same order, or the same class folders in both (an empty one does not count)"
            )
        strange = [repr(label) for label in other.values if label not in labels.values]
        if strange:
            raise InputError(
                f"--test {self.test.location} has labels that INPUT has not: "
                f"{listed(strange)}; give a test set without them"
            )

    def described(self) -> dict[str, Any]:
        """Options of a proof: what tells the test set from another."""
        if self.test is None:
            return {"test": None}
        digest = make_plan("prove", self.test, {})["source_sha256"]
        return {"test": self.test.location, "test_sha256": digest}

    def within(self, source: Source) -> Settings:
        """Settings of the jobs that work on a part of ``source``."""
        return replace(
            self.settings,
            split=None,
            image_column=source.image_column,
            label_column=source.label_column,
            overwrite=False,
        )

    def select(self, folder: Path, max_train: int | None) -> tuple[Selected, Selected]:
        """Copy what is trained on to ``folder/train`` and what is tested on to ``folder/test``."""
        test = self.test or self.source
        test_rows = None if self.test is None else _rows(self.test)
        train_part, test_part = parts(self.rows, test_rows, max_train)
        return (
            self._selected(self.source, folder / "train", train_part, "selecting to train on"),
            self._selected(test, folder / "test", test_part, "selecting to test on"),
        )

    def _selected(self, source: Source, folder: Path, part: Part, what: str) -> Selected:
        settings = self.within(source)
        manifest = select(source, folder, part, what, settings)
        return Selected(settings.open(folder / "data"), manifest["sizes"])


def _check(source: Source, given: str, output: Path) -> None:
    check_apart(source.root, given, output)
    if source.label_column is None:
        raise no_labels(source, "a victim")
    poisoned_schema(source)


def _difference(names: Sequence[str], other: Sequence[str]) -> str:
    """How other class names differ."""
    missing = [repr(name) for name in names if name not in other]
    added = [repr(name) for name in other if name not in names]
    told = [f"without {listed(missing)}"] if missing else []
    told += [f"with {listed(added)} besides"] if added else []
    return " and ".join(told) or "in another order"


def _rows(source: Source) -> int:
    if source.rows is not None:
        return source.rows
    return sum(batch.num_rows for shard in source.shards for batch in shard.read())
