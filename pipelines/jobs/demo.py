"""``demo``: the main job on a bundled sample of real images, nothing to download."""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipelines.jobs.clean import clean

#: 1,000 real images, some with a trigger; see pipelines/sample/README.md.
SAMPLE = resources.files("pipelines") / "sample" / "caltech101_random_patch.parquet"


@dataclass(frozen=True)
class Truth:
    """How the verdicts compare with what is known of the sample."""

    triggers: int  #: images that carry the trigger
    found: int  #: of them, removed
    innocent: int  #: images without it
    lost: int  #: of them, removed


def demo(output: str | Path = "freqsan-demo", **settings: Any) -> tuple[dict[str, Any], Truth]:
    """Clean the bundled sample; returns the manifest and the comparison with the truth."""
    manifest = clean(str(SAMPLE), output, **settings)
    rows = {
        split: [
            value
            for file in sorted(Path(output, "data").glob(f"{split}-*.parquet"))
            for value in pq.read_table(file, columns=["is_poisoned"])["is_poisoned"].to_pylist()
        ]
        for split in ("clean", "poisoned")
    }
    found, missed = sum(rows["poisoned"]), sum(rows["clean"])
    innocent = sum(map(len, rows.values())) - found - missed
    truth = Truth(found + missed, found, innocent, len(rows["poisoned"]) - found)
    return manifest, truth
