"""Scores and verdicts of the bundled detector do not change unnoticed.

``golden/verdicts.parquet`` holds, for rows of the bundled sample and of four real image sets,
what the detector said when it was released: 500 rows of each set from ``STARTS`` on, of
Imagenette 25.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from freqsan import score
from pipelines.jobs.demo import SAMPLE

GOLDEN = pq.read_table(Path(__file__).with_name("golden") / "verdicts.parquet")

#: The file of each set, and its first row that is compared.
STARTS = {
    "cifar10": ("cifar10_train.parquet", 49_000),
    "gtsrb": ("gtsrb_train.parquet", 38_000),
    "caltech101": ("caltech101_32.parquet", 0),
    "imagenette224": ("imagenette224.parquet", 3_900),
}


def check_against_golden(name: str, images: pa.Table, folder: Path) -> None:
    golden = GOLDEN.filter(pc.equal(GOLDEN["set"], name))
    pq.write_table(images.select(["image", "label"]).slice(0, len(golden)), folder / "set.parquet")
    score(folder / "set.parquet", folder / "out", policy="budget", quiet=True)
    now = pq.read_table(folder / "out" / "scores")
    assert now["verdict"].to_pylist() == golden["verdict"].to_pylist()
    assert now["reason"].to_pylist() == golden["reason"].to_pylist()
    for column in ("score", "p_value"):
        np.testing.assert_allclose(now[column].to_numpy(), golden[column].to_numpy(), atol=1e-5)


def test_the_bundled_sample_is_judged_as_before(tmp_path: Path) -> None:
    check_against_golden("sample", pq.read_table(str(SAMPLE)), tmp_path)


@pytest.mark.parametrize("name", STARTS)
def test_real_images_are_judged_as_before(name: str, data_dir: Path, tmp_path: Path) -> None:
    file, start = STARTS[name]
    check_against_golden(name, pq.read_table(data_dir / file).slice(start), tmp_path)
