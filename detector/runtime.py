"""What runs a network to score: on a CPU ONNX Runtime, without torch; on a GPU torch.

torch takes a second to load and half as long again for an image. Both do the arithmetic of the
same network in float32; what they say differs in the sixth digit.
"""

import ctypes
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

import numpy as np
import onnxruntime

from detector.architectures import architecture
from detector.settings import NetworkSettings
from sanitizer.cores import threads_within

if TYPE_CHECKING:
    from detector.network import Network

#: Images that go through a network together, always so many: for other numbers other kernels may
#: be taken, which round differently.
BATCH, BATCH_ON_GPU = 16, 256

#: A GPU's driver, by the names of its library; without it there is no need to ask torch.
_DRIVERS = ("libcuda.so.1", "nvcuda.dll", "libamdhip64.so")


class Runtime(Protocol):
    """Runs one network. Safe to share between threads."""

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """(n,) float32 logits of (n, side, side, 3) uint8, n at least 1.

        The logit of an image is the same to the last bit whatever is beside it.
        """


class OnCpu:
    """ONNX Runtime, with the threads that are there for one piece of work.

    Raises:
        FloatingPointError: weights that are not finite.
    """

    def __init__(self, settings: NetworkSettings, side: int, tensors: Mapping[str, np.ndarray]):
        options = onnxruntime.SessionOptions()
        # Batches side by side use more of the cores than the threads within one.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        graph = architecture(settings.architecture).graph(tensors, side, BATCH)
        providers = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(graph, options, providers=providers)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        batches = _batches(images, BATCH)
        threads = min(threads_within(), len(batches))
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

    def __init__(self, network: "Network", device: str):
        from detector.network import for_scoring

        self._network, self._device = for_scoring(network).to(device), device

    def __call__(self, images: np.ndarray) -> np.ndarray:
        import torch

        from detector.network import logits, pixels_on
        from detector.precision import full_precision

        device = torch.device(self._device)
        with full_precision, torch.autocast(device.type, enabled=False):
            decided = [
                logits(self._network, pixels_on(batch, device), BATCH_ON_GPU)
                for batch in _batches(images, BATCH_ON_GPU)
            ]
        return np.concatenate(decided)[: len(images)]


def has_gpu() -> bool:
    """Whether torch can use a GPU here; it is loaded only where there is a driver of one."""
    if not any(map(_loads, _DRIVERS)):
        return False
    import torch

    return torch.cuda.is_available()


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _batches(images: np.ndarray, size: int) -> list[np.ndarray]:
    """So many images each; the last has black ones behind its own."""
    batches = [images[i : i + size] for i in range(0, len(images), size)]
    batches[-1] = np.pad(batches[-1], ((0, size - len(batches[-1])), (0, 0), (0, 0), (0, 0)))
    return batches
