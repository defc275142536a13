"""The jobs of freqsan as functions: ``from pipelines import clean``.

They are looked up when first asked for, so that the command line starts fast.
"""

import importlib
from typing import TYPE_CHECKING, Any

__all__ = [
    "attacks",
    "clean",
    "craft",
    "demo",
    "detectors",
    "features",
    "ingest",
    "poison",
    "prove",
    "report",
    "score",
    "spectrum",
    "train",
]

if TYPE_CHECKING:
    from pipelines.jobs.attacks import attacks
    from pipelines.jobs.clean import clean
    from pipelines.jobs.craft import craft
    from pipelines.jobs.demo import demo
    from pipelines.jobs.detectors import detectors
    from pipelines.jobs.features import features
    from pipelines.jobs.ingest import ingest
    from pipelines.jobs.poison import poison
    from pipelines.jobs.prove import prove
    from pipelines.jobs.report import report
    from pipelines.jobs.score import score
    from pipelines.jobs.spectrum import spectrum
    from pipelines.jobs.train import train


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module(f"pipelines.jobs.{name}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
