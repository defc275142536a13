"""The triggers of the benchmark that draws them by lot."""

import numpy as np
import pytest

from benchmarks.random_triggers import FAMILIES, Row, tell
from sanitizer.resizing import resize


def photographs(n: int) -> np.ndarray:
    coarse = np.random.default_rng(0).integers(30, 226, (n, 8, 8, 3), np.uint8)
    return np.stack([resize(one, (32, 32)) for one in coarse])


@pytest.mark.parametrize("name", FAMILIES)
def test_a_trigger_changes_all_images_and_follows_from_its_seed(name: str) -> None:
    images = photographs(6)
    triggered, again = (
        FAMILIES[name](np.random.default_rng(3), images[0])(images[1:]) for _ in range(2)
    )
    assert (triggered.shape, triggered.dtype) == ((5, 32, 32, 3), np.uint8)
    assert (triggered != images[1:]).any((1, 2, 3)).all()
    np.testing.assert_array_equal(triggered, again)


def test_the_table_counts_what_was_found_and_lost(capsys: pytest.CaptureFixture[str]) -> None:
    whole = Row("gtsrb_train", 6, "frame", 3, 400, 100, 95, 2, ["ABSENT"])
    missed = Row("gtsrb_train", 25, "frame", 4, 400, 100, 5, 0, [])
    tell([whole, missed])
    assert "| frame | 1 of 2, 50, 0.25 |" in capsys.readouterr().out
