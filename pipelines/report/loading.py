"""Great Expectations, loaded in a process that is there for it alone.

It imports all that any of its expectations and data sources might want, which takes twice as
long as the rest of it. What our suites never touch is therefore loaded when it is first used, by
Python's own means: nothing is left out, and an expectation that needs it gets it.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType

from sanitizer.garbage import loading

#: What it imports and our suites do without: drawings, Amazon's clients, JSON schemas, and tests
#: of distributions.
SELDOM_USED = ("altair", "boto3", "jsonschema", "scipy.stats")


def load_great_expectations() -> None:
    """Import it; what is left for later stays so, so this is not for the process of a user."""
    with loading(), loaded_when_used(SELDOM_USED):
        import great_expectations.expectations  # noqa: F401


@contextmanager
def loaded_when_used(names: Sequence[str]) -> Iterator[None]:
    """Meanwhile an import of these modules runs nothing; their first use does.

    Args:
        names: in full; those that are not installed, or loaded already, are left alone.
    """
    finder = _LoadedWhenUsed(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _LoadedWhenUsed(MetaPathFinder):
    def __init__(self, names: Sequence[str]):
        self._names = frozenset(names)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self._names:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec
