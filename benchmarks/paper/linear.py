"""A linear classifier of the DCT of the whole image, by the size of the image.

The paper has one for large inputs: at 224 px clean and manipulated images are linearly separable in
the frequency domain, and less so the smaller they are. Manipulations grow with the image here.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from sanitizer.dct import dct2

#: Sides of the images, in pixels.
SIDES = (32, 64, 128, 224)

#: Passes over the training images, the rate and the decay of AdamW, and images of a step.
EPOCHS, LEARNING_RATE, DECAY, BATCH = 20, 1e-3, 1e-2, 64


@dataclass(frozen=True)
class LinearDetector:
    """Logits that are a weighted sum of log-magnitudes of all coefficients."""

    centre: np.ndarray  #: (3 s s,) float32, of the clean training images
    spread: np.ndarray
    layer: nn.Linear

    @classmethod
    def fit(cls, clean: np.ndarray, changed: np.ndarray, seed: int) -> "LinearDetector":
        """Learn to tell (n, s, s, 3) uint8 manipulated images from clean ones."""
        torch.manual_seed(seed)
        features = np.concatenate([_log_dct(clean), _log_dct(changed)])
        centre = features[: len(clean)].mean(0, dtype=np.float32)
        spread = features[: len(clean)].std(0, dtype=np.float32) + 0.1
        layer = nn.Linear(features.shape[1], 1)
        nn.init.zeros_(layer.weight)
        optimizer = torch.optim.AdamW(layer.parameters(), LEARNING_RATE, weight_decay=DECAY)
        truth = np.repeat([0, 1], [len(clean), len(changed)]).astype(np.float32)
        detector = cls(centre, spread, layer)
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(features)).split(BATCH):
                inputs = detector.standard(features[rows.numpy()])
                logits = layer(inputs).squeeze(1)
                loss = nn.functional.binary_cross_entropy_with_logits(
                    logits, torch.from_numpy(truth[rows.numpy()])
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return detector

    def standard(self, features: np.ndarray) -> torch.Tensor:
        """(n, 3 s s) float32 features in deviations from the mean of clean images."""
        return torch.from_numpy((features.astype(np.float32) - self.centre) / self.spread)

    def flagged(self, images: np.ndarray) -> np.ndarray:
        """(n,) bool: which of (n, s, s, 3) uint8 images are called manipulated."""
        with torch.inference_mode():
            return (self.layer(self.standard(_log_dct(images))).squeeze(1) > 0).numpy()


def _log_dct(images: np.ndarray) -> np.ndarray:
    """(n, 3 s s) float16: at 224 px thousands of images would not fit in memory otherwise."""
    parts = [np.log1p(np.abs(dct2(images[i : i + 64]))) for i in range(0, len(images), 64)]
    return np.concatenate([part.reshape(len(part), -1).astype(np.float16) for part in parts])
