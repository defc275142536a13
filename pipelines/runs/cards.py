"""The dataset card of an output, so that ``load_dataset(OUTPUT)`` gives just its splits."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines.runs import layout
from pipelines.runs.layout import ShardedFile
from pipelines.runs.manifest import ShardFacts
from pipelines.runs.output import Output
from pipelines.sources.base import Source
from pipelines.sources.columns import IMAGE_TYPE

if TYPE_CHECKING:
    from huggingface_hub import DatasetCardData


def write_card(
    output: Output,
    shards: Sequence[ShardFacts],
    splits: Mapping[str, ShardedFile],
    title: str,
    text: str,
    source: Source,
    schema: pa.Schema | None = None,
) -> None:
    """Write ``README.md`` with one configuration whose splits are ``splits`` and no others.

    ``datasets`` caches what it has read under the last name of the folder and a hash of the
    card's head, whatever the files hold. So the head holds their digest: else a second run into
    the same folder, or into another of that name, would be read as the first.

    The files of the splits are listed one by one: a pattern would also take in what somebody
    else has put beside them.

    Args:
        output: where the card and the files are.
        shards: all of them, with the digests of their files.
        splits: those with rows, by name; without any, the card names none.
        source: the input. Where its images are not of ``IMAGE_TYPE``, the card says that they
            are images: the metadata of the files cannot, as ``datasets`` believes it only there.
        schema: of the data files, where it is not that of the input.
    """
    schema = source.schema if schema is None else schema
    output.write(layout.CARD, card(shards, splits, title, text, schema, source.image_column))


def card(
    shards: Sequence[ShardFacts],
    splits: Mapping[str, ShardedFile],
    title: str,
    text: str,
    schema: pa.Schema,
    image_column: str,
) -> bytes:
    """The dataset card, as :func:`write_card` writes it."""
    from huggingface_hub import DatasetCardData

    total = len(shards)
    files = [
        {"split": split, "path": [file.name(shard.index, total) for shard in shards]}
        for split, file in splits.items()
    ]
    data = DatasetCardData()
    if files:
        described = f"freqsan {_digest(shards)}"
        config = {"config_name": "default", "data_files": files, "description": described}
        data["configs"] = [config]
    if schema.field(image_column).type != IMAGE_TYPE:
        _add_features(data, schema, image_column)
    return f"---\n{data.to_yaml()}\n---\n# {title}\n\n{text}\n".encode()


def _digest(shards: Iterable[ShardFacts]) -> str:
    """Of the data files, their names and contents."""
    lines = [f"{name} {facts.sha256}" for s in shards for name, facts in sorted(s.files.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _add_features(data: "DatasetCardData", schema: pa.Schema, image_column: str) -> None:
    from datasets import DatasetInfo, Features, Image  # a second, and rarely needed
    from datasets.info import DatasetInfosDict

    try:
        features = Features.from_arrow_schema(schema) | {image_column: Image()}
    except (ValueError, TypeError, NotImplementedError):
        return  # ``datasets`` cannot read such columns, whatever the card says
    infos = DatasetInfosDict({"default": DatasetInfo(features=Features(features))})
    infos.to_dataset_card_data(data)
