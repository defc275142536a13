"""The card of a detector: what is known of it, beside its weights and calibration scores."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Self

from msgspec import Meta

from detector.architectures import settings_of
from detector.combination import Combination
from detector.inputs import Tiles
from detector.settings import NetworkSettings
from sanitizer.record import Record, check_keys

#: Characters of a detector's name at most.
LONGEST_NAME = 100


@dataclass(frozen=True)
class TrainingSet(Record):
    """Images that a detector was trained on."""

    name: str
    part: str = ""  #: which of its images; empty: all
    terms: str = ""  #: on which they may be used; empty: not stated


@dataclass(frozen=True)
class MeasuredRow(Record):
    """How one attack on one image set fared; shares by accepted clean loss, as text."""

    data: str  #: image set
    history: str  #: how its images were encoded
    attack: str
    images: int  #: clean ones, and as many poisoned
    fpr: dict[str, float]  #: share of the clean images that were flagged
    bdr: dict[str, float]  #: share of the poisoned images that were flagged
    auroc: float | None  #: None of clean sets


@dataclass(frozen=True)
class Measured(Record):
    """Figures of a benchmark."""

    seed: int = 0
    rows: tuple[MeasuredRow, ...] = ()


@dataclass(frozen=True)
class Card(Record):
    """The contents of ``detector.json`` without the calibration.

    Raises:
        ValueError: a network that does not exist or is too large, or a name that does not fit
            on a line.
    """

    name: str  #: such as "freqsan-small"
    network: dict[str, Any]  #: "architecture" and its settings
    temperature: Annotated[float, Meta(gt=0, le=1e9)]  #: logits are divided by it
    inputs: Tiles
    #: How the parts of an image add up, by size; where there is none the worst part speaks.
    combinations: tuple[Combination, ...] = ()
    multiply_adds: int = 0  #: of one part; 0: not counted
    training: dict[str, Any] = field(default_factory=dict)  #: settings of the training
    #: Share of held-out manipulations found, by image set.
    held_out_detection_at_1_percent_clean_loss: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)  #: of what it was trained with
    training_data: tuple[TrainingSet, ...] = ()
    calibration_data: str = ""  #: in words
    licence: str = "not stated"  #: of the training data
    pool_views: int = 0  #: views that training drew from
    blind_spots: tuple[str, ...] = ()  #: what it does not find, in plain words
    measured: Measured = field(default_factory=Measured)
    weights_sha256: str = ""  #: of the file of weights that it belongs to; empty: not stated

    def __post_init__(self) -> None:
        if not self.name.isprintable() or not 1 <= len(self.name) <= LONGEST_NAME:
            raise ValueError(f"name: expected one line of text, got {self.name!r:.80}")
        settings_of(self.network)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """As :meth:`Record.from_json`; a misspelt setting of the inputs is not passed over."""
        card = super().from_json(value)
        check_keys(Tiles, value["inputs"], "the inputs")
        return card

    @property
    def settings(self) -> NetworkSettings:
        """The settings of the network."""
        return settings_of(self.network)
