"""``detectors``: what can judge, and how well it did."""

from typing import Any

from detector.model import Detector, bundled


def detectors() -> list[dict[str, Any]]:
    """The bundled detectors: their cards, without the calibration scores."""
    found = []
    for name in bundled():
        loaded = Detector.load(name)
        card = {k: v for k, v in loaded.card.items() if k != "calibration"}
        found.append(card | {"name": name, "identity": loaded.identity})
    return found
