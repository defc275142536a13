"""What runs a network to score: on a CPU ONNX Runtime, as torch takes a third longer; else torch.

Both do the arithmetic of the same network in float32; what they say differs in the sixth digit.
"""

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import onnxruntime
import torch
from torch import nn

from detector.network import Network, logits, pixels_on
from detector.precision import full_precision
from sanitizer.silence import without_warnings

#: Images that go through a network together, always so many: for other numbers other kernels may
#: be taken, which round differently.
BATCH, BATCH_ON_GPU = 16, 256

#: torch notes in one place for the whole process what it exports.
_exporting = threading.Lock()


class Runtime(Protocol):
    """Runs one network. Safe to share between threads."""

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """(n,) float32 logits of (n, side, side, 3) uint8, n at least 1.

        The logit of an image is the same to the last bit whatever is beside it.
        """


class OnCpu:
    """ONNX Runtime, with as many threads as torch has."""

    def __init__(self, network: Network, side: int):
        options = onnxruntime.SessionOptions()
        # Batches side by side use more of the cores than the threads within one.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        graph = _exported(network, side)
        providers = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(graph, options, providers=providers)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        batches = _batches(images, BATCH)
        threads = min(torch.get_num_threads(), len(batches))
        if threads == 1:
            decided = [self._run(batch) for batch in batches]
        else:
            with ThreadPoolExecutor(threads) as pool:
                decided = list(pool.map(self._run, batches))
        return np.concatenate(decided)[: len(images)]

    def _run(self, batch: np.ndarray) -> np.ndarray:
        decided: np.ndarray = self._session.run(None, {"images": batch})[0]
        return decided


class OnGpu:
    """torch, on a device."""

    def __init__(self, network: Network, device: torch.device):
        self._network, self._device = network, device

    def __call__(self, images: np.ndarray) -> np.ndarray:
        with full_precision, torch.autocast(self._device.type, enabled=False):
            decided = [
                logits(self._network, pixels_on(batch, self._device), BATCH_ON_GPU)
                for batch in _batches(images, BATCH_ON_GPU)
            ]
        return np.concatenate(decided)[: len(images)]


def on(device: torch.device, network: Network, side: int) -> Runtime:
    """What runs a network, in evaluation mode and on the device, for (side, side) pixels."""
    return OnCpu(network, side) if device.type == "cpu" else OnGpu(network, device)


class _OfImages(nn.Module):
    """A network that takes images as they lie in memory."""

    def __init__(self, network: Network):
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        decided: torch.Tensor = self.network(images.permute(0, 3, 1, 2).float())
        return decided


@without_warnings  # that torch has another exporter, which takes twenty times as long
def _exported(network: Network, side: int) -> bytes:
    """A network as an ONNX graph, for ``BATCH`` images."""
    graph = io.BytesIO()
    images = torch.zeros(BATCH, side, side, 3, dtype=torch.uint8)
    with _exporting:
        torch.onnx.export(
            _OfImages(network).eval(),
            (images,),
            graph,  # type: ignore[arg-type]  # which stubs leave out
            dynamo=False,
            input_names=["images"],
            opset_version=17,
        )
    return graph.getvalue()


def _batches(images: np.ndarray, size: int) -> list[np.ndarray]:
    """So many images each; the last has black ones behind its own."""
    batches = [images[i : i + size] for i in range(0, len(images), size)]
    batches[-1] = np.pad(batches[-1], ((0, size - len(batches[-1])), (0, 0), (0, 0), (0, 0)))
    return batches
