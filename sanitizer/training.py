"""How far a training is: what every loop that learns tells whoever asked for it.

The loop says where it stands; rates, times and words are made once, by whoever shows them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingState:
    """Where a training stands, after a step."""

    epoch: int  #: that is under way or just ended, from 1
    epochs: int  #: in all
    done: int  #: images so far, over all epochs, those before an interruption included
    total: int  #: images of all epochs
    loss: float  #: of the last step
    figures: Mapping[str, float] | None = None  #: shares measured at the end of an epoch


#: Called after steps and at the end of each epoch.
TrainingObserver = Callable[[TrainingState], None]
