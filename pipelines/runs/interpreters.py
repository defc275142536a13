"""Where Python looks for modules while our code runs, here and in other processes.

Never in the working directory, which may be the data's: what lies there must not be executed.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

#: Where our packages are.
HOME = str(Path(__file__).resolve().parents[2])


def module_path() -> list[str]:
    """``sys.path`` without the working directory, and with our packages."""
    path = [str(entry) for entry in map(Path, sys.path) if not _follows_us(entry)]
    return path if HOME in path else [HOME, *path]


#: Its arguments are a module, the name of a function there, how many arguments that takes, these,
#: and ``sys.path``.
_PROGRAM = """\
import sys
module, name, count, *rest = sys.argv[1:]
sys.path[:] = rest[int(count):]
from importlib import import_module
from sanitizer.garbage import loading, own_process
own_process()
with loading():
    function = getattr(import_module(module), name)
function(*rest[:int(count)])
"""


def command(function: Callable[..., None], *arguments: str) -> list[str]:
    """The command of a process of our own that calls a function of a module.

    Nothing that a stranger may have written has a part in it: it is isolated from the working
    directory and from Python's variables.
    """
    called = (function.__module__, function.__name__, str(len(arguments)), *arguments)
    utf8 = f"utf8={sys.flags.utf8_mode}"
    return [sys.executable, "-I", "-X", utf8, "-c", _PROGRAM, *called, *module_path()]


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


@contextmanager
def safe_imports() -> Iterator[None]:
    """For as long as it lasts, imports, also late ones of libraries, keep to :func:`module_path`.

    What others add to ``sys.path`` meanwhile stays, at its end.
    """
    before, ours = sys.path[:], module_path()
    sys.path[:] = ours
    try:
        yield
    finally:
        sys.path[:] = [*before, *(entry for entry in sys.path if entry not in ours)]
