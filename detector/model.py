"""A detector: images in, scores out."""

import copy
import importlib.metadata
import platform
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import safetensors
import safetensors.numpy

from detector import storage
from detector.architectures import architecture, build
from detector.bundled import find
from detector.calibration import Calibration
from detector.card import Card, Measured, TrainingSet
from detector.combination import Combination, combined
from detector.inputs import About, Box, Parts, Prepared, Tiles
from detector.occlusion import covered, windows
from detector.runtime import OnCpu, OnGpu, Runtime, has_gpu
from detector.scores import DECIMALS, Scores
from detector.storage import DetectorError, one_line
from sanitizer.images import ImageError, Opened

if TYPE_CHECKING:  # torch takes a second to load, and scoring on a CPU has no use for it
    from detector.lending import Lent
    from detector.network import Network
    from detector.training.loop import Trained


#: By how much a logit falls where a place is covered that matters: odds of 1 in 7 of before.
MUCH = 2.0


class _NotFiniteError(DetectorError):
    """A detector that cannot have been trained."""

    def __init__(self, identity: str):
        super().__init__(
            f"{identity} gives a score that is not finite; its weights are damaged or were never "
            "trained"
        )


class Detector:
    """Scores images by how manipulated they look. Safe to share between threads.

    Attributes:
        card: what is known of it.
        calibration: scores of clean images; without groups where it was just trained.
        identity: its name and a digest over all that decides a p-value, as score rows carry
            it, such as ``"freqsan-small@0123abcd4567"``.
    """

    def __init__(
        self,
        card: Card,
        calibration: Calibration,
        weights: bytes,
        device: str | None = None,
        lent: "Lent | None" = None,
    ):
        self.card, self.calibration = card, calibration
        self.identity = storage.identity(weights, card, calibration)
        self._weights = weights
        self._device = device or best_device()
        self._run = self._runtime(lent)

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def digest(self) -> str:
        """12 hexadecimal digits, see :func:`detector.storage.identity`."""
        return self.identity.rpartition("@")[2]

    @property
    def device(self) -> str:
        """Where it scores, ``"cpu"`` or ``"cuda"``; two of them differ in the last digits."""
        return self._device

    @property
    def inputs(self) -> Tiles:
        """The sizes of images that it judges, and how it cuts them."""
        return self.card.inputs

    def prepare(self, image: bytes | np.ndarray | ImageError | None) -> Prepared:
        """Decode an image, if need be, and cut it; see :class:`sanitizer.images.Opened`."""
        return self.inputs.prepare(Opened.of(image))

    def score(self, images: Sequence[Parts]) -> Scores:
        """Score n images.

        An image's score is the same to the last bit whatever is scored beside it.

        Args:
            images: from :meth:`prepare`.

        Returns:
            Scores rounded to 6 decimals.

        Raises:
            ValueError: parts of another shape or dtype.
            DetectorError: a score is not finite: the weights are no good.
        """
        return self.scores(self.logits(images), [image.about for image in images])

    def scores(self, logits: Sequence[np.ndarray], about: Sequence[About]) -> Scores:
        """Scores of n images from what :meth:`logits` says of their parts.

        Args:
            about: each of them.
        """
        together = combined(logits, about, self.card.combinations)
        values = 1 / (1 + np.exp(-np.clip(together / self.card.temperature, -50, 50)))
        return Scores(
            values.round(DECIMALS).astype(np.float32),
            np.array([len(of_image) for of_image in logits], np.int64),
            np.array([image.encoding for image in about], np.int64),
        )

    def logits(self, images: Sequence[Parts]) -> list[np.ndarray]:
        """What the network says of each part of n images, (k,) float64 each.

        Raises:
            ValueError, DetectorError: as :meth:`score`.
        """
        for image in images:
            self._check(image)
        if not images:
            return []
        stacked = np.concatenate([image.tiles for image in images])
        values = self._run(stacked).astype(np.float64)
        if not np.isfinite(values).all():
            raise _NotFiniteError(self.identity)
        return np.split(values, np.cumsum([len(image) for image in images])[:-1])

    def most_suspicious(self, pixels: np.ndarray) -> Box | None:
        """Where an image looks most manipulated; None where that is everywhere.

        Of an image that is seen in several parts it is the one with the highest score; in a single
        part, the place without which the score falls most, if it falls much.

        Args:
            pixels: (height, width, 3) uint8, at least one.

        Raises:
            DetectorError: as :meth:`score`.
        """
        parts = self.inputs.cut(pixels)
        if len(parts) == 1:
            return self._without(parts.tiles[0])
        (logits,) = self.logits([parts])
        return self.inputs.boxes(*pixels.shape[:2])[int(logits.argmax())]

    def _without(self, tile: np.ndarray) -> Box | None:
        tiles = np.concatenate([tile[None], covered(tile)])
        whole, *rest = self._run(tiles).astype(np.float64)
        falls = whole - np.array(rest)
        if falls.max() < MUCH:
            return None
        top, left, side = (length / len(tile) for length in windows(len(tile))[falls.argmax()])
        return Box(left, top, side, side)

    def _check(self, image: Parts) -> None:
        tiles, side = image.tiles, self.inputs.side
        is_cut = tiles.ndim == 4 and tiles.shape[1:] == (side, side, 3) and len(tiles) > 0
        if not is_cut or tiles.dtype != np.uint8:
            raise ValueError(
                f"parts: expected (k >= 1, {side}, {side}, 3) uint8 for each image, got "
                f"{tiles.shape} {tiles.dtype}"
            )

    @classmethod
    def load(
        cls, name_or_path: str | Path, device: str | None = None, lent: "Lent | None" = None
    ) -> "Detector":
        """Load a bundled detector by name, or any by its directory.

        What the card says of the network is compared with the header of the weights before
        memory is taken for either.

        Args:
            name_or_path: of the detector.
            device: where to score, ``"cpu"`` or ``"cuda"``; None: the GPU where there is one.
            lent: that device, where another process owns it, see :meth:`lend`.

        Raises:
            DetectorError: in one line, what is missing or wrong; also a device that is not there.
        """
        directory = find(name_or_path)
        if device == "cuda" and lent is None and not has_gpu():
            raise DetectorError(
                f"{directory.name} is to score on a GPU, as the run began, and this machine has "
                "none; go on where there is one, or start anew with --overwrite"
            )
        card, calibration = storage.load_card(directory)
        try:
            forms = architecture(card.settings.architecture).forms(card.settings, card.inputs.side)
            weights = storage.load_weights(directory, forms, card.weights_sha256)
            detector = cls(card, calibration, weights, device, lent)
            detector._try()
        except (
            *(ValueError, TypeError, RuntimeError, ArithmeticError),
            *(safetensors.SafetensorError, _NotFiniteError),
        ) as error:
            raise DetectorError(f"{directory} is no working detector: {one_line(error)}") from error
        return detector

    def _try(self) -> None:
        """Score flat and noisy parts, so that weights which are no good show at once.

        Raises:
            DetectorError: a score is not finite.
        """
        side = self.inputs.side
        parts = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
        parts[0] = 0
        if not np.isfinite(self._run(parts)).all():
            raise _NotFiniteError(self.identity)

    def _runtime(self, lent: "Lent | None") -> Runtime:
        if lent is not None:
            from detector.lending import Borrowed

            return Borrowed(lent)
        if self._device == "cpu":
            tensors = safetensors.numpy.load(self._weights)
            try:
                return OnCpu(self.card.settings, self.inputs.side, tensors)
            except FloatingPointError as error:
                raise _NotFiniteError(self.identity) from error
        return OnGpu(self.network(), self.inputs.side, self._device)

    def lend(self) -> "AbstractContextManager[Lent]":
        """Let other processes score on the GPU that this one does, see :mod:`detector.lending`.

        Raises:
            RunError: that is not possible here.
        """
        from detector.lending import lend

        assert isinstance(self._run, OnGpu)  # a CPU is everybody's
        return lend(self._run, self.inputs.side)

    @classmethod
    def of(
        cls,
        name: str,
        trained: "Trained",
        *,
        training_data: Sequence[TrainingSet] = (),
        calibration_data: str = "",
        licence: str = "not stated",
        blind_spots: Sequence[str] = (),
        pool_views: int = 0,
    ) -> "Detector":
        """A detector freshly trained, not yet calibrated; the rest goes into its card."""
        from detector.network import multiply_adds

        card = Card(
            name=name,
            network=trained.settings.network.to_json(),
            temperature=round(trained.temperature, 6),
            inputs=Tiles(),  # as the views that it was trained on are cut
            multiply_adds=multiply_adds(trained.network, Tiles.side),
            training=trained.settings.to_json(),
            held_out_detection_at_1_percent_clean_loss=trained.figures,
            versions=_versions(),
            training_data=tuple(training_data),
            calibration_data=calibration_data,
            licence=licence,
            blind_spots=tuple(blind_spots),
            pool_views=pool_views,
        )
        return cls(card, Calibration(), _stored(trained.network))

    def calibrated(
        self, calibration: Calibration, combinations: Sequence[Combination] = ()
    ) -> "Detector":
        """The same detector with another calibration: with another identity, not yet measured."""
        other = copy.copy(self)
        other.card = replace(self.card, combinations=tuple(combinations), measured=Measured())
        other.calibration = calibration
        other.identity = storage.identity(self._weights, other.card, calibration)
        return other

    def network(self) -> "Network":
        """Its network as it was trained, a copy on the device that it scores on."""
        import safetensors.torch

        from detector.network import channels_last

        network = build(self.card.settings, self.inputs.side)
        network.load_state_dict(safetensors.torch.load(self._weights))
        return channels_last(network.to(self._device))

    def with_network(self, network: "Network", card: Card) -> "Detector":
        """A detector with other weights of the same form, not yet calibrated."""
        return Detector(card, Calibration(), _stored(network), self.device)

    def save(self, directory: Path) -> None:
        """Write ``weights.safetensors`` and ``detector.json``, each as a whole."""
        storage.save(directory, self._weights, self.card, self.calibration)


def best_device() -> str:
    """The GPU where there is one, else the CPU."""
    return "cuda" if has_gpu() else "cpu"


def _stored(network: "Network") -> bytes:
    import safetensors.torch

    tensors = {k: v.cpu().contiguous() for k, v in network.state_dict().items()}
    return safetensors.torch.save(tensors)


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": importlib.metadata.version("torch"),
    }
