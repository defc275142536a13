"""The dataset card of an output, so that ``load_dataset(OUTPUT)`` gives just its splits."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from huggingface_hub import DatasetCardData


def write_card(
    output: Path,
    splits: Sequence[str],
    title: str,
    text: str,
    schema: pa.Schema,
    image_column: str,
) -> None:
    """Write ``README.md`` with one configuration whose splits are ``splits`` and no others.

    Args:
        splits: those with rows; without any, the card names none.
        schema: of the data files. Where the images are plain bytes, the card says that they
            are images: the metadata of the files cannot, as ``datasets`` takes only the
            struct form from there.
    """
    from huggingface_hub import DatasetCardData

    files = [{"split": split, "path": f"data/{split}-*.parquet"} for split in splits]
    data = DatasetCardData()
    if files:
        data["configs"] = [{"config_name": "default", "data_files": files}]
    if not pa.types.is_struct(schema.field(image_column).type):
        _tell_features(data, schema, image_column)
    card = f"---\n{data.to_yaml()}\n---\n# {title}\n\n{text}\n"
    (output / "README.md").write_text(card, encoding="utf-8")


def _tell_features(data: "DatasetCardData", schema: pa.Schema, image_column: str) -> None:
    from datasets import DatasetInfo, Features, Image  # a second, and rarely needed
    from datasets.info import DatasetInfosDict

    features = Features.from_arrow_schema(schema) | {image_column: Image()}
    infos = DatasetInfosDict({"default": DatasetInfo(features=Features(features))})
    infos.to_dataset_card_data(data)
