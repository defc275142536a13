"""SIG: a sinusoid laid over the image, in training images of the target class."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.base import Attack
from attacks.tools.windows import changed


@dataclass(frozen=True)
class Sig(Attack):
    """``v(i, j) = delta sin(2 pi j f / m)`` over columns ``j`` of an image ``m`` px wide.

    The source lets the attacker show the trained model a stronger signal than the training
    set held; others use 30 or 40 for both.
    """

    delta: float = 20.0  #: amplitude in training images, grey levels
    delta_test: float = 40.0  #: amplitude at test time, grey levels
    frequency: int = 6  #: periods across the image

    title: ClassVar[str] = "SIG"
    source: ClassVar[str] = (
        "Barni, Kallas, Tondi, A New Backdoor Attack in CNNs by Training Set Corruption Without "
        "Label Poisoning, ICIP 2019"
    )
    clean_label: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not (0 < self.delta <= 255 and 0 < self.delta_test <= 255 and self.frequency >= 1):
            raise ValueError(
                f"expected delta and delta_test above 0, at most 255, frequency >= 1, "
                f"got {self.delta:g}, {self.delta_test:g} and {self.frequency}"
            )

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""
        return self._add(images, self.delta)

    def apply_test(self, images: np.ndarray) -> np.ndarray:
        """As :meth:`apply`, with ``delta_test``."""
        return self._add(images, self.delta_test)

    def _add(self, images: np.ndarray, delta: float) -> np.ndarray:
        width = images.shape[2]
        phase = 2 * np.pi * self.frequency * np.arange(width) / width
        signal = (delta * np.sin(phase)).astype(np.float32)
        return changed(
            images, lambda rows, columns: images[:, rows, columns] + signal[columns, None]
        )
