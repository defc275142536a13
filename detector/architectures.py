"""The networks that a detector may have: one entry for each, by its name.

An entry is a class of settings, each with its bounds, and the network twice: as torch trains it,
and as a graph that is scored without torch. torch comes with the former only.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from detector.settings import ExpertsSettings, NetworkSettings
from sanitizer.record import check_keys

if TYPE_CHECKING:
    from detector.network import Network
    from detector.weights import TensorForm


@dataclass(frozen=True)
class Architecture:
    """One kind of network."""

    settings: type[NetworkSettings]
    #: From settings of that class and the side of the square images; weights are fresh.
    build: Callable[[Any, int], "Network"]
    #: From the same: the tensors that it keeps, by name.
    forms: Callable[[Any, int], dict[str, "TensorForm"]]
    #: From such tensors, the side, and how many images are scored together: an ONNX graph.
    graph: Callable[[Mapping[str, np.ndarray], int, int], bytes]


def _experts(settings: ExpertsSettings, side: int) -> "Network":
    from detector.experts import Experts

    return Experts(settings, side)


def _experts_forms(settings: ExpertsSettings, side: int) -> dict[str, "TensorForm"]:
    from detector.experts_graph import forms

    return forms(settings, side)


def _experts_graph(tensors: Mapping[str, np.ndarray], side: int, images: int) -> bytes:
    from detector.experts_graph import graph

    return graph(tensors, side, images)


ARCHITECTURES = {
    "experts": Architecture(ExpertsSettings, _experts, _experts_forms, _experts_graph),
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
    settings = architecture(stored.get("architecture")).settings
    check_keys(settings, stored, "the network")
    return settings.from_json(stored)


def build(settings: NetworkSettings, side: int) -> "Network":
    """A network with fresh weights, for (n, 3, side, side) pixels.

    Raises:
        ValueError: an unknown architecture.
    """
    return architecture(settings.architecture).build(settings, side)


def architecture(name: Any) -> Architecture:
    """The architecture of a name.

    Raises:
        ValueError: there is none.
    """
    found = ARCHITECTURES.get(name) if isinstance(name, str) else None
    if found is None:
        raise ValueError(f"unknown architecture {name!r:.80}, known: {', '.join(ARCHITECTURES)}")
    return found
