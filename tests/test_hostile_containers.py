"""Two hundred damaged and forged containers: each run ends, as it should or in one line."""

from collections import Counter

import pytest
from containers import KINDS, attack

COUNT, SEED = 200, 0


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_each_container_ends_in_a_finished_run_or_in_one_line() -> None:
    attacks = attack(COUNT, SEED)
    assert [one for one in attacks if not one.ending.expected] == []
    assert Counter(one.kind for one in attacks) == dict.fromkeys(KINDS, COUNT // len(KINDS))
    endings = {(one.kind, one.ending.kind) for one in attacks}
    assert len(endings) == 2 * len(KINDS)  # of each kind some are read and some refused
