"""What an attacker does to a record batch: choose, trigger, encode and relabel."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

from attacks import Role
from pipelines.poisoning.encoding import Encoding
from pipelines.poisoning.facts import PoisonCounts, PoisonTally
from pipelines.poisoning.labels import Label
from pipelines.poisoning.recipe import ATTACK, IS_POISONED, Recipe
from pipelines.sources.columns import ORIGINAL_LABEL, SAMPLE_ID, encoded_images
from sanitizer.errors import InputError
from sanitizer.images import Header, ImageError, decode

#: Decoded bytes that wait for one call of the attack; bounds its memory.
PIXEL_BYTES = 8 << 20


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
    """A record batch with ground truth, and what was done to its rows."""

    batch: pa.RecordBatch  #: of :attr:`Recipe.schema`
    tally: PoisonTally


def poison_batch(
    recipe: Recipe, batch: pa.RecordBatch, unread: Mapping[int, ImageError] = MappingProxyType({})
) -> PoisonedBatch:
    """Trigger the chosen images of a batch; all other columns and rows stay bit for bit.

    A chosen image that cannot be decoded stays as it is, with its label.

    Args:
        recipe: what is done.
        batch: of the input's columns.
        unread: by row, why its image could not be read.

    Raises:
        InputError: a chosen image is too small for the trigger, or cannot be encoded.
    """
    ids, labels = (_column(batch, name).to_pylist() for name in (SAMPLE_ID, recipe.label_column))
    roles = recipe.roles(ids, labels)
    undecodable: Counter[str] = Counter()
    encoded: dict[int, bytes] = {}
    for group in _groups(_decoded(batch, recipe, roles, unread, undecodable)):
        encoded |= _triggered(recipe, group, ids)
    poisoned = {row for row in encoded if roles[row] is Role.POISON}
    counts = PoisonCounts(
        read=len(ids),
        eligible=sum(label in recipe.new_label for label in labels),
        poisoned=len(poisoned),
        covers=len(encoded) - len(poisoned),
        unlabelled=sum(label not in recipe.labels for label in labels),
        undecodable=undecodable.total(),
    )
    relabelled = {row: recipe.new_label[labels[row]] for row in poisoned}
    return PoisonedBatch(
        _with_truth(batch, recipe, encoded, relabelled), PoisonTally(counts, dict(undecodable))
    )


def _with_truth(
    batch: pa.RecordBatch, recipe: Recipe, encoded: dict[int, bytes], labels: dict[int, Label]
) -> pa.RecordBatch:
    """The batch with these images and, where they are poison, labels by row; and the truth."""
    rows = range(batch.num_rows)
    images, original = (_column(batch, name) for name in (recipe.image_column, recipe.label_column))
    columns = dict(zip(batch.schema.names, batch.columns, strict=True)) | {
        recipe.image_column: with_images(images, encoded),
        recipe.label_column: _replaced(original, labels),
        IS_POISONED: pa.array([row in labels for row in rows]),
        ORIGINAL_LABEL: original,
        ATTACK: pa.array([recipe.name if row in encoded else None for row in rows], pa.string()),
    }
    return pa.RecordBatch.from_arrays(
        [columns[f.name] for f in recipe.schema], schema=recipe.schema
    )


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    return batch.column(batch.schema.get_field_index(name))


def _decoded(
    batch: pa.RecordBatch,
    recipe: Recipe,
    roles: dict[int, Role],
    unread: Mapping[int, ImageError],
    failed: Counter[str],
) -> Iterator[_Chosen]:
    """The chosen images that can be decoded; the others are counted in ``failed``."""
    rows = batch.select([recipe.image_column]).take(pa.array(list(roles), pa.int64()))
    for (row, role), data in zip(
        roles.items(), encoded_images(rows, recipe.image_column), strict=True
    ):
        if row in unread:
            failed[unread[row].kind] += 1
            continue
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
    for image in chosen:
        waiting[image.role, image.pixels.shape].append(image)
        weight += image.pixels.nbytes
        if weight >= PIXEL_BYTES:
            yield from waiting.values()
            waiting.clear()
            weight = 0
    yield from waiting.values()


def _triggered(recipe: Recipe, group: list[_Chosen], ids: list[str]) -> dict[int, bytes]:
    """Encoded images with the trigger, by row."""
    height, width, _ = group[0].pixels.shape
    needed = recipe.attack.min_side
    if min(height, width) < needed:
        raise InputError(
            f"{ids[group[0].row]} is {width}x{height} px, too small for {recipe.name}, which needs "
            f"sides of at least {needed} px; choose another attack, or leave small images out"
        )
    try:
        triggered = recipe.attack(np.stack([image.pixels for image in group]), group[0].role)
    except ValueError as error:
        raise InputError(f"{recipe.name}: {error}") from error
    return {
        image.row: _encoded(recipe.encoding, pixels, image, ids[image.row])
        for image, pixels in zip(group, triggered, strict=True)
    }


def _encoded(encoding: Encoding, pixels: np.ndarray, chosen: _Chosen, sample_id: str) -> bytes:
    try:
        return encoding.encode(pixels, chosen.data, chosen.format)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{sample_id}: cannot be encoded ({error}); choose another --encode"
        ) from error


def with_images(column: pa.Array, encoded: dict[int, bytes]) -> pa.Array:
    """An image column with the bytes of some rows replaced."""
    if not encoded or not pa.types.is_struct(column.type):
        return _replaced(column, encoded)
    children = column.flatten()
    index = column.type.get_field_index("bytes")
    children[index] = _replaced(children[index], encoded)
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
