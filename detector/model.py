"""A detector: a directory with ``weights.safetensors`` and ``detector.json``."""

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import nn

from detector.dct import dct2_on
from detector.network import NetworkSettings, build, for_scoring, logits
from detector.storage import (
    CARD,
    DECIMALS,
    WEIGHTS,
    DetectorError,
    check_shapes,
    one_line,
    read_card,
    read_group,
    read_weights,
    write_detector,
)
from detector.training.loop import Trained

#: Where the detectors that come with freqsan are.
BUNDLED = Path(__file__).parent / "weights"


class Detector:
    """Scores 32x32 tiles by how manipulated they look. Safe to share between threads.

    Attributes:
        name: of the detector, such as ``"freqsan-small"``.
        digest: first 12 hexadecimal digits of a SHA-256 over all that decides a score.
        card: the contents of ``detector.json``, without the calibration scores.
        calibration: groups of clean scores, dicts with ``name``, ``min_tiles``,
            ``max_tiles`` and ``scores`` (float32, ascending).
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        digest: str,
        card: dict[str, Any],
        calibration: list[dict[str, Any]],
    ):
        self.name, self.digest, self.card, self.calibration = name, digest, card, calibration
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._weights = _tensors(network)
        self._network = for_scoring(network).to(self._device)
        self._temperature = float(card["temperature"])
        if not 0 < self._temperature < float("inf"):
            raise ValueError(f"temperature: expected above 0, got {self._temperature}")

    @property
    def identity(self) -> str:
        """Name and weights, as score rows carry it."""
        return f"{self.name}@{self.digest}"

    def score(self, tiles: np.ndarray) -> np.ndarray:
        """Score (n, 32, 32, 3) uint8 tiles.

        Returns:
            (n,) float32 in [0, 1], higher is more suspicious, rounded to 6 decimals.

        Raises:
            ValueError: tiles of another shape or dtype, or a score that is not finite.
        """
        if tiles.ndim != 4 or tiles.shape[1:] != (32, 32, 3) or tiles.dtype != np.uint8:
            raise ValueError(
                f"tiles: expected (n, 32, 32, 3) uint8, got {tiles.shape} {tiles.dtype}"
            )
        if len(tiles) == 0:
            return np.zeros(0, np.float32)
        found = logits(self._network, dct2_on(tiles, self._device)).astype(np.float64)
        if not np.isfinite(found).all():
            raise ValueError(f"{self.identity} gave a score that is not finite")
        scores = 1 / (1 + np.exp(-np.clip(found / self._temperature, -50, 50)))
        return scores.round(DECIMALS).astype(np.float32)

    @classmethod
    def load(cls, path_or_name: str | Path) -> "Detector":
        """Load a bundled detector by name, or any by its directory.

        Raises:
            DetectorError: in one line, what is missing or wrong.
        """
        directory = _find(path_or_name)
        card = read_card(directory / CARD)
        data, tensors = read_weights(directory / WEIGHTS)
        try:
            network = build(_network_settings(card["network"]))
            check_shapes(network, tensors)
            network.load_state_dict(tensors)
            calibration = [read_group(g) for g in card.pop("calibration")]
            return cls(card["name"], network, _digest(data, card), card, calibration)
        except KeyError as error:
            raise DetectorError(f"{directory / CARD} lacks the entry {error}") from error
        except (ValueError, TypeError, AttributeError, RuntimeError, ArithmeticError) as error:
            raise DetectorError(f"{directory} is no working detector: {one_line(error)}") from error

    @classmethod
    def of(cls, name: str, trained: Trained, card: Mapping[str, Any] | None = None) -> "Detector":
        """A detector freshly trained, not yet calibrated.

        Args:
            card: what ``detector.json`` shall say besides: training data, licence, figures.
        """
        data = safetensors.torch.save(_tensors(trained.network))
        own = {
            "name": name,
            "network": asdict(trained.settings.network),
            "temperature": round(trained.temperature, 6),
            "features": {"transform": "DCT-II, orthonormal, per channel", "side": 32},
            "training": asdict(trained.settings),
            "held_out_detection_at_1_percent_clean_loss": trained.figures,
            "versions": _versions(),
        }
        return cls(name, trained.network, _digest(data, own), {**own, **(card or {})}, [])

    def save(self, directory: Path) -> None:
        """Write ``weights.safetensors`` and ``detector.json``, each atomically."""
        data = safetensors.torch.save(self._weights)
        write_detector(directory, data, self.card, self.calibration)


def bundled() -> list[str]:
    """Names of the detectors that come with freqsan, sorted."""
    return sorted(path.parent.name for path in BUNDLED.glob(f"*/{CARD}"))


def _find(path_or_name: str | Path) -> Path:
    if str(path_or_name) in bundled():  # ./NAME is how to say a directory of the same name
        return BUNDLED / str(path_or_name)
    if Path(path_or_name).is_dir():
        return Path(path_or_name)
    raise DetectorError(
        f"no detector {str(path_or_name)!r}: not a directory, and the bundled ones are "
        f"{', '.join(bundled()) or 'none'}"
    )


def _network_settings(stored: dict[str, Any]) -> NetworkSettings:
    plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
    return NetworkSettings(**plain)


def _tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}


def _digest(weights: bytes, card: Mapping[str, Any]) -> str:
    settings = json.dumps([card["network"], card["temperature"]], sort_keys=True).encode()
    return hashlib.sha256(weights + settings).hexdigest()[:12]


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
    }
