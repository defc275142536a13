"""The settings of each architecture, with their bounds; read and checked without torch."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from sanitizer.record import Record

#: Channels of a convolution, and units of a hidden layer.
Channels = Annotated[int, Meta(ge=1, le=512)]
Units = Annotated[int, Meta(ge=1, le=4096)]


@dataclass(frozen=True)
class NetworkSettings(Record):
    """Base of each architecture's settings."""

    architecture: str  #: a name in :data:`detector.architectures.ARCHITECTURES`


@dataclass(frozen=True)
class ExpertsSettings(NetworkSettings):
    """How wide the parts of :class:`detector.experts.Experts` are.

    Raises:
        ValueError: a setting out of range.
    """

    architecture: str = "experts"
    #: Channels of the local expert: two layers at half the resolution, two at a quarter.
    local: tuple[Channels, Channels, Channels, Channels] = (12, 16, 32, 32)
    local_units: Units = 64  #: of its last layer
    plane: tuple[Units, Units] = (192, 48)  #: units over the DCT of the whole tile
    block: tuple[Units, Units] = (64, 32)  #: units over that of its blocks
    hidden: Units = 64  #: units of the judge
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.2


@dataclass(frozen=True)
class TwoBranchSettings(NetworkSettings):
    """How wide a :class:`detector.two_branch.TwoBranch` is.

    Raises:
        ValueError: a setting out of range.
    """

    architecture: str = "two-branch"
    #: Channels over the plane of coefficients.
    plane: tuple[Channels, Channels, Channels] = (24, 32, 48)
    #: Channels over pixels and differences.
    space: tuple[Channels, Channels, Channels] = (40, 48, 64)
    #: Difference of neighbouring pixels that counts as half of the largest.
    contrast: float = 4.0
    hidden: Units = 96  #: units of the last hidden layer
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.2

    def __post_init__(self) -> None:
        if not 1e-3 <= self.contrast <= 1e6:  # beyond, scores would not be finite
            raise ValueError(f"contrast: expected 0.001 to 1,000,000, got {self.contrast}")
