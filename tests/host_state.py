"""What a program has set for its whole process, and that no library may change.

Run as a program, it calls the public functions of freqsan and prints what each has changed.
"""

import contextlib
import gc
import importlib
import io
import json
import locale
import logging
import multiprocessing
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import matplotlib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.stats  # noqa: F401  (its filters come with its import)
import torch
from PIL import Image, ImageFile
from threadpoolctl import threadpool_info

#: Libraries that, when they are imported, put filters for warnings of their own kind.
OWN_FILTERS = ("apache_beam", "botocore", "requests", "urllib3", "torch", "sympy")


def state() -> dict[str, Any]:
    """What is set, by name."""
    return {
        "torch threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "blas threads": [one["num_threads"] for one in threadpool_info()],
        "torch modes": (
            torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_default_dtype(),
            torch.get_float32_matmul_precision(),
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.allow_tf32,
        ),
        "torch chance": torch.get_rng_state().tolist(),
        "numpy chance": repr(np.random.get_state()),
        "python chance": random.getstate(),
        "numpy": (np.geterr(), repr(np.get_printoptions())),
        "loggers": loggers(),
        "logging": (
            logging.root.manager.disable,
            logging.lastResort,
            logging.getLoggerClass(),
            logging.getLogRecordFactory(),
        ),
        "pillow": (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, ImageFile.MAXBLOCK),
        "warnings": (warnings.showwarning, warnings.formatwarning, filters()),
        "environment": dict(os.environ),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "matplotlib": (
            matplotlib.get_backend(auto_select=False),
            {name: repr(value) for name, value in dict.items(matplotlib.rcParams)},
        ),
        "locale": locale.setlocale(locale.LC_ALL),
        "directory": Path.cwd(),
        "umask": umask(),
        "pandas": [pd.get_option(name) for name in ("display.width", "display.max_rows")],
        "datasets": (datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()),
        "start method": multiprocessing.get_start_method(allow_none=True),
        "arrow": (pa.cpu_count(), pa.io_thread_count(), pa.default_memory_pool().backend_name),
        "hooks": (sys.excepthook, sys.unraisablehook, threading.excepthook, sys.displayhook),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "path": list(sys.path),
        "arguments": list(sys.argv),
        "recursion": sys.getrecursionlimit(),
        "garbage": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()),
        "importers": list(sys.meta_path),
    }


def loggers() -> dict[str, Any]:
    """Loggers that somebody has set up, and the root; libraries give their own an empty handler."""
    named = logging.root.manager.loggerDict.items()
    known = {"root": logging.root} | {n: v for n, v in named if isinstance(v, logging.Logger)}
    settings = {
        name: (
            logger.level,
            logger.disabled,
            logger.filters[:],
            [repr(h) for h in logger.handlers if not isinstance(h, logging.NullHandler)],
        )
        for name, logger in known.items()
        if not name.startswith("torch.")  # its import sets up hundreds
    }
    return {name: value for name, value in settings.items() if value != (0, False, [], [])}


def filters() -> list[Any]:
    """Filters of warnings, but for those of a library's own kind, which come with its import."""
    return [
        entry
        for entry in warnings.filters
        if not entry[2].__module__.startswith(OWN_FILTERS) and not _speaks_of_a_library(entry)
    ]


def _speaks_of_a_library(entry: Any) -> bool:
    patterns = [getattr(pattern, "pattern", "") for pattern in (entry[1], entry[3])]
    return any(name in pattern for pattern in patterns for name in (*OWN_FILTERS, "SSLContext"))


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def make_small() -> None:
    """Trainings of a second."""
    from attacks.crafting import l2_inv
    from attacks.victims.settings import VICTIMS
    from detector.training import loop
    from pipelines.jobs import train

    tiny = replace(VICTIMS["quick"], widths=(4, 4, 8, 8), epochs=1, min_steps=0)
    VICTIMS["quick"] = tiny  # type: ignore[index]
    l2_inv.STEPS = 3
    train.MIN_HELD_OUT = 10
    settings = loop.TrainSettings
    loop.TrainSettings = partial(settings, pairs=128)  # type: ignore[assignment, misc]


def told(call: Callable[[], object]) -> object:
    """What a call returns that shows its progress, which goes nowhere."""
    with contextlib.redirect_stderr(io.StringIO()):
        return call()


def calls(images: str) -> dict[str, Callable[[], object]]:
    """A success and a failure of each public function."""
    import freqsan

    encoded = pq.read_table(images)["image"][0].as_py()["bytes"]
    quiet = {"quiet": True}
    attack = {"attack": "badnets", "quiet": True}
    return {
        "clean": lambda: freqsan.clean(images, "cleaned", shard_rows=150, workers=4, **quiet),
        "clean, wrong": lambda: freqsan.clean("missing", "wrong", **quiet),
        "score": lambda: freqsan.score(images, "scored", **quiet),
        "score, wrong": lambda: freqsan.score("missing", "wrong", **quiet),
        "ingest": lambda: freqsan.ingest(images, "ingested", **quiet),
        "ingest, wrong": lambda: freqsan.ingest("missing", "wrong", **quiet),
        "features": lambda: freqsan.features(images, "features", **quiet),
        "features, wrong": lambda: freqsan.features("missing", "wrong", **quiet),
        "poison": lambda: freqsan.poison(images, "poisoned", preview="preview.png", **attack),
        "poison, wrong": lambda: freqsan.poison("missing", "wrong", **attack),
        "prove": lambda: freqsan.prove(images, output="proof", max_clean_loss=0.1, **attack),
        "prove, wrong": lambda: freqsan.prove("missing", output="wrong", **attack),
        "train": lambda: freqsan.train(images, "mine", calibrate_on=images, epochs=1, **quiet),
        "train, wrong": lambda: freqsan.train("missing", "wrong", **quiet),
        "craft": lambda: freqsan.craft("l2_inv", images, "mine.safetensors", **quiet),
        "craft, wrong": lambda: freqsan.craft("l2_inv", "missing", "w.safetensors", **quiet),
        "spectrum": lambda: freqsan.spectrum(images, "spectrum.png", **quiet),
        "spectrum, with progress": lambda: told(partial(freqsan.spectrum, images, "told.png")),
        "spectrum, wrong": lambda: freqsan.spectrum("missing", "wrong.png", **quiet),
        "report": lambda: freqsan.report("cleaned"),
        "report, wrong": lambda: freqsan.report("missing"),
        "reject": lambda: freqsan.reject([encoded, b"broken"]),
        "reject, wrong": lambda: freqsan.reject(3),  # type: ignore[arg-type]
        "attacks": freqsan.attacks,
        "detectors": freqsan.detectors,
    }


def main(images: str) -> None:
    """Print, as JSON, what each call did and what it changed."""
    random.seed(1)
    torch.set_num_threads(3)  # not what freqsan would choose
    for name in ("requests", "botocore.session"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    make_small()
    for call, function in calls(images).items():
        before, outcome = state(), "done"
        try:
            function()
        except Exception as error:  # noqa: BLE001  (told)
            outcome = f"{type(error).__name__}: {error}"
        after = state()
        changed = {
            n: [repr(before[n])[:500], repr(after[n])[:500]]
            for n in before
            if before[n] != after[n]
        }
        print(json.dumps({"call": call, "outcome": outcome, "changed": changed}), flush=True)


if __name__ == "__main__":
    main(str(Path(sys.argv[1]).resolve()))
