"""The settings of each architecture, with their bounds; read and checked without torch."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from sanitizer.record import Record

#: Channels of a convolution, and units of a hidden layer.
Channels = Annotated[int, Meta(ge=1, le=512)]
Units = Annotated[int, Meta(ge=1, le=4096)]

#: Grey levels at which a difference between neighbours counts as large: 1 in the maps of experts.
LARGE_DIFFERENCE = 10.0

#: Differences of so many grey levels and more are not flat: exactly, and as a codec leaves it.
FLATNESS = (1.0, 3.0)

#: Side of a block of JPEG's DCT in pixels.
BLOCK = 8


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
