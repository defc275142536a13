"""What becomes of each sample of a set: which get the trigger, and what they are labelled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from attacks import Attack, Role, role_of
from pipelines.poisoning.encoding import Encoding
from pipelines.poisoning.labels import Label
from pipelines.sources.base import Source
from pipelines.sources.columns import ORIGINAL_LABEL, features, with_features
from sanitizer.errors import InputError

IS_POISONED, ATTACK = "is_poisoned", "attack"


def poisoned_schema(source: Source) -> pa.Schema:
    """The source's schema with the columns of ground truth.

    Raises:
        InputError: the source has a column of one of these names.
    """
    taken = [n for n in (IS_POISONED, ORIGINAL_LABEL, ATTACK) if n in source.schema.names]
    if taken:
        raise InputError(
            f"{source.location} already has a column {taken[0]!r}, as a set has that was poisoned "
            f"before; drop or rename {', '.join(taken)} first"
        )
    label = source.schema.field(source.label_column)
    added = {IS_POISONED: pa.bool_(), ORIGINAL_LABEL: label.type, ATTACK: pa.string()}
    schema = source.schema
    for name, kind in added.items():
        schema = schema.append(pa.field(name, kind))
    known = features(schema)
    infos = {
        IS_POISONED: {"dtype": "bool", "_type": "Value"},
        ORIGINAL_LABEL: known.get(label.name),
        ATTACK: {"dtype": "string", "_type": "Value"},
    }
    return with_features(schema, {name: info for name, info in infos.items() if info is not None})


@dataclass(frozen=True)
class Recipe:
    """How a set is poisoned: what becomes of each sample, by its id, label and pixels alone.

    A cover sample bears the trigger, or the attack's form of it for covers, under its true
    label: it is no poison, so ``is_poisoned`` is false, but ``attack`` names the attack.
    """

    name: str  #: of the attack
    attack: Attack
    rate: float  #: share of the eligible samples to poison
    seed: int  #: of the choice of samples
    labels: frozenset[Label]  #: of the set
    new_label: Mapping[Label, Label]  #: of a poisoned sample, by its label; of these only
    encoding: Encoding
    image_column: str
    label_column: str
    schema: pa.Schema  #: of what comes out

    @property
    def cover_rate(self) -> float:
        return self.rate * self.attack.cover_ratio

    def roles(self, ids: Sequence[str], labels: Sequence[Label | None]) -> dict[int, Role]:
        """POISON or COVER, by row; rows that are left alone are not in it."""
        roles = {}
        for row, (sample_id, label) in enumerate(zip(ids, labels, strict=True)):
            if label in self.new_label:
                role = role_of(sample_id, self.rate, self.cover_rate, self.seed)
                if role is not None:
                    roles[row] = role
        return roles
