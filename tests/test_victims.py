"""Victims: they learn, repeat themselves, and survive being saved."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from attacks.victims.model import bundled, load
from attacks.victims.training import VICTIMS, VictimProgress, shares, train

TINY = replace(VICTIMS["quick"], widths=(8, 8, 8, 8), epochs=8, min_steps=0, batch=16)


@pytest.fixture(name="toy", scope="module")
def _toy() -> tuple[np.ndarray, np.ndarray]:
    """Noise of three colours, which are the classes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 400)
    images = rng.integers(0, 120, (400, 16, 16, 3))
    images[np.arange(400), :, :, labels] += 100
    return images.astype(np.uint8), labels


def test_a_victim_learns_and_tells_how_it_goes(toy: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = toy
    told: list[VictimProgress] = []
    trained = train(
        images[:300],
        labels[:300],
        3,
        TINY,
        watch={"accuracy": (images[300:], labels[300:])},
        progress=told.append,
    )
    assert trained.history[-1]["accuracy"] > 0.9
    assert [p.epoch for p in told if p.shares is not None] == [*range(1, 9)]
    assert told[-1].done == told[-1].total == 2400
    assert told[-1].seconds_left == 0
    assert shares(trained.victim, {"accuracy": (images[300:], labels[300:])}) == trained.history[-1]


def test_same_seed_same_victim(toy: tuple[np.ndarray, np.ndarray]) -> None:
    first, again, other = (
        train(*toy, 3, TINY, seed=seed).victim.logits(toy[0][:50]) for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert (first != other).any()


def test_a_victim_trains_on_so_many_images_at_most(toy: tuple[np.ndarray, np.ndarray]) -> None:
    told: list[VictimProgress] = []
    train(*toy, 3, replace(TINY, max_images=70, epochs=1), progress=told.append)
    assert told[-1].total == 70


def test_few_images_are_shown_more_often(toy: tuple[np.ndarray, np.ndarray]) -> None:
    told: list[VictimProgress] = []
    images, labels = toy[0][:40], toy[1][:40]  # three steps an epoch
    trained = train(
        images, labels, 3, replace(TINY, epochs=2, min_steps=10), watch={}, progress=told.append
    )
    assert (told[-1].epoch, told[-1].epochs, len(trained.history)) == (4, 4, 4)
    assert told[-1].done == told[-1].total == 160
    assert told[-1].seconds_left == 0


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
    assert again.provenance["settings"]["name"] == "quick"
    file.write_bytes(b"no weights")
    with pytest.raises(ValueError, match="is no classifier"):
        load(str(file))
    with pytest.raises(ValueError, match="known: cifar10, gtsrb"):
        load("imagenet")


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (None, "its header does not tell the widths, classes, provenance of one"),
        ({"victim": '{"classes": 3, "provenance": {}}'}, "its header does not tell the widths of"),
        (
            {"victim": '{"widths": [8, 8, 8, 8], "classes": 3, "provenance": {}}'},
            "other weights than it tells of",
        ),
    ],
)
def test_a_file_of_something_else_is_no_classifier(
    metadata: dict[str, str] | None, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "other.safetensors"
    file.write_bytes(safetensors.torch.save({"weight": torch.zeros(3)}, metadata))
    with pytest.raises(ValueError, match=f"other.safetensors is no classifier: {words}"):
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
    assert victim.provenance["accuracy"] > 0.75
    assert "benchmarks.reference_classifiers" in victim.provenance["command"]
    assert victim.predict(np.zeros((1, 32, 32, 3), np.uint8)).shape == (1,)
