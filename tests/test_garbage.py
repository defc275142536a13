"""The garbage collector while a program is loaded; that a guest's is left alone is elsewhere."""

import subprocess
import sys

import pytest

CODE = """
import gc
from sanitizer.garbage import loading, own_process
{own}
before = gc.get_freeze_count()
try:
    with loading():
        meanwhile = gc.isenabled()
        if {fails}:
            raise ImportError
except ImportError:
    pass
print(meanwhile, gc.isenabled(), gc.get_freeze_count() > before)
"""


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(
    ("own", "words"), [("own_process()", "False True True"), ("", "True True False")]
)
def test_only_in_a_process_of_ours_loading_is_not_searched(
    own: str, words: str, fails: bool
) -> None:
    code = CODE.format(own=own, fails=fails)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == words
