"""The dataset card of an output, so that ``load_dataset(OUTPUT)`` gives just its splits."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines.runs.output import Receipt

if TYPE_CHECKING:
    from huggingface_hub import DatasetCardData


def write_card(
    output: Path,
    receipts: Sequence[Receipt],
    splits: Sequence[str],
    title: str,
    text: str,
    schema: pa.Schema,
    image_column: str,
) -> None:
    """Write ``README.md`` with one configuration whose splits are ``splits`` and no others.

    ``datasets`` caches what it has read under the last name of the folder and a hash of the
    card's head, whatever the files hold. So the head tells their digest: else a second run into
    the same folder, or into another of that name, would be read as the first.

    Args:
        receipts: of all shards, with the digests of their files.
        splits: those with rows; without any, the card names none.
        schema: of the data files. Where the images are plain bytes, the card says that they
            are images: the metadata of the files cannot, as ``datasets`` takes only the
            struct form from there.
    """
    from huggingface_hub import DatasetCardData

    files = [{"split": split, "path": f"data/{split}-*.parquet"} for split in splits]
    data = DatasetCardData()
    if files:
        told = f"freqsan {_digest(receipts)}"
        data["configs"] = [{"config_name": "default", "data_files": files, "description": told}]
    if not pa.types.is_struct(schema.field(image_column).type):
        _tell_features(data, schema, image_column)
    card = f"---\n{data.to_yaml()}\n---\n# {title}\n\n{text}\n"
    (output / "README.md").write_text(card, encoding="utf-8")


def _digest(receipts: Sequence[Receipt]) -> str:
    """Of the data files, their names and contents."""
    lines = [f"{name} {told['sha256']}" for r in receipts for name, told in sorted(r.files.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _tell_features(data: "DatasetCardData", schema: pa.Schema, image_column: str) -> None:
    from datasets import DatasetInfo, Features, Image  # a second, and rarely needed
    from datasets.info import DatasetInfosDict

    features = Features.from_arrow_schema(schema) | {image_column: Image()}
    infos = DatasetInfosDict({"default": DatasetInfo(features=Features(features))})
    infos.to_dataset_card_data(data)
