"""The progress of a training, for people."""

import time
from collections.abc import Mapping
from types import MappingProxyType

from pipelines.runs.progress import Progress
from sanitizer.training import TrainingObserver, TrainingState

#: Lines on the ends of epochs that a training gets at most, spread evenly over them.
EPOCH_LINES = 10


def follow(
    what: str,
    *,
    unit: str = "images",
    quiet: bool,
    names: Mapping[str, str] = MappingProxyType({}),
) -> TrainingObserver:
    """An observer that shows how far a training is, its loss and its figures.

    Args:
        what: is being trained, such as ``"the quick victim"``.
        unit: what the training counts.
        quiet: show nothing.
        names: what figures are called for people, where that differs from their own name.
    """
    title = f"training {what}"
    progress = Progress(title, unit=unit, quiet=quiet)
    shown, figures, began = -1, "", time.monotonic()

    def show(state: TrainingState) -> None:
        nonlocal shown, figures
        if shown < 0:  # the first step is done; whole epochs before are an earlier run's
            shown = state.total * (state.epoch - 1) // state.epochs
            progress.start(total=state.total, done=shown, began=began)
        if state.figures is not None:
            figures = "".join(f", {names.get(k, k)} {v:.1%}" for k, v in state.figures.items())
        note = f"loss {state.loss:.3f}{figures}"
        progress.advance(state.done - shown, note)
        shown = state.done
        if state.figures is not None and _gets_line(state.epoch, state.epochs):
            progress.say(f"{title}: epoch {state.epoch} of {state.epochs}, {note}")
        if state.figures is not None and state.epoch == state.epochs:
            progress.finish()

    return show


def _gets_line(epoch: int, epochs: int) -> bool:
    """Whether one of the lines falls on the end of an epoch, from 1."""
    return EPOCH_LINES * epoch // epochs > EPOCH_LINES * (epoch - 1) // epochs
