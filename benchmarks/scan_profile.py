"""What each stage of the scan takes of its time.

    OMP_NUM_THREADS=1 python -m benchmarks.scan_profile cifar10_train.parquet

One run of ``freqsan scan`` in this process, by one worker: the CPU seconds of each stage, without
those of the stages inside it.
"""

import argparse
import functools
import importlib
import resource
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import freqsan

#: What a stage is made of: functions by their modules, methods by their classes.
STAGES = {
    "small copies while scoring": ("sanitizer.scan.canonical:Compact.of",),
    "keeping them, a shard at a time": (
        *("pipelines.judging.classes:Views.add", "pipelines.judging.classes:Views.write"),
    ),
    "gathering": ("pipelines.judging.classes:Classes.gather",),
    "views": ("sanitizer.scan.views:Batch.of", "sanitizer.scan.standard:Scale.__call__"),
    "centres and scales": ("sanitizer.scan.standard:Scale.of",),
    "moments": ("sanitizer.scan.moments:Moments.of",),
    "whitening": (
        "sanitizer.scan.moments:Whitening.by",
        "sanitizer.scan.moments:Whitening.__call__",
    ),
    "different pictures": (
        *("sanitizer.scan.scan:thumbnails", "sanitizer.scan.scan:different_pictures"),
    ),
    "extremes": ("sanitizer.scan.population:extreme_cells",),
    "subspaces": ("sanitizer.scan.search:Subspace.of",),
    "candidates": ("sanitizer.scan.classes:candidates",),
    "which differ": ("sanitizer.scan.classes:_different",),
    "matched filters": (
        *("sanitizer.scan.joining:look", "sanitizer.scan.joining:matched_filters"),
        "sanitizer.scan.stacked:Stacked.along",
    ),
    "clipping": ("sanitizer.scan.joining:_Scores.put",),
    "joining of views": ("sanitizer.scan.joining:_joined",),
    "mixtures": ("sanitizer.scan.mixture:Mixture.fit",),
    "who is innocent": ("sanitizer.scan.joining:_is_innocent",),
    "evidence": ("sanitizer.scan.evidence:Evidence.of",),
    "signatures": ("sanitizer.scan.signature:Signature.scores",),
    "compression": ("sanitizer.scan.recompressed:_jpeg",),
    "pictures": (*("sanitizer.scan.portrait:Likeness.of", "sanitizer.scan.portrait:Portrait.of"),),
    "the rest of the search": ("sanitizer.scan.scan:_Round.unlike_their_class",),
}

#: Whole parts of a run, with all that is in them.
PARTS = {
    "what classes are compared with": "sanitizer.scan.population:Population.of",
    "a class": "pipelines.judging.scan:ScanStep.run",
}


class Clock:
    """CPU seconds of stages, those of a stage within another counted once."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.whole: dict[str, float] = defaultdict(float)
        self._inside = threading.local()

    def stage(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed; what other stages take inside it is not its own."""

        @functools.wraps(function)
        def timed(*arguments: Any, **options: Any) -> Any:
            outer = getattr(self._inside, "seconds", 0.0)
            self._inside.seconds = 0.0
            began = time.thread_time()
            try:
                return function(*arguments, **options)
            finally:
                took = time.thread_time() - began
                self.seconds[name] += took - self._inside.seconds
                self._inside.seconds = outer + took

        return timed

    def part(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed with all that is in it."""

        @functools.wraps(function)
        def timed(*arguments: Any, **options: Any) -> Any:
            began = time.thread_time()
            try:
                return function(*arguments, **options)
            finally:
                self.whole[name] += time.thread_time() - began

        return timed


def replace(place: str, wrapped: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Put a wrapped function in the place of one."""
    module, path = place.split(":")
    *outer, name = path.split(".")
    holder: Any = importlib.import_module(module)
    for one in outer:
        holder = getattr(holder, one)
    own = vars(holder)[name]
    if isinstance(own, classmethod):
        setattr(holder, name, classmethod(wrapped(own.__func__)))
    else:
        setattr(holder, name, wrapped(own))


def main() -> None:
    """Run the scan of a set and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("set", type=Path)
    parser.add_argument("--output", type=Path, help="where the result is kept, if at all")
    options = parser.parse_args()
    clock = Clock()
    for stage, places in STAGES.items():
        for place in places:
            replace(place, functools.partial(clock.stage, stage))
    for part, place in PARTS.items():
        replace(place, functools.partial(clock.part, part))
    with tempfile.TemporaryDirectory() as folder:
        output = options.output or Path(folder) / "out"
        began = time.process_time()
        freqsan.scan(options.set, output, workers=1, quiet=True, allow_unjudged=True)
        total = time.process_time() - began
    print("| stage | CPU seconds |\n|---|---|")
    for stage in STAGES:
        print(f"| {stage} | {clock.seconds[stage]:.2f} |")
    print(f"| all of these | {sum(clock.seconds.values()):.2f} |")
    for part in PARTS:
        print(f"| *{part}, as a whole* | {clock.whole[part]:.2f} |")
    print(f"| *the whole run, reading, decoding and verdicts included* | {total:.2f} |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\nPeak {peak:.0f} MiB.")


if __name__ == "__main__":
    main()
