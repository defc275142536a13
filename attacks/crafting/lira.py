"""LIRA's first stage: a generator of faint patterns, learned in turn with a classifier."""

import copy

import numpy as np
import torch
from torch import nn

from attacks.crafting import Crafted, Progress
from attacks.crafting.layers import CPU, Autoencoder, batches, descend, seeded, to_planes
from attacks.lira import STRENGTH, LiraBudget, LiraProvenance
from attacks.tools.convolution import DEPTH
from attacks.tools.provenance import Provenance
from attacks.victims.model import Victim, mixed_precision
from attacks.victims.network import VictimNetwork

#: Images that generator and classifier are measured on.
MEASURED = 1000

#: As the trigger that ships was crafted.
BUDGET = LiraBudget()


def craft(
    images: np.ndarray,
    labels: np.ndarray,
    victim: Victim,
    *,
    origin: Provenance,
    progress: Progress,
    budget: LiraBudget = BUDGET,
) -> Crafted:
    """Train a generator; runs on the CPU and leaves ``victim`` as it is.

    Args:
        images: (n, h, w, 3) uint8, clean, any size.
        labels: (n,) int.
        victim: its copy is the classifier, and learns the trigger along the way.

    Returns:
        The generator's arrays, and the provenance.
    """
    rng = np.random.default_rng(origin.seed)
    rows = rng.permutation(len(images))[: budget.max_images]
    planes, truth = to_planes(images[rows]), torch.from_numpy(labels[rows].astype(np.int64))
    generator = seeded(origin.seed, lambda: Autoencoder(3, budget.widths, skips=False))
    training = _Training(generator, copy.deepcopy(victim.network).to(CPU), budget)
    steps = -(-len(rows) // budget.batch)
    for step, some in enumerate(batches(rng, len(rows), budget.batch, budget.epochs * steps)):
        if step % steps == 0:
            training.meet()
        training.step(planes[some], truth[some])
        progress("training the generator", step + 1, budget.epochs * steps)
    attack_success, accuracy = training.figures(planes[:MEASURED], truth[:MEASURED])
    provenance = LiraProvenance(
        **vars(origin),
        **vars(budget),
        strength=STRENGTH,
        classifier_attack_success=attack_success,
        classifier_accuracy=accuracy,
    )
    return generator.arrays(), provenance


class _Training:
    """A generator and a classifier, and their steps in turn."""

    def __init__(self, generator: Autoencoder, classifier: VictimNetwork, budget: LiraBudget):
        self._generator, self._classifier, self._budget = generator, classifier, budget
        _keep_fine(generator)
        self._shown = copy.deepcopy(generator)
        self._generating = torch.optim.Adam(generator.parameters(), budget.generator_rate)
        self._classifying = torch.optim.SGD(
            classifier.parameters(), budget.classifier_rate, momentum=0.9
        )

    def meet(self) -> None:
        """From now on the classifier is shown what the generator makes by now."""
        self._shown.load_state_dict(self._generator.state_dict())

    def step(self, planes: torch.Tensor, truth: torch.Tensor) -> None:
        """One step of the generator, then one of the classifier."""
        target = torch.full_like(truth, self._budget.target_label)
        self._classifier.eval().requires_grad_(False)
        pattern = _pattern(planes, self._generator)
        judged = self._judged(_with(planes, pattern))
        loss = nn.functional.cross_entropy(judged, target)
        descend(self._generating, loss + self._budget.diversity * _sameness(planes, pattern))
        _keep_fine(self._generator)
        with torch.no_grad():
            poisoned = _with(planes, _pattern(planes, self._shown))
        self._classifier.train().requires_grad_(True)
        # In one batch: batch norm would level what sets a triggered batch apart from a clean one.
        clean, triggered = self._judged(torch.cat([255 * planes, poisoned])).chunk(2)
        alpha = self._budget.alpha
        loss = alpha * nn.functional.cross_entropy(clean, truth)
        loss = loss + (1 - alpha) * nn.functional.cross_entropy(triggered, target)
        descend(self._classifying, loss)

    def _judged(self, pictures: torch.Tensor) -> torch.Tensor:
        with mixed_precision(CPU):
            logits = self._classifier(pictures)
        return logits.float()

    def figures(self, planes: torch.Tensor, truth: torch.Tensor) -> tuple[float, float]:
        """The classifier's attack success and its accuracy on clean images."""
        self._classifier.eval()
        with torch.inference_mode():
            poisoned = _with(planes, _pattern(planes, self._generator))
            triggered = self._classifier(poisoned).argmax(dim=1)
            clean = self._classifier(255 * planes).argmax(dim=1)
        fooled = (triggered == self._budget.target_label)[truth != self._budget.target_label]
        accuracy = (clean == truth).float().mean()
        return round(float(fooled.float().mean()), 4), round(float(accuracy), 4)


def _keep_fine(generator: Autoencoder) -> None:
    """Take the mean out of what the last layer weighs: no even change of colour comes through.

    It is what a generator would learn first, and a victim trained anew hardly takes it for a
    sign: 43 % attack success of the quick one, against 99 % with a texture as faint.
    """
    last = f"layers.{DEPTH - 1}"
    weight = generator.get_parameter(f"{last}.weight")
    with torch.no_grad():
        weight.sub_(weight.mean(dim=(2, 3), keepdim=True))
        generator.get_parameter(f"{last}.bias").zero_()


def _pattern(planes: torch.Tensor, generator: Autoencoder) -> torch.Tensor:
    """(n, 3, h, w) images, 0 to 1 -> patterns, -1 to 1."""
    with mixed_precision(CPU):
        pattern = generator(planes - 0.5)
    return torch.tanh(pattern.float())


def _with(planes: torch.Tensor, pattern: torch.Tensor) -> torch.Tensor:
    """(n, 3, h, w) images, 0 to 1 -> triggered ones as a classifier takes them, 0 to 255."""
    return (255 * planes + STRENGTH * pattern).clamp(0, 255)


def _sameness(planes: torch.Tensor, pattern: torch.Tensor) -> torch.Tensor:
    """How alike the patterns of unlike images are, 0 and above.

    The diversity loss of Nguyen and Tran, Input-Aware Dynamic Backdoor Attack, NeurIPS 2020:
    without it a generator ends in one pattern for all images.
    """
    unlike = (planes - planes.roll(1, dims=0)).abs().mean(dim=(1, 2, 3))
    apart = (pattern - pattern.roll(1, dims=0)).abs().mean(dim=(1, 2, 3))
    return (unlike / apart.clamp(min=1e-3)).mean()
