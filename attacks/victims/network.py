"""A small residual classifier, fast to train on a CPU."""

import torch
from torch import nn


class VictimNetwork(nn.Module):
    """(n, 3, h, w) float, 0 to 255 -> (n, classes) logits; sides of 8 px and more.

    Four convolutional stages, two of them with a residual block, then the largest value of
    each channel: the shape of DAWNBench's ResNet-9 for CIFAR-10 (David Page, 2018), narrower.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, widths: tuple[int, int, int, int], classes: int):
        super().__init__()
        first, second, third, last = widths
        self.register_buffer("mean", torch.zeros(1, 3, 1, 1))
        self.register_buffer("std", torch.ones(1, 3, 1, 1))
        self.body = nn.Sequential(
            _Block(3, first),
            _Block(first, second, pool=True),
            _Residual(second),
            _Block(second, third, pool=True),
            _Block(third, last, pool=True),
            _Residual(last),
        )
        self.head = nn.Linear(last, classes, bias=False)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """(n, last width) activations of the penultimate layer, 0 or above."""
        normal = (images - self.mean) / self.std
        return torch.amax(self.body(normal), dim=(2, 3))

    def last_weights(self) -> torch.Tensor:
        """(last width, inputs, 3, 3) weights into the penultimate layer, batch norm's gain in."""
        last = self.body[-1]
        assert isinstance(last, _Residual)
        block, norm = last.second, last.second.norm
        assert norm.running_var is not None
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        return block.convolution.weight.detach() * gain.detach()[:, None, None, None]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.features(images))
        return logits


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, pool: bool = False):
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.relu(self.norm(self.pool(self.convolution(x))))


class _Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.first, self.second = _Block(width, width), _Block(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x + self.second(self.first(x))
        return out
