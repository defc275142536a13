"""Where a training run stands."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class TrainProgress:
    """Where a run stands, given to the progress callback."""

    epoch: int  #: that is running, from 1
    epochs: int
    images: int  #: seen so far in this process, clean and manipulated
    loss: float  #: mean of the epoch so far
    images_per_second: float
    seconds_left: float
    held_out: dict[str, float] | None  #: figures at the end of an epoch, else None


class Reporter:
    """Turns steps into calls of the progress callback."""

    def __init__(
        self,
        epochs: int,
        epoch_images: int,
        done: int,
        callback: Callable[[TrainProgress], None] | None,
    ):
        self.epochs, self.callback = epochs, callback
        self.total = (epochs - done) * epoch_images
        self.started = self.last = time.monotonic()
        self.images = 0
        self.losses: list[float] = []

    def step(self, epoch: int, loss: float, images: int) -> None:
        self.images += images
        self.losses.append(loss)
        if time.monotonic() - self.last > 2:
            self._tell(epoch, None)

    def epoch_end(self, epoch: int, figures: dict[str, float]) -> None:
        self._tell(epoch, figures)
        self.losses = []

    def _tell(self, epoch: int, figures: dict[str, float] | None) -> None:
        self.last = time.monotonic()
        rate = self.images / max(1e-9, self.last - self.started)
        if self.callback is not None:
            left = (self.total - self.images) / max(1e-9, rate)
            loss = sum(self.losses) / len(self.losses)
            self.callback(
                TrainProgress(epoch + 1, self.epochs, self.images, loss, rate, left, figures)
            )
