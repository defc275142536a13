"""Victims: they learn, repeat themselves, and survive being saved."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from attacks.victims.model import bundled, load
from attacks.victims.settings import VICTIMS
from attacks.victims.training import OBSERVED_STEPS, shares, train
from sanitizer.training import TrainingState

TINY = replace(VICTIMS["quick"], widths=(8, 8, 8, 8), epochs=8, min_steps=0, batch=16)


@pytest.fixture(name="toy", scope="module")
def _toy() -> tuple[np.ndarray, np.ndarray]:
    """Noise of three colours, which are the classes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 400)
    images = rng.integers(0, 120, (400, 16, 16, 3))
    images[np.arange(400), :, :, labels] += 100
    return images.astype(np.uint8), labels


def test_a_victim_learns_and_is_observed(toy: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = toy
    states: list[TrainingState] = []
    trained = train(
        images[:300],
        labels[:300],
        3,
        TINY,
        watch={"accuracy": (images[300:], labels[300:])},
        observer=states.append,
    )
    assert trained.history[-1]["accuracy"] > 0.9
    assert [s.epoch for s in states if s.figures is not None] == [*range(1, 9)]
    assert [s.figures for s in states if s.figures is not None] == trained.history
    assert states[-1].done == states[-1].total == 2400
    assert trained.victim.provenance.history == trained.history
    assert shares(trained.victim, {"accuracy": (images[300:], labels[300:])}) == trained.history[-1]


def test_same_seed_same_victim(toy: tuple[np.ndarray, np.ndarray]) -> None:
    first, again, other = (
        train(*toy, 3, TINY, seed=seed).victim.logits(toy[0][:50]) for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert (first != other).any()


def test_a_victim_trains_on_so_many_images_at_most(toy: tuple[np.ndarray, np.ndarray]) -> None:
    states: list[TrainingState] = []
    train(*toy, 3, replace(TINY, max_images=70, epochs=1), observer=states.append)
    assert states[-1].total == 70


def test_an_observer_is_called_within_epochs_too(toy: tuple[np.ndarray, np.ndarray]) -> None:
    states: list[TrainingState] = []
    train(*toy, 3, replace(TINY, batch=8, epochs=2), observer=states.append)  # 50 steps an epoch
    expected = [8 * OBSERVED_STEPS, 16 * OBSERVED_STEPS, 400]
    assert [s.done for s in states] == [*expected, *(400 + done for done in expected)]
    assert [s.figures for s in states] == [None, None, {}] * 2


def test_few_images_are_shown_more_often(toy: tuple[np.ndarray, np.ndarray]) -> None:
    states: list[TrainingState] = []
    images, labels = toy[0][:40], toy[1][:40]  # three steps an epoch
    settings = replace(TINY, epochs=2, min_steps=10)
    trained = train(images, labels, 3, settings, observer=states.append)
    assert (states[-1].epoch, states[-1].epochs, len(trained.history)) == (4, 4, 4)
    assert states[-1].done == states[-1].total == 160


@pytest.mark.parametrize(
    ("name", "images", "epochs"),
    [("quick", 20_000, 5), ("quick", 1_200, 40), ("standard", 20_000, 6), ("standard", 50_000, 6)],
)
def test_only_small_sets_take_more_epochs(name: str, images: int, epochs: int) -> None:
    assert VICTIMS[name].epochs_of(images) == epochs


def test_a_saved_victim_answers_alike(toy: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    victim = train(*toy, 3, TINY).victim
    file = tmp_path / "victim.safetensors"
    victim.save(file)
    again = load(str(file))
    assert (again.predict(toy[0]) == victim.predict(toy[0])).mean() > 0.99
    assert again.provenance == victim.provenance
    file.write_bytes(b"no weights")
    with pytest.raises(ValueError, match="is no classifier"):
        load(str(file))
    with pytest.raises(ValueError, match="known: cifar10, gtsrb"):
        load("imagenet")


def header(**fields: object) -> dict[str, str]:
    """What the file of a victim says beside its weights, with some fields of another kind."""
    settings = {"name": "tiny", "widths": [8, 8, 8, 8], "epochs": 1}
    usual = {"widths": [8, 8, 8, 8], "classes": 3, "provenance": {"settings": settings, "seed": 0}}
    return {"victim": json.dumps(usual | fields)}


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (None, "Object missing required field `widths`"),
        ({"victim": "[]"}, "Expected `object`, got `array`"),
        (header(widths=[8, 8, 8]), "Expected `array` of length 4, got 3"),
        (header(classes="three"), "Expected `int`, got `str` - at `$.classes`"),
        (header(), "its weights are not those of the network in its header"),
    ],
)
def test_a_file_of_something_else_is_no_classifier(
    metadata: dict[str, str] | None, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "other.safetensors"
    file.write_bytes(safetensors.torch.save({"weight": torch.zeros(3)}, metadata))
    with pytest.raises(ValueError, match=re.escape(f"other.safetensors is no classifier: {words}")):
        load(str(file))


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (np.zeros((0, 8, 8, 3), np.uint8), np.zeros(0, int), "n >= 1"),
        (np.zeros((2, 8, 8, 3), np.float32), np.zeros(2, int), "uint8"),
        (np.zeros((2, 7, 8, 3), np.uint8), np.zeros(2, int), "at least 8 px"),
        (np.zeros((2, 8, 8, 3), np.uint8), np.array([0, 3]), "from 0 to 2"),
        (np.zeros((2, 8, 8, 3), np.uint8), np.zeros(1, int), "expected 2"),
    ],
)
def test_what_cannot_be_trained_on(images: np.ndarray, labels: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        train(images, labels, 3, TINY)


@pytest.mark.parametrize("name", bundled())
def test_shipped_classifiers_say_where_they_come_from(name: str) -> None:
    victim = load(name)
    assert victim.provenance.accuracy > 0.75
    assert "benchmarks.reference_classifiers" in victim.provenance.command
    assert victim.predict(np.zeros((1, 32, 32, 3), np.uint8)).shape == (1,)
