"""What runs a network to score: on a CPU ONNX Runtime, without torch; on a GPU torch.

torch takes a second to load and half as long again for an image. Both do the arithmetic of the
same network in float32; what they say differs in the sixth digit.
"""

import ctypes
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import TYPE_CHECKING, Protocol

import numpy as np

from detector.architectures import architecture
from detector.onnx_runtime import onnxruntime
from detector.settings import NetworkSettings
from sanitizer.cores import threads_within
from sanitizer.errors import GO_ON, RunError

if TYPE_CHECKING:
    from detector.network import Network

#: Images that go through a network together on a CPU, always so many: for other numbers other
#: kernels may be taken, which round differently.
BATCH = 16

#: The same on a GPU, at least and at most; see :func:`largest_batch`.
LEAST_ON_GPU, MOST_ON_GPU = 64, 1024

#: Share of a GPU's memory that the images under way may take.
MEMORY_SHARE = 0.1

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
    """torch, on a device. Threads that use it at once have a queue of work each.

    Raises:
        RunError: the device has not enough memory left.
    """

    def __init__(self, network: "Network", side: int, device: str):
        import torch

        from detector.network import for_scoring

        self._device = torch.device(device)
        self._network = for_scoring(network).to(self._device)
        self._batch = LEAST_ON_GPU
        if self._device.type == "cuda":
            self._batch = self._fitting_batch(side)

    def _fitting_batch(self, side: int) -> int:
        """As many images as take ``MEMORY_SHARE`` of the device.

        Of all of its memory, not of what is free: a run that goes on is to round as it began.
        """
        import torch

        torch.cuda.reset_peak_memory_stats(self._device)
        held = torch.cuda.memory_allocated(self._device)
        self(np.zeros((LEAST_ON_GPU, side, side, 3), np.uint8))
        taken = torch.cuda.max_memory_allocated(self._device) - held
        whole = torch.cuda.get_device_properties(self._device).total_memory
        return largest_batch(taken, whole)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        import torch

        from detector.network import logits, pixels_on
        from detector.precision import full_precision

        on_gpu = self._device.type == "cuda"
        queue = torch.cuda.stream(torch.cuda.Stream(self._device)) if on_gpu else nullcontext()
        try:
            with full_precision, torch.autocast(self._device.type, enabled=False), queue:
                decided = [
                    logits(self._network, pixels_on(batch, self._device), self._batch)
                    for batch in _batches(images, self._batch)
                ]
        except torch.OutOfMemoryError as error:
            raise RunError(
                f"the GPU has too little memory left for {self._batch} images of "
                f"{images.shape[1]} px; free it of what else uses it, or hide it from freqsan "
                f"(CUDA_VISIBLE_DEVICES=-1) and start anew with --overwrite; {GO_ON}"
            ) from error
        return np.concatenate(decided)[: len(images)]

    def pinned(self, shape: tuple[int, ...]) -> np.ndarray:
        """Memory for images that the device reads by itself: uint8, of any content."""
        import torch

        on_gpu = self._device.type == "cuda"
        memory: np.ndarray = torch.empty(shape, dtype=torch.uint8, pin_memory=on_gpu).numpy()
        return memory


def largest_batch(taken: int, memory: int) -> int:
    """How many images go through a network together on a GPU.

    Args:
        taken: bytes that ``LEAST_ON_GPU`` of them take.
        memory: bytes of the whole device.

    Returns:
        The largest power of two that takes at most ``MEMORY_SHARE`` of it, from ``LEAST_ON_GPU`` to
        ``MOST_ON_GPU``.

    >>> largest_batch(64 << 20, 80 << 30), largest_batch(64 << 20, 4 << 30)
    (1024, 256)
    """
    batch = LEAST_ON_GPU
    while batch < MOST_ON_GPU and 2 * batch * taken <= MEMORY_SHARE * memory * LEAST_ON_GPU:
        batch *= 2
    return batch


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
