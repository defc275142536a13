"""The dataset card of an output, so that ``load_dataset(OUTPUT)`` gives just its splits."""

from collections.abc import Sequence
from pathlib import Path

CARD = """---
configs:
- config_name: default
  data_files:
{data_files}
---
# {title}

{text}
"""


def write_card(output: Path, splits: Sequence[str], title: str, text: str) -> None:
    """Write ``README.md`` with one configuration whose splits are ``splits`` and no others."""
    data_files = "\n".join(
        f"  - split: {split}\n    path: data/{split}-*.parquet" for split in splits
    )
    card = CARD.format(data_files=data_files, title=title, text=text)
    (output / "README.md").write_text(card, encoding="utf-8")
