"""The networks that a detector may have: one entry for each, by its name.

An entry is a class of settings, each with its bounds, and a function that builds the network.
torch comes with the building only: settings are read and checked without it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from detector.settings import ExpertsSettings, NetworkSettings
from sanitizer.record import check_keys

if TYPE_CHECKING:
    from detector.network import Network


@dataclass(frozen=True)
class Architecture:
    """One kind of network."""

    settings: type[NetworkSettings]
    #: From settings of that class and the side of the square images; weights are fresh.
    build: Callable[[Any, int], "Network"]


def _experts(settings: ExpertsSettings, side: int) -> "Network":
    from detector.experts import Experts

    return Experts(settings, side)


ARCHITECTURES = {
    "experts": Architecture(ExpertsSettings, _experts),
}


def settings_of(stored: Mapping[str, Any]) -> NetworkSettings:
    """The settings in a detector's card.

    Raises:
        ValueError: an unknown architecture, a setting that it does not have, or a value that
            is out of range or of another type.

    >>> settings_of({"architecture": "experts", "hidden": 10**9})
    Traceback (most recent call last):
    msgspec.ValidationError: Expected `int` <= 4096 - at `$.hidden`
    """
    settings = _named(stored.get("architecture")).settings
    check_keys(settings, stored, "the network")
    return settings.from_json(stored)


def build(settings: NetworkSettings, side: int) -> "Network":
    """A network with fresh weights, for (n, 3, side, side) pixels.

    Raises:
        ValueError: an unknown architecture.
    """
    return _named(settings.architecture).build(settings, side)


def _named(name: Any) -> Architecture:
    architecture = ARCHITECTURES.get(name) if isinstance(name, str) else None
    if architecture is None:
        raise ValueError(f"unknown architecture {name!r:.80}, known: {', '.join(ARCHITECTURES)}")
    return architecture
