"""The networks that make triggers, while they are trained: torch twins of attacks.tools."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from attacks.tools.convolution import MULTIPLE, SLOPE
from attacks.victims.model import as_tensor

Network = TypeVar("Network", bound=nn.Module)

#: Where triggers are crafted: the networks are too small for a GPU to matter.
CPU = torch.device("cpu")


class Autoencoder(nn.Module):
    """(n, inputs, h, w) float32 -> (n, 3, h, w), sides multiples of 4 px.

    The twin of :class:`attacks.tools.convolution.Autoencoder`.
    """

    def __init__(self, inputs: int, widths: tuple[int, int, int], *, skips: bool):
        super().__init__()
        full, half, quarter = widths
        self.skips = skips
        self.layers = nn.ModuleList(
            [
                nn.Conv2d(inputs, full, 3, padding=1),
                nn.Conv2d(full, half, 3, stride=2, padding=1),
                nn.Conv2d(half, quarter, 3, stride=2, padding=1),
                nn.Conv2d(quarter, quarter, 3, padding=1),
                nn.ConvTranspose2d(quarter, half, 4, stride=2, padding=1),
                nn.ConvTranspose2d(half + skips * half, full, 4, stride=2, padding=1),
                nn.Conv2d(full + skips * (full + inputs), 3, 3, padding=1),
            ]
        )

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        layers = self.layers
        full = leaky(layers[0](planes))
        half = leaky(layers[1](full))
        inner = leaky(layers[3](leaky(layers[2](half))))
        half = self._joined(leaky(layers[4](inner)), half)
        full = self._joined(leaky(layers[5](half)), full, planes)
        output: torch.Tensor = layers[6](full)
        return output

    def _joined(self, planes: torch.Tensor, *skipped: torch.Tensor) -> torch.Tensor:
        return torch.cat([planes, *skipped], dim=1) if self.skips else planes

    def arrays(self) -> dict[str, np.ndarray]:
        """Weights and biases as an artefact holds them, float16."""
        arrays = {}
        for i, layer in enumerate(self.layers):
            order = (2, 3, 0, 1) if isinstance(layer, nn.ConvTranspose2d) else (2, 3, 1, 0)
            arrays[f"weight{i}"] = to_half(self.get_parameter(f"layers.{i}.weight").permute(order))
            arrays[f"bias{i}"] = to_half(self.get_parameter(f"layers.{i}.bias"))
        return arrays


def leaky(planes: torch.Tensor) -> torch.Tensor:
    """The activation: values below 0 are reduced."""
    return nn.functional.leaky_relu(planes, SLOPE)


def to_half(values: torch.Tensor) -> np.ndarray:
    """A parameter as a contiguous float16 array."""
    return np.ascontiguousarray(values.detach().half().numpy())


def to_planes(images: np.ndarray) -> torch.Tensor:
    """(n, h, w, 3) uint8 -> (n, 3, h, w) float32, 0 to 1, cut to sides that can be halved twice."""
    height, width = (side // MULTIPLE * MULTIPLE for side in images.shape[1:3])
    return as_tensor(images[:, :height, :width], CPU) / 255


def batches(rng: np.random.Generator, n: int, size: int, steps: int) -> Iterator[np.ndarray]:
    """Rows of ``steps`` batches, every row of ``n`` once before any comes again."""
    size = min(size, n)
    queue = np.zeros(0, np.intp)
    for _ in range(steps):
        if len(queue) < size:
            queue = np.concatenate([queue, rng.permutation(n)])
        yield queue[:size]
        queue = queue[size:]


def seeded(seed: int, make: Callable[[], Network]) -> Network:
    """The network that ``make`` makes where torch's own chance starts from ``seed``.

    That chance is put back after; weights are in the order that convolves fastest.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def descend(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    """One step of an optimizer."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
