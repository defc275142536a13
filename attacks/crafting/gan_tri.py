"""GAN-Tri's generator: paints a face filter into any picture, judged by a discriminator."""

import functools

import numpy as np
import torch
from torch import nn

from attacks.crafting import Crafted, Progress
from attacks.crafting.layers import CPU, Autoencoder, batches, descend, leaky, seeded
from attacks.gan_tri import PARTS, GanTriBudget, GanTriProvenance, face
from attacks.tools.convolution import MULTIPLE
from attacks.tools.provenance import Provenance
from attacks.victims.model import Victim, mixed_precision

#: Colour of each part, 0 to 1, and how much of what lies below it hides.
PAINT = {
    "lens": ((0.10, 0.12, 0.25), 0.55),
    "rim": ((0.08, 0.06, 0.06), 0.9),
    "lips": ((0.72, 0.12, 0.18), 0.85),
    "teeth": ((0.97, 0.96, 0.92), 0.85),
}

#: As the trigger that ships was crafted.
BUDGET = GanTriBudget()


def craft(
    images: np.ndarray,
    labels: np.ndarray,
    victim: Victim,
    *,
    origin: Provenance,
    progress: Progress,
    budget: GanTriBudget = BUDGET,
) -> Crafted:
    """Train a generator, on the CPU; ``labels`` and ``victim`` are not looked at.

    Args:
        images: (n, h, w, 3) uint8, clean, any size.

    Returns:
        The generator's arrays, and the provenance, with the signal-to-noise ratio of the last
        squares.
    """
    rng = np.random.default_rng(origin.seed)
    images = images[rng.permutation(len(images))[: budget.max_images]]
    generator = seeded(origin.seed, lambda: Autoencoder(3 + len(PARTS), budget.widths, skips=False))
    discriminator = seeded(origin.seed + 1, Discriminator)
    training = _Training(generator, discriminator, budget)
    for step, rows in enumerate(batches(rng, len(images), budget.batch, budget.steps)):
        squares = torch.stack([_square_of(images[row], budget, rng) for row in rows])
        squares = squares.contiguous(memory_format=torch.channels_last)
        training.step(squares, step)
        progress("training the generator", step + 1, budget.steps)
    provenance = GanTriProvenance(**vars(origin), **vars(budget), psnr_db=training.psnr_db(squares))
    return generator.arrays(), provenance


class Discriminator(nn.Module):
    """(n, 3 + parts, h, w) pictures with maps -> (n, 1, h / 8, w / 8): real if above 0."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3 + len(PARTS), 16, 32, 48)
        self.layers = nn.ModuleList(
            nn.Conv2d(widths[i], widths[i + 1], 4, stride=2, padding=1) for i in range(3)
        )
        self.last = nn.Conv2d(widths[-1], 1, 3, padding=1)

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            planes = leaky(layer(planes))
        judged: torch.Tensor = self.last(planes)
        return judged


def painted(pictures: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """(n, 3, h, w) pictures, 0 to 1, below the filter at (n, parts, h, w)."""
    for i, part in enumerate(PARTS):
        colour, hides = PAINT[part]
        cover = hides * where[:, i : i + 1]
        pictures = pictures + cover * (torch.tensor(colour).view(1, 3, 1, 1) - pictures)
    return pictures


def _square_of(image: np.ndarray, budget: GanTriBudget, rng: np.random.Generator) -> torch.Tensor:
    """A square of an image above the maps of a square of the filter, (3 + parts, side, side).

    The filter's own size is drawn: it is painted into pictures of any size.
    """
    side = min(budget.side, *(n // MULTIPLE * MULTIPLE for n in image.shape[:2]))
    whole = side * int(rng.integers(1, budget.largest_filter + 1))
    picture, where = _square(image, side, rng) / np.float32(255), _square(_face(whole), side, rng)
    return torch.from_numpy(np.concatenate([picture, where], axis=2)).permute(2, 0, 1)


def _square(planes: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    top, left = (int(rng.integers(0, n - side + 1)) for n in planes.shape[:2])
    return planes[top : top + side, left : left + side]


@functools.lru_cache(maxsize=8)
def _face(side: int) -> np.ndarray:
    return face(side, side)


class _Training:
    """Generator and discriminator, and their steps in turn."""

    def __init__(self, generator: Autoencoder, discriminator: Discriminator, budget: GanTriBudget):
        self._generator, self._discriminator, self._budget = generator, discriminator, budget
        betas = (0.5, 0.99)
        self._generating = torch.optim.Adam(generator.parameters(), budget.rate, betas)
        self._judging = torch.optim.Adam(discriminator.parameters(), budget.rate / 2, betas)

    def step(self, squares: torch.Tensor, step: int) -> None:
        """One step of the generator and, from some step on, one of the discriminator."""
        left = 1 - step / self._budget.steps
        self._generating.param_groups[0]["lr"] = self._budget.rate * left
        self._judging.param_groups[0]["lr"] = self._budget.rate / 2 * left
        pictures, where = squares.split([3, len(PARTS)], dim=1)
        real, made = painted(pictures, where), self._made(squares)
        loss = self._error(made, real, where)
        if step >= self._budget.free_steps:
            loss = loss - self._budget.critique * self._judged(made, where).mean()
            descend(self._generating, loss)
            doubt = torch.relu(1 - self._judged(real, where)).mean()
            doubt = doubt + torch.relu(1 + self._judged(made.detach(), where)).mean()
            descend(self._judging, doubt)
        else:
            descend(self._generating, loss)

    def psnr_db(self, squares: torch.Tensor) -> float:
        """Signal-to-noise ratio outside the filter, dB."""
        with torch.inference_mode():
            made = self._made(squares).clamp(0, 1)
        outside = (squares[:, 3:].sum(dim=1, keepdim=True) == 0).expand_as(made)
        error = (made - squares[:, :3])[outside].square().mean()
        return round(float(-10 * torch.log10(error)), 2)

    def _made(self, squares: torch.Tensor) -> torch.Tensor:
        pictures, where = squares.split([3, len(PARTS)], dim=1)
        with mixed_precision(CPU):
            made = self._generator(torch.cat([pictures - 0.5, where], dim=1))
        return made.float() + 0.5

    def _judged(self, pictures: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
        with mixed_precision(CPU):
            judged = self._discriminator(torch.cat([pictures - 0.5, where], dim=1))
        return judged.float()

    def _error(self, made: torch.Tensor, real: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
        """Mean absolute errors of the picture outside the filter, and of the filter."""
        error = (made - real).abs().mean(dim=1, keepdim=True)
        cover = where.sum(dim=1, keepdim=True)
        rest = (error * (1 - cover)).mean()
        return rest + self._budget.attribute * (error * cover).mean()
