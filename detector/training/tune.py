"""Tuning: the judge learns what the clean images of one source look like.

The experts stay as they are, so a hundred images are enough and minutes suffice. What the tuned
detector loses and finds is measured on images that its judge has not seen: the images are split
five ways, and each fifth is scored by a judge that was tuned on the others. These scores calibrate
it, too. Where tuning finds no more than before, only the calibration is new.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from detector.calibration import MIN_IMAGES, Calibration
from detector.card import Card, TrainingSet
from detector.inputs import About, Parts
from detector.model import Detector
from detector.network import Network, opinions_of
from detector.training.histories import jpeg
from detector.training.manipulations import manipulate
from detector.training.tuning import Tuning
from sanitizer.training import TrainingObserver, TrainingState

#: Parts that the images are split into.
FOLDS = 5

#: Pairs of a clean and a manipulated view, in all, and of one image at least.
PAIRS, PAIRS_OF_IMAGE = 4_000, 4

#: Share of the pairs of a JPEG that are encoded as it is after the manipulation.
REENCODED = 0.5

#: Pairs of a step.
BATCH = 128

#: Share of clean views that the found manipulations are counted at.
LOSS = 0.01

#: A judge is taken for another if it finds this share more: less is chance.
LEAST_GAIN = 0.01


@dataclass(frozen=True)
class TrustedImage:
    """A clean image of the source."""

    parts: Parts
    quality: int | None  #: of the JPEG that it is; None for others


def tune(
    detector: Detector,
    images: Sequence[TrustedImage],
    *,
    name: str,
    training_data: TrainingSet,
    seed: int = 0,
    observer: TrainingObserver = lambda state: None,
) -> tuple[Detector, Tuning]:
    """A detector for the source of some clean images.

    Deterministic: the same detector, images and seed give the same detector.

    Args:
        images: 99 or more; of fewer no clean loss of 1 % can be promised.
        name: of the new detector.
        training_data: what its card says of the images.
        observer: called when each judge is tuned.

    Returns:
        The detector, calibrated on the images, and what tuning came to.

    Raises:
        ValueError: too few images.
    """
    if len(images) < MIN_IMAGES:
        raise ValueError(f"expected at least {MIN_IMAGES} clean images, got {len(images)}")
    rng = np.random.default_rng([seed, 1 << 34])
    fold = rng.permutation(np.arange(len(images)) % FOLDS)
    network = detector.network()
    views = _Views.of(network, images, fold, rng)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        judges = []
        for number in range(FOLDS + 1):  # the last one learns from all
            judge, loss = _tuned(network.judge, views, fold[views.image] != number)
            judges.append(judge)
            observer(TrainingState(number + 1, FOLDS + 1, number + 1, FOLDS + 1, loss))
    untouched = views.judged(network.judge)
    before, unseen = views.found(untouched), untouched.copy()
    for number, judge in enumerate(judges[:FOLDS]):
        mine = fold[views.image] == number
        unseen[:, mine] = views.judged(judge)[:, mine]
    after = views.found(unseen)
    suspicious = _suspicious(detector, images)
    tuning = Tuning(len(images), suspicious, before, after, after >= before + LEAST_GAIN)
    chosen = judges if tuning.judge_tuned else [network.judge] * (FOLDS + 1)
    card = replace(
        detector.card,
        name=name,
        training_data=(*detector.card.training_data, training_data),
        calibration_data=f"{training_data.name}, by judges that were tuned on other images of it",
        held_out_detection_at_1_percent_clean_loss={training_data.name: tuning.after},
    )
    return _calibrated(detector, network, chosen, images, fold, card), tuning


def _suspicious(detector: Detector, images: Sequence[TrustedImage]) -> int:
    """How many of the images score higher than nearly all clean ones that the detector knows."""
    scores = detector.score([image.parts for image in images])
    return int((detector.calibration.p_values(scores).values <= LOSS).sum())


@dataclass(frozen=True)
class _Views:
    """Pairs of clean and manipulated views, as the experts see them."""

    opinions: torch.Tensor  #: (2, n, k), clean and manipulated
    image: np.ndarray  #: (n,) which image each pair is of

    @classmethod
    def of(
        cls,
        network: Network,
        images: Sequence[TrustedImage],
        fold: np.ndarray,
        rng: np.random.Generator,
    ) -> "_Views":
        each = max(PAIRS_OF_IMAGE, math.ceil(PAIRS / len(images)))
        image = np.repeat(np.arange(len(images)), each)
        # What is laid over an image comes from its own fold, so that no judge has seen it.
        others = [np.flatnonzero(fold == number) for number in range(FOLDS)]
        pairs = np.stack(
            [
                _pair(images[place], images[int(rng.choice(others[fold[place]]))], rng)
                for place in image.tolist()
            ],
            axis=1,
        )
        return cls(torch.stack([opinions_of(network, half) for half in pairs]), image)

    def judged(self, judge: nn.Module) -> np.ndarray:
        """(2, n) logits of the clean and the manipulated views."""
        with torch.inference_mode():
            return judge.eval()(self.opinions).squeeze(2).float().cpu().numpy()

    @staticmethod
    def found(logits: np.ndarray) -> float:
        """Share of the manipulated views above all but ``LOSS`` of the clean ones."""
        clean, changed = logits
        return float((changed > np.quantile(clean, 1 - LOSS)).mean())


def _pair(own: TrustedImage, other: TrustedImage, rng: np.random.Generator) -> np.ndarray:
    """(2, side, side, 3) uint8: a tile of an image, and the same with a manipulation."""
    tile = own.parts.tiles[rng.integers(len(own.parts))]
    clean = np.ascontiguousarray(tile[:, ::-1] if rng.random() < 0.5 else tile)
    layer = other.parts.tiles[rng.integers(len(other.parts))]
    changed = manipulate(clean, layer, rng)
    if own.quality is not None and rng.random() < REENCODED:
        clean, changed = (jpeg(pixels, own.quality) for pixels in (clean, changed))
    return np.stack([clean, changed])


def _tuned(judge: nn.Module, views: _Views, learns: np.ndarray) -> tuple[nn.Module, float]:
    """A copy of the judge that has learnt from some of the pairs, and its last loss."""
    judge = copy.deepcopy(judge).train()
    images = len(np.unique(views.image))
    steps = min(max(images, 200), 1000)
    optimizer = torch.optim.AdamW(judge.parameters(), min(3e-4 * math.sqrt(images / 100), 1e-3))
    opinions = views.opinions[:, torch.from_numpy(np.flatnonzero(learns))]
    truth = torch.tensor([[0.0], [1.0]], device=opinions.device).expand(2, BATCH)
    for _ in range(steps):
        rows = torch.randint(opinions.shape[1], (BATCH,))
        logits = judge(opinions[:, rows]).squeeze(2)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return judge.eval(), float(loss.detach())


def _calibrated(
    detector: Detector,
    network: Network,
    judges: Sequence[nn.Module],
    images: Sequence[TrustedImage],
    fold: np.ndarray,
    card: Card,
) -> Detector:
    """The detector with the last judge, calibrated by the scores that the others give."""
    logits: list[np.ndarray] = [np.zeros(0)] * len(images)
    for number, judge in enumerate(judges[:FOLDS]):
        one = detector.with_network(_with_judge(network, judge), card)
        mine = np.flatnonzero(fold == number).tolist()
        for place, of_image in zip(mine, one.logits([images[i].parts for i in mine]), strict=True):
            logits[place] = of_image
    about: list[About] = [image.parts.about for image in images]
    whole = detector.with_network(_with_judge(network, judges[-1]), card)
    return whole.calibrated(
        Calibration.of_trusted(whole.scores(logits, about)), whole.card.combinations
    )


def _with_judge(network: Network, judge: nn.Module) -> Network:
    other = copy.deepcopy(network)
    other.judge.load_state_dict(judge.state_dict())
    return other
