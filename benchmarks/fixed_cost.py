"""What a run of ``freqsan clean`` costs before it has seen an image, by stage.

    python -m benchmarks.fixed_cost cifar10_train.parquet
    python -m benchmarks.fixed_cost cifar10_train.parquet --images 50000 --rounds 3

The command cleans the first images of the set, several times, each time as a process of its own;
medians count. What it would import on its way it imports first, to have a stage of its own. The
CPU seconds of a stage are those of all threads of the command; those of the validation's process,
which works beside it, are rows of their own: a process that imports the same and ends tells how
many of them are its start. Machines that are busy elsewhere take more of both seconds.
"""

import argparse
import contextlib
import functools
import importlib
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

#: Of the first process: ``time.time()`` when it was started.
STARTED = "FREQSAN_BENCHMARK_STARTED"

#: A process that gets as far as the validation's own before there is an order.
IMPORTS_OF_VALIDATION = """\
from sanitizer.garbage import loading, own_process
own_process()
with loading():
    from pipelines.report.loading import load_great_expectations
    from pipelines.report.validation import answer_one_order
load_great_expectations()
"""

START, IMPORTS, DETECTOR, WAIT, REPORT, REST = (
    *("start of Python", "imports", "detector and calibration", "waiting for the validation"),
    *("report", "all else"),
)

VALIDATION_START, VALIDATION = "validation's process: start, imports", "validation's process: work"

TOTAL = "**in all**"


class Stages:
    """CPU and wall seconds by stage, of this process."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        cpu, wall = time.process_time(), time.perf_counter()
        try:
            yield
        finally:
            self.taken[name][0] += time.process_time() - cpu
            self.taken[name][1] += time.perf_counter() - wall

    def watch(self, owner: Any, name: str, stage: str | Callable[..., str]) -> None:
        """Have every call of a function of a class or a module counted.

        Args:
            stage: its name, or what tells it from the arguments of a call.
        """
        function = getattr(owner, name)

        @functools.wraps(function)
        def watched(*args: Any, **kwargs: Any) -> Any:
            with self.stage(stage if isinstance(stage, str) else stage(*args)):
                return function(*args, **kwargs)

        setattr(owner, name, watched)


def clean_once(source: str, output: str, figures: Path) -> None:
    """The command, in this process; its stages go to a file as JSON."""
    stages = Stages()
    wall = time.time() - float(os.environ[STARTED])
    stages.taken[START] = [time.process_time(), wall]
    with stages.stage(IMPORTS):
        import freqsan
        from sanitizer.garbage import loading, own_process

        own_process()
        with loading():
            importlib.import_module("pipelines.cli")
            importlib.import_module("pipelines.jobs.clean")
            from pipelines.judging import judging, scan, score, split
            from pipelines.report import page, validation
            from pipelines.runs import chain
    stages.watch(judging, "load_detector", DETECTOR)
    stages.watch(judging, "calibrate", DETECTOR)
    stages.watch(chain, "run_pass", lambda each, *_: each.name)
    for each in (score.ScorePass, scan.ScanPass, split.VerdictPass):
        stages.watch(each, "merge", f"{each.name}, merge")
    stages.watch(validation.Validator, "validate", WAIT)
    stages.watch(page, "write_pages", REPORT)
    sys.argv = ["freqsan", "clean", source, output, "--quiet"]
    with contextlib.suppress(SystemExit):
        freqsan.main()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    stages.taken[VALIDATION][0] = children.ru_utime + children.ru_stime
    figures.write_text(json.dumps(stages.taken), encoding="utf-8")


def round_of(images: str) -> dict[str, tuple[float, float]]:
    """CPU and wall seconds of one run, by stage."""
    from benchmarks.throughput import measure  # and NumPy, which the command imports by itself

    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder, "figures.json")
        os.environ[STARTED] = repr(time.time())
        command = [sys.executable, "-m", "benchmarks.fixed_cost", images, "--once"]
        whole = measure([*command, f"{folder}/out", str(figures)])
        taken = {name: (cpu, wall) for name, (cpu, wall) in json.loads(figures.read_text()).items()}
    start = measure([sys.executable, "-c", IMPORTS_OF_VALIDATION])
    in_child = taken.pop(VALIDATION)[0]
    rest = [whole.cpu - in_child, whole.wall]
    for cpu, wall in taken.values():
        rest = [rest[0] - cpu, rest[1] - wall]
    taken[REST] = (rest[0], rest[1])
    taken[VALIDATION_START] = (start.cpu, float("nan"))
    taken[VALIDATION] = (in_child - start.cpu, float("nan"))
    taken[TOTAL] = (whole.cpu, whole.wall)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", help="a Parquet file of images")
    parser.add_argument("--images", type=int, default=100, help="how many of them are cleaned")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--once", nargs=2, metavar=("OUTPUT", "FIGURES"), help="clean once")
    options = parser.parse_args()
    if options.once:
        clean_once(options.source, options.once[0], Path(options.once[1]))
        return
    import pyarrow.parquet as pq

    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        images = str(Path(folder, "images.parquet"))
        pq.write_table(pq.read_table(options.source).slice(0, options.images), images)
        for number in range(-1, options.rounds):  # one to warm up
            taken = round_of(images)
            if number >= 0:
                rounds.append(taken)
                cpu, wall = taken[TOTAL]
                words = f"round {number + 1}: {wall:.2f} s, CPU {cpu:.2f} s"
                print(words, file=sys.stderr, flush=True)
    print("| stage | CPU s | wall s |\n|---|---|---|")
    for name in rounds[0]:
        cpu, wall = (statistics.median(one[name][i] for one in rounds) for i in (0, 1))
        print(f"| {name} | {cpu:.2f} | {'' if wall != wall else f'{wall:.2f}'} |")


if __name__ == "__main__":
    main()
