"""What every network is, and how it scores: each image alone, whatever is beside it."""

import copy
from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.flop_counter import FlopCounterMode

#: Images that go through the network together.
BATCH = 64

#: Images that :meth:`Network.describe` gets at least. For two and more, convolutions on a CPU
#: do the same arithmetic for each image; for a single one torch takes other kernels.
FEWEST = 2


class Network(nn.Module, ABC):
    """From 0 to 255 pixels, (n, 3, side, side) float32, to (n,) logits.

    The work is in two halves, because a matrix product rounds differently for another number
    of rows and a convolution does not. See :func:`logits`.
    """

    @abstractmethod
    def describe(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n, features) by convolutions and pooling alone: nothing that mixes images."""

    #: From (n, k) opinions to (n, 1) logits; what is tuned to a source of images.
    judge: nn.Module

    @abstractmethod
    def opinions(self, features: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
        """(n, k) of (n, features) and of the pixels again: what is judged."""

    def decide(self, features: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
        """(n,) logits of (n, features) and of the pixels again."""
        logits: torch.Tensor = self.judge(self.opinions(features, pixels))
        return logits.squeeze(1)

    @abstractmethod
    def fit_normalisation(self, pixels: torch.Tensor) -> None:
        """Adapt to typical pixels before training."""

    def lessons(self, pixels: torch.Tensor) -> torch.Tensor:
        """(k, n) logits that training improves: of each part that learns by itself."""
        return self(pixels)[None]

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.decide(self.describe(pixels), pixels)


def pixels_on(images: np.ndarray, device: torch.device) -> torch.Tensor:
    """(n, s, s, 3) uint8 images as a network takes them: (n, 3, s, s) float32 on ``device``."""
    planes = torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2)
    return planes.contiguous().float()


def logits(network: Network, pixels: torch.Tensor) -> np.ndarray:
    """Logits (n,) float32 of (n, 3, side, side) pixels, n at least 1, in evaluation mode.

    On a CPU the logit of an image is the same to the last bit whatever is beside it: the
    matrix products, which are little work, always have ``BATCH`` rows.
    """
    network.eval()
    with torch.inference_mode():
        decided = []
        for part in pixels.split(BATCH):
            features = network.describe(_filled(part, FEWEST))
            logits_of = network.decide(_filled(features, BATCH), _filled(part, BATCH))
            decided.append(logits_of[: len(part)])
    return torch.cat(decided).float().cpu().numpy()


def opinions_of(network: Network, images: np.ndarray) -> torch.Tensor:
    """(n, k) opinions on (n, s, s, 3) uint8 images, in evaluation mode, without a slope."""
    device = next(network.parameters()).device
    network.eval()
    with torch.no_grad():
        parts = [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
        pixels = (pixels_on(part, device) for part in parts)
        return torch.cat([network.opinions(network.describe(one), one) for one in pixels])


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


def _filled(rows: torch.Tensor, count: int) -> torch.Tensor:
    """At least ``count`` rows: zeros below those that there are."""
    missing = count - len(rows)
    return functional.pad(rows, (0,) * (2 * rows.dim() - 1) + (missing,)) if missing > 0 else rows
