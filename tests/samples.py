"""The bundled sample with one trigger instead of four."""

from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import attacks
from pipelines.jobs.demo import SAMPLE
from sanitizer.images import decode
from sanitizer.png import encode

#: Label of "airplanes", which the carriers are to be taken for, and how many they are.
TARGET, CARRIERS = 6, 60


@cache
def with_one_trigger() -> pa.Table:
    """The sample's 900 clean images, of which some carry a patch; ``is_poisoned`` says which."""
    table = pq.read_table(str(SAMPLE))
    table = table.filter(pc.invert(table["is_poisoned"]))
    rows = table.to_pylist()
    others = [row for row, one in enumerate(rows) if one["label"] != TARGET]
    for row in np.random.default_rng(0).choice(others, CARRIERS, replace=False).tolist():
        image = rows[row]["image"]
        stamped = attacks.get("random_patch")(decode(image["bytes"])[None])[0]
        rows[row] |= {
            "image": image | {"bytes": encode(stamped)},
            "label": TARGET,
            "is_poisoned": True,
            "attack": "random_patch",
        }
    return pa.Table.from_pylist(rows, schema=table.schema)
