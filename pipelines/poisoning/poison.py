"""What an attacker does to a record batch: choose, trigger, encode and relabel."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from attacks import Attack, Role, role_of
from pipelines.poisoning.encoding import Encoding
from pipelines.poisoning.labels import Label
from pipelines.sources.base import Source
from pipelines.sources.columns import (
    ORIGINAL_LABEL,
    SAMPLE_ID,
    encoded_images,
    features,
    with_features,
)
from sanitizer.errors import InputError
from sanitizer.images import Header, ImageError, decode

IS_POISONED, ATTACK = "is_poisoned", "attack"

#: Decoded bytes that wait for one call of the attack; bounds its memory.
PIXEL_BYTES = 8 << 20


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
    told = {
        IS_POISONED: {"dtype": "bool", "_type": "Value"},
        ORIGINAL_LABEL: known.get(label.name),
        ATTACK: {"dtype": "string", "_type": "Value"},
    }
    return with_features(schema, {name: told[name] for name in told if told[name] is not None})


@dataclass(frozen=True)
class Poisoning:
    """What becomes of each sample, by its id, its label and its pixels alone.

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
        found = {}
        for row, (sample_id, label) in enumerate(zip(ids, labels, strict=True)):
            if label in self.new_label:
                role = role_of(sample_id, self.rate, self.cover_rate, self.seed)
                if role is not None:
                    found[row] = role
        return found


@dataclass(frozen=True)
class _Chosen:
    """An image that gets the trigger."""

    row: int  #: in its batch
    role: Role
    data: bytes  #: as it came
    format: str  #: one of ``sanitizer.images.FORMATS``
    pixels: np.ndarray  #: (height, width, 3) uint8


@dataclass(frozen=True)
class PoisonedBatch:
    """A record batch with ground truth, and how many of its rows are what."""

    batch: pa.RecordBatch
    #: ``read``, ``eligible``, ``poisoned``, ``covers``, ``unlabelled``, ``undecodable``
    counts: Counter[str]
    undecodable: Counter[str]  #: chosen images that had to be left alone, by the reason's kind


def poison_batch(plan: Poisoning, batch: pa.RecordBatch) -> PoisonedBatch:
    """Trigger the chosen images of a batch; all other columns and rows stay bit for bit.

    A chosen image that cannot be decoded stays as it is, with its label.

    Raises:
        InputError: a chosen image is too small for the trigger, or cannot be encoded.
    """
    ids, labels = (_column(batch, name).to_pylist() for name in (SAMPLE_ID, plan.label_column))
    roles = plan.roles(ids, labels)
    undecodable: Counter[str] = Counter()
    encoded: dict[int, bytes] = {}
    for group in _groups(_decoded(batch, plan, roles, undecodable)):
        encoded |= _triggered(plan, group, ids)
    poisoned = {row for row in encoded if roles[row] is Role.POISON}
    counts = Counter(
        read=len(ids),
        eligible=sum(label in plan.new_label for label in labels),
        poisoned=len(poisoned),
        covers=len(encoded) - len(poisoned),
        unlabelled=sum(label not in plan.labels for label in labels),
        undecodable=undecodable.total(),
    )
    relabelled = {row: plan.new_label[labels[row]] for row in poisoned}
    return PoisonedBatch(_with_truth(batch, plan, encoded, relabelled), counts, undecodable)


def _with_truth(
    batch: pa.RecordBatch, plan: Poisoning, encoded: dict[int, bytes], labels: dict[int, Label]
) -> pa.RecordBatch:
    """The batch with these images and, where they are poison, labels by row; and the truth."""
    rows = range(batch.num_rows)
    images, original = (_column(batch, name) for name in (plan.image_column, plan.label_column))
    columns = dict(zip(batch.schema.names, batch.columns, strict=True)) | {
        plan.image_column: _with_images(images, encoded),
        plan.label_column: _replaced(original, labels),
        IS_POISONED: pa.array([row in labels for row in rows]),
        ORIGINAL_LABEL: original,
        ATTACK: pa.array([plan.name if row in encoded else None for row in rows], pa.string()),
    }
    return pa.RecordBatch.from_arrays([columns[f.name] for f in plan.schema], schema=plan.schema)


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    return batch.column(batch.schema.get_field_index(name))


def _decoded(
    batch: pa.RecordBatch, plan: Poisoning, roles: dict[int, Role], failed: Counter[str]
) -> Iterator[_Chosen]:
    """The chosen images that can be decoded; the others are counted in ``failed``."""
    rows = batch.select([plan.image_column]).take(pa.array(list(roles), pa.int64()))
    for (row, role), data in zip(
        roles.items(), encoded_images(rows, plan.image_column), strict=True
    ):
        headers: list[Header] = []
        try:
            pixels = decode(data, headers.append)
        except ImageError as error:
            failed[error.kind] += 1
            continue
        yield _Chosen(row, role, data or b"", headers[0].format, pixels)


def _groups(chosen: Iterator[_Chosen]) -> Iterator[list[_Chosen]]:
    """Images of one role and size, so many at once as memory allows."""
    waiting: dict[tuple[Role, tuple[int, ...]], list[_Chosen]] = defaultdict(list)
    weight = 0
    for one in chosen:
        waiting[one.role, one.pixels.shape].append(one)
        weight += one.pixels.nbytes
        if weight >= PIXEL_BYTES:
            yield from waiting.values()
            waiting.clear()
            weight = 0
    yield from waiting.values()


def _triggered(plan: Poisoning, group: list[_Chosen], ids: list[str]) -> dict[int, bytes]:
    """Encoded images with the trigger, by row."""
    height, width, _ = group[0].pixels.shape
    needed = plan.attack.min_side
    if min(height, width) < needed:
        raise InputError(
            f"{ids[group[0].row]} is {width}x{height} px, too small for {plan.name}, which needs "
            f"sides of at least {needed} px; choose another attack, or leave small images out"
        )
    try:
        images = plan.attack(np.stack([one.pixels for one in group]), group[0].role)
    except ValueError as error:
        raise InputError(f"{plan.name}: {error}") from error
    return {
        one.row: _encoded(plan.encoding, pixels, one, ids[one.row])
        for one, pixels in zip(group, images, strict=True)
    }


def _encoded(encoding: Encoding, pixels: np.ndarray, one: _Chosen, sample_id: str) -> bytes:
    try:
        return encoding.encode(pixels, one.data, one.format)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{sample_id}: cannot be encoded ({error}); choose another --encode"
        ) from error


def _with_images(column: pa.Array, encoded: dict[int, bytes]) -> pa.Array:
    """An image column with the bytes of some rows replaced."""
    if not encoded or not pa.types.is_struct(column.type):
        return _replaced(column, encoded)
    children = column.flatten()
    place = column.type.get_field_index("bytes")
    children[place] = _replaced(children[place], encoded)
    nulls = column.is_null() if column.null_count else None
    return pa.StructArray.from_arrays(children, fields=list(column.type), mask=nulls)


def _replaced(column: pa.Array, values: Mapping[int, Any]) -> pa.Array:
    """A column with the values of some rows replaced."""
    if not values:
        return column
    rows = sorted(values)
    new = pa.array([values[row] for row in rows], column.type)
    order = np.arange(len(column))
    order[rows] = len(column) + np.arange(len(rows))
    both = pa.chunked_array([column, new]).unify_dictionaries()
    return both.take(pa.array(order)).combine_chunks()
