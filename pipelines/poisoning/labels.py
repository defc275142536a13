"""The labels of a set: what there is, in order, and which one a user means."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from attacks import Attack
from pipelines.runs.progress import Progress
from pipelines.sources.base import Source
from pipelines.sources.columns import LABEL_NAMES
from sanitizer.errors import InputError, shortened

Label = int | str

#: Labels that a message lists.
_LISTED = 8


@dataclass(frozen=True)
class Labels:
    """All labels of a set, ascending, and their names where the set names its classes."""

    values: tuple[Label, ...]
    names: tuple[str, ...] | None = None

    def find(self, given: Label) -> Label:
        """The label that is meant by a label, the text of one, or the name of a class.

        Raises:
            InputError: it is not among the labels, some of which are listed.
        """
        if self.names and given in self.names:
            return self.names.index(str(given))
        by_text = {str(value): value for value in self.values}
        if str(given) in by_text:
            return by_text[str(given)]
        known = listed([self.described(value) for value in self.values])
        raise InputError(f"no label {given!r} in the set; its labels are {known}")

    def described(self, label: Label) -> str:
        """A label in words, such as ``3 (cat)``."""
        named = f"{label} ({self.names[int(label)]})" if self.names else str(label)
        return shortened(named, 80)


def listed(labels: Sequence[str]) -> str:
    """The first of some labels in a row, and how many more there are."""
    more = len(labels) - _LISTED
    first = ", ".join(shortened(label, 80) for label in labels[:_LISTED])
    return f"{first}{f' and {more:,} more' if more > 0 else ''}"


@dataclass(frozen=True)
class Aim:
    """Which labels the poisoned samples get.

    Raises:
        InputError: settings that contradict each other.
    """

    target_label: Label | None
    clean_label: bool  #: only samples of the target class are poisoned, and keep their label
    all_to_all: bool  #: every label becomes the next one, the last the first

    def __post_init__(self) -> None:
        if self.all_to_all and self.target_label is not None:
            raise InputError(
                "all-to-all poison has a target for every label; leave out --target-label or "
                "--all-to-all"
            )
        if self.all_to_all and self.clean_label:
            raise InputError(
                "clean-label poison keeps its labels, so it cannot be all-to-all; give "
                "--dirty-label or leave out --all-to-all"
            )

    def target(self, labels: Labels, attack: Attack) -> Label | None:
        """The target label; None where each label has its own.

        Raises:
            InputError: it is not among the labels.
        """
        if self.all_to_all:
            if len(labels.values) == 1:
                raise InputError("all-to-all poison needs at least two labels, the set has one")
            return None
        if self.target_label is not None:
            return labels.find(self.target_label)
        if attack.own_target is not None:
            try:
                return labels.find(attack.own_target)
            except InputError as error:
                raise InputError(
                    f"the trigger's own target: {error}; give --target-label"
                ) from error
        return labels.values[0]

    def new_labels(self, labels: Labels, target: Label | None) -> dict[Label, Label]:
        """The label of a poisoned sample, by the one it has; these may be poisoned."""
        if target is None:
            return dict(zip(labels.values, labels.values[1:] + labels.values[:1], strict=True))
        return dict.fromkeys((target,) if self.clean_label else labels.values, target)


def read_labels(source: Source, *, quiet: bool = False) -> Labels:
    """The labels of a set; from its class names where it has them, else all are read.

    Raises:
        InputError: the set has no label column, or one of another type than whole numbers
            or text; no row has a label; unreadable input.
    """
    if source.label_column is None:
        raise no_labels(source, "an attack")
    kind = source.schema.field(source.label_column).type
    value_type = kind.value_type if pa.types.is_dictionary(kind) else kind
    numbers = pa.types.is_integer(value_type)
    if not (numbers or pa.types.is_string(value_type) or pa.types.is_large_string(value_type)):
        raise InputError(
            f"the labels in column {source.label_column} are {kind}, expected whole numbers or "
            "text; choose --label-column"
        )
    if source.class_names and numbers:
        return Labels(tuple(range(len(source.class_names))), source.class_names)
    progress = Progress("reading the labels", quiet=quiet)
    progress.start(total=source.rows)
    distinct: set[Label] = set()
    for labels in source.labels():
        distinct.update(pc.unique(labels).to_pylist())
        progress.advance(len(labels))
    progress.finish()
    distinct.discard(None)
    if not distinct:
        raise InputError(f"{source.location}: every label in {source.label_column} is null")
    return Labels(tuple(sorted(distinct)))


def no_labels(source: Source, who: str) -> InputError:
    """That a set lacks the labels which ``who`` needs; a column that might be meant is named."""
    likely = [name for name in LABEL_NAMES if name in source.schema.names]
    if likely:
        return InputError(
            f"{source.location}: the column {likely[0]} is {source.schema.field(likely[0]).type}, "
            f"but {who} needs labels that are whole numbers or text; name their column with "
            "--label-column"
        )
    return InputError(
        f"{source.location} has no labels, which {who} needs; name their column with "
        "--label-column, or give a folder with a sub-folder for each class"
    )
