"""``detectors``: what can judge, and how well it did."""

from typing import Any

from detector.model import bundled
from pipelines.judging.calibration import load_detector


def detectors() -> list[dict[str, Any]]:
    """The bundled detectors: their cards, without the calibration scores."""
    found = []
    for name in bundled():
        loaded = load_detector(name)
        card = {k: v for k, v in loaded.card.items() if k != "calibration"}
        found.append(card | {"name": name, "identity": loaded.identity})
    return found
