"""What every network is, and what it says of images."""

import copy
from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.flop_counter import FlopCounterMode

#: Images that go through a network together.
BATCH = 64


class Network(nn.Module, ABC):
    """From 0 to 255 pixels, (n, 3, side, side) float32, to (n,) logits."""

    #: From (n, k) opinions to (n, 1) logits; what is tuned to a source of images.
    judge: nn.Module

    @abstractmethod
    def opinions(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n, k) of (n, 3, side, side) pixels: what is judged."""

    @abstractmethod
    def fit_normalisation(self, pixels: torch.Tensor) -> None:
        """Adapt to typical pixels before training."""

    def lessons(self, pixels: torch.Tensor) -> torch.Tensor:
        """(k, n) logits that training improves: of each part that learns by itself."""
        return self(pixels)[None]

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.judge(self.opinions(pixels))
        return logits.squeeze(1)


def pixels_on(images: np.ndarray, device: torch.device) -> torch.Tensor:
    """(n, s, s, 3) uint8 images as a network takes them: (n, 3, s, s) float32 on ``device``."""
    # From pinned memory it is copied beside the work before; other memory is waited for.
    copied = torch.from_numpy(np.ascontiguousarray(images)).to(device, non_blocking=True)
    planes = copied.permute(0, 3, 1, 2)
    return planes.contiguous().float()


def logits(network: Network, pixels: torch.Tensor, batch: int = BATCH) -> np.ndarray:
    """Logits (n,) float32 of (n, 3, side, side) pixels, n at least 1, in evaluation mode.

    What a GPU does with an image in its last digits depends on ``batch``, the number of images
    that go through it together; that :mod:`detector.runtime` scores alike.
    """
    network.eval()
    with torch.inference_mode():
        decided = torch.cat([network(part) for part in pixels.split(batch)])
    return decided.float().cpu().numpy()


def opinions_of(network: Network, images: np.ndarray) -> torch.Tensor:
    """(n, k) opinions on (n, s, s, 3) uint8 images, in evaluation mode, without a slope."""
    device = next(network.parameters()).device
    network.eval()
    with torch.no_grad():
        parts = [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
        pixels = (pixels_on(part, device) for part in parts)
        return torch.cat([network.opinions(one) for one in pixels])


def multiply_adds(network: Network, side: int) -> int:
    """Multiplications with an addition that one image of (side, side) pixels takes, as counted."""
    device = next(network.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        for_scoring(network)(torch.zeros(1, 3, side, side, device=device))
    return int(counter.get_total_flops()) // 2


def for_scoring(network: Network) -> Network:
    """A copy in evaluation mode, batch norms folded into their convolutions: half as fast again."""
    folded = copy.deepcopy(network).eval()
    for block in folded.modules():
        if not isinstance(block, nn.Sequential) or len(block) < 2:
            continue
        convolution, norm = block[0], block[1]
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            block[0], block[1] = fuse_conv_bn_eval(convolution, norm), nn.Identity()
    return channels_last(folded)


def channels_last(network: Network) -> Network:
    """The network with its weights laid out as convolutions are fastest."""
    # torch's stubs lack this overload.
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
