"""Two thousand damaged and forged images: each ends in one verdict, with a reason that is true."""

import io
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from outputs import table_of
from PIL import Image

from benchmarks.mutations import READ, Mutant, mutants
from freqsan import clean
from pipelines.jobs.clean import CleanManifest
from sanitizer.images import FORMATS, MAX_PIXELS

#: Pillow warns of much that is wrong with them.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")

COUNT, SEED = 2_000, 20

#: Longer and shorter side, in pixels, between which images are judged.
LONGEST, SHORTEST = 160, 8


@pytest.fixture(scope="module")
def attacked() -> dict[str, Mutant]:
    """The mutants by the names of their files."""
    return {mutant.name: mutant for mutant in mutants(COUNT, SEED)}


@pytest.fixture(scope="module")
def run(
    attacked: dict[str, Mutant], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, CleanManifest]:
    """Where the cleaned set is, and its manifest."""
    folder = tmp_path_factory.mktemp("attacked")
    for name, mutant in attacked.items():
        (folder / name).write_bytes(mutant.data)
    output = tmp_path_factory.mktemp("out") / "cleaned"
    return output, clean(folder, output, shard_rows=500, quiet=True)


@pytest.fixture(scope="module")
def verdicts(run: tuple[Path, CleanManifest]) -> dict[str, dict[str, Any]]:
    """The score rows, by id."""
    return {row["sample_id"]: row for row in table_of(run[0], "scores/part").to_pylist()}


def test_each_has_one_verdict_and_is_where_that_says(
    run: tuple[Path, CleanManifest], attacked: dict[str, Mutant], verdicts: dict[str, Any]
) -> None:
    output, manifest = run
    assert verdicts.keys() == attacked.keys()
    assert manifest.counts.read == COUNT
    found: Counter[str] = Counter()
    for verdict, prefix in (
        ("clean", "data/clean"),
        ("poisoned", "data/poisoned"),
        ("rejected", "rejected/part"),
    ):
        for row in table_of(output, prefix).to_pylist():
            assert verdicts[row["sample_id"]]["verdict"] == verdict
            data = row["bytes"] if verdict == "rejected" else row["image"]["bytes"]
            assert data == attacked[row["sample_id"]].data
            found[row["sample_id"]] += 1
    assert found == Counter(dict.fromkeys(attacked, 1))


def test_each_reason_is_true(attacked: dict[str, Mutant], verdicts: dict[str, Any]) -> None:
    for name, mutant in attacked.items():
        row = verdicts[name]
        if row["verdict"] == "rejected":
            kind = row["reason"].partition(":")[0]
            assert kind in is_true, f"{name}: {row['reason']}"
            assert is_true[kind](mutant.data), f"{name}: {row['reason']}"
            assert row["score"] is None
        else:
            with opened(mutant.data) as image:
                image.load()  # what is judged can be trained on
                assert (row["width"], row["height"]) == image.size, name
                assert max(image.size) <= LONGEST, name
                assert min(image.size) >= SHORTEST, name


def test_every_outcome_is_among_them(attacked: dict[str, Mutant], verdicts: dict[str, Any]) -> None:
    """Else the mutations would miss what they are for."""
    kinds = {v["reason"].partition(":")[0] for v in verdicts.values() if v["verdict"] == "rejected"}
    assert kinds == is_true.keys()
    judged = Counter(attacked[n].suffix for n, v in verdicts.items() if v["verdict"] != "rejected")
    assert all(judged[suffix] > COUNT // 100 for suffix in READ)


def opened(data: bytes) -> Image.Image:
    """As Pillow sees it by itself."""
    return Image.open(io.BytesIO(data))


def is_undecodable(data: bytes) -> bool:
    """Pillow alone does not get to the end of it either."""
    try:
        with opened(data) as image:
            for frame in range(getattr(image, "n_frames", 1)):
                image.seek(frame)
                image.load()
            image.convert("RGB")
    except Exception:  # plugins raise nearly anything
        return True
    return False


def is_of_another_format(data: bytes) -> bool:
    """Pillow, with all that it can read, takes it for something else or for nothing."""
    try:
        with opened(data) as image:
            return image.format not in (*FORMATS, "MPO")
    except Exception:
        return True


def is_animated(data: bytes) -> bool:
    with opened(data) as image:
        return image.n_frames > 1


def has_too_many_pixels(data: bytes) -> bool:
    try:
        with opened(data) as image:
            return image.width * image.height > MAX_PIXELS
    except Image.DecompressionBombError:
        return True


def is_too_large(data: bytes) -> bool:
    with opened(data) as image:
        return max(image.size) > LONGEST


def is_too_small(data: bytes) -> bool:
    with opened(data) as image:
        return min(image.size) < SHORTEST


#: What must hold of an image that is rejected for a reason.
is_true = {
    "no bytes": lambda data: data == b"",
    "unsupported format": is_of_another_format,
    "truncated or corrupt": is_undecodable,
    "animated": is_animated,
    "too many pixels": has_too_many_pixels,
    "too large to judge": is_too_large,
    "too small to judge": is_too_small,
}
