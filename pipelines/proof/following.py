"""The progress of a victim's training, for people."""

from collections.abc import Callable

from attacks.victims.training import VictimProgress
from pipelines.runs.progress import Progress

#: Lines that are left of a training at most: where epochs are many, most are not told of.
LINES = 10

#: What the sets that are watched in training are called.
_NAMES = {"accuracy": "accuracy", "asr": "ASR"}


def follow(what: str, *, quiet: bool) -> Callable[[VictimProgress], None]:
    """A progress function for a training: loss, shares of the watched sets, and time left.

    Args:
        what: is being trained, such as ``"the quick victim"``.
    """
    progress = Progress(f"training {what}", quiet=quiet)
    seen, shares = 0, ""

    def show(state: VictimProgress) -> None:
        nonlocal seen, shares
        if seen == 0:
            progress.start(total=state.total)
        if state.shares is not None:
            shares = "".join(f", {_NAMES[name]} {v:.1%}" for name, v in state.shares.items())
        progress.advance(state.done - seen, note=f"loss {state.loss:.2f}{shares}")
        seen = state.done
        parts = LINES * state.epoch // state.epochs, LINES * (state.epoch - 1) // state.epochs
        if state.shares is not None and parts[0] > parts[1]:
            progress.say(
                f"training {what}: epoch {state.epoch} of {state.epochs}, "
                f"loss {state.loss:.2f}{shares}, about {state.seconds_left:,.0f} s left"
            )
        if seen == state.total and state.shares is not None:
            progress.finish()

    return show
