"""Two thousand damaged and forged images: each ends in one verdict, with a reason that is true."""

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.hostile_images import TRUE_OF, outcomes_of, problems, write
from benchmarks.mutations import READ, Mutant, mutants
from freqsan import clean

COUNT, SEED = 2_000, 20


@pytest.fixture(scope="module")
def attacked() -> dict[str, Mutant]:
    """The mutants by the names of their files."""
    return {mutant.name: mutant for mutant in mutants(COUNT, SEED)}


@pytest.fixture(scope="module")
def cleaned(attacked: dict[str, Mutant], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUTPUT of ``clean`` on all of them."""
    folder = tmp_path_factory.mktemp("attacked")
    write(attacked, folder / "in")
    clean(folder / "in", folder / "out", shard_rows=500, quiet=True, allow_unjudged=True)
    return folder / "out"


def test_each_image_has_one_verdict_and_a_reason_that_is_true(
    cleaned: Path, attacked: dict[str, Mutant]
) -> None:
    assert problems(cleaned, attacked) == []


def test_every_outcome_is_among_them(cleaned: Path, attacked: dict[str, Mutant]) -> None:
    """Else the mutations would miss what they are for."""
    outcomes = outcomes_of(cleaned, attacked)
    kinds = Counter(name.partition(" ")[2] for name in outcomes.elements())
    # A file that is too large is left to the benchmark.
    assert kinds.keys() - {"clean", "poisoned"} == TRUE_OF.keys() - {"file too large"}
    for suffix in READ:
        judged = outcomes[f"{suffix} clean"] + outcomes[f"{suffix} poisoned"]
        assert judged > COUNT // 100, suffix


def test_the_same_seed_gives_the_same_images(attacked: dict[str, Mutant]) -> None:
    few = list(mutants(3, SEED, start=COUNT - 3))
    assert few == list(attacked.values())[-3:]
