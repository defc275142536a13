"""Other Python processes that run our code: where they look for it.

Never in the working directory, which may be the data's: what lies there must not be executed.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Where our packages are.
HOME = str(Path(__file__).resolve().parents[2])


def module_path() -> list[str]:
    """``sys.path`` for another process: this one's, without the working directory."""
    path = [str(entry) for entry in map(Path, sys.path) if not _follows_us(entry)]
    return path if HOME in path else [HOME, *path]


def _follows_us(entry: Path) -> bool:
    """Whether an entry is the working directory, or what is meant depends on it."""
    return not entry.is_absolute() or (entry.exists() and entry.samefile(os.curdir))


@contextmanager
def safe_environment() -> Iterator[None]:
    """For as long as it lasts, ``python -m`` of any library looks where we do."""
    ours = {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(module_path())}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
