"""LIRA: a faint pattern for each image, by a generator trained together with a classifier."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.tools.convolution import Autoencoder
from attacks.tools.optimised import OptimisedAttack
from attacks.tools.provenance import Provenance
from sanitizer.record import Record

#: The source's 0.1, as it trains on CIFAR-10: in deviations of its pixels, 63 of 255.
STRENGTH = 6.3


@dataclass(frozen=True, kw_only=True)
class LiraBudget(Record):
    """How the generator is trained; in brackets what the source does."""

    target_label: int = 0
    max_images: int = 5_000  #: chosen by the seed [all]
    epochs: int = 6  #: after each the classifier meets the new generator [50]
    batch: int = 128
    generator_rate: float = 1e-3  #: of Adam [1e-4]
    classifier_rate: float = 1e-2  #: of SGD with momentum [1e-2]
    alpha: float = 0.5  #: weight of clean images in the classifier's loss
    diversity: float = 1.0  #: weight of Input-aware's diversity loss in the generator's [none]
    widths: tuple[int, int, int] = (12, 24, 40)  #: channels at full, half and quarter size


@dataclass(frozen=True, kw_only=True)
class LiraProvenance(LiraBudget, Provenance):
    """How the generator was trained, and what the classifier beside it learned."""

    strength: float  #: largest change of a pixel, of 255
    classifier_attack_success: float  #: share of images with the trigger that get the target
    classifier_accuracy: float  #: share of clean images that keep their label

    @property
    def target(self) -> int | None:
        """The label that the generator was trained towards."""
        return self.target_label


@dataclass(frozen=True)
class Lira(OptimisedAttack):
    """``x + strength * tanh(T(x))`` with a generator ``T``.

    The source goes on to train its classifier as the victim; here a set is poisoned with the
    finished generator, for any victim.
    """

    strength: float = STRENGTH  #: largest change of a pixel, of 255

    title: ClassVar[str] = "LIRA"
    source: ClassVar[str] = (
        "Doan, Lao, Zhao, Li, LIRA: Learnable, Imperceptible and Robust Backdoor Attacks, "
        "ICCV 2021; a smaller generator, trained here, with the diversity loss of Nguyen, Tran, "
        "Input-Aware Dynamic Backdoor Attack, NeurIPS 2020"
    )
    provenance_kind: ClassVar[type[Provenance]] = LiraProvenance

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.strength <= 255:
            raise ValueError(f"strength: expected 1 to 255, got {self.strength:g}")

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""
        generator = Autoencoder.of(self.artefact, skips=False)
        return generator.applied(
            images,
            lambda image, rows, columns: image[rows, columns] / 255 - 0.5,
            lambda pixels, pattern: pixels + self.strength * np.tanh(pattern),
        )
