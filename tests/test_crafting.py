"""Optimised triggers: they do to a classifier what they are made for, within their bounds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import attacks
from attacks import crafting
from attacks.crafting import l0_inv, l2_inv, smooth, trojan
from attacks.tools import artefacts
from attacks.victims.model import Victim, as_tensor, load
from attacks.victims.network import VictimNetwork
from benchmarks.shipped_triggers import TRIGGERS
from benchmarks.victim_data import DATA

NEURON_ATTACKS = ("trojan_square", "trojan_watermark", "l2_inv", "l0_inv")
SEARCHED = ("smooth", "lf")


@pytest.fixture(name="victim", scope="module")
def _victim() -> Victim:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = VictimNetwork((4, 8, 8, 16), 5)
    network.mean.fill_(120.0)
    network.std.fill_(60.0)
    return Victim(network.eval(), (4, 8, 8, 16), 5, {"data": "none, random weights"})


@pytest.fixture(name="images", scope="module")
def _images() -> np.ndarray:
    """Smooth random pictures, (200, 32, 32, 3) uint8."""
    coarse = np.random.default_rng(0).integers(0, 256, (200, 4, 4, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trojan, "STEPS", 15)
    monkeypatch.setattr(l2_inv, "STEPS", 15)
    monkeypatch.setattr(l0_inv, "STEPS_PER_ROUND", 4)
    monkeypatch.setattr(smooth, "PASSES", 2)


def craft(name: str, images: np.ndarray, victim: Victim, file: Path, **told: Any) -> dict[str, Any]:
    labels = np.zeros(len(images), np.int64)
    return crafting.craft(name, images, labels, victim, file, seed=3, about={"data": "x"}, **told)


@pytest.mark.parametrize("name", NEURON_ATTACKS)
def test_the_trigger_excites_the_neurons(
    name: str, images: np.ndarray, victim: Victim, tmp_path: Path
) -> None:
    facts = craft(name, images, victim, tmp_path / "t.safetensors")
    attack = attacks.get(name, trigger=str(tmp_path / "t.safetensors"))

    def activation(shown: np.ndarray) -> float:
        with torch.no_grad():
            return float(
                victim.network.features(as_tensor(shown, victim.device))
                .mean(0)[facts["neurons"]]
                .mean()
            )

    assert activation(attack(images)) > 1.1 * activation(images)


def test_crafting_repeats_itself_and_reports(
    images: np.ndarray, victim: Victim, tmp_path: Path
) -> None:
    told: list[tuple[str, int, int]] = []
    for file in ("one", "two"):
        facts = craft(
            "l2_inv",
            images,
            victim,
            tmp_path / f"{file}.safetensors",
            progress=lambda *state: told.append(state),
        )
    first, second = ((tmp_path / f"{f}.safetensors").read_bytes() for f in ("one", "two"))
    assert first == second
    assert told[-1][1] == told[-1][2]
    assert facts["attack"] == "l2_inv"
    assert facts["data"] == "x"
    assert facts["classifier"] == victim.provenance


def test_the_norms_hold(images: np.ndarray, victim: Victim, tmp_path: Path) -> None:
    for name in ("l2_inv", "l0_inv"):
        craft(name, images, victim, tmp_path / f"{name}.safetensors")
    pattern = artefacts.load("l2_inv", str(tmp_path / "l2_inv.safetensors")).array("pattern", 3)
    assert np.linalg.norm(pattern) == pytest.approx(255 * l2_inv.NORM, rel=1e-2)
    changed = attacks.get("l0_inv", trigger=str(tmp_path / "l0_inv.safetensors"))(images) != images
    assert 1 <= changed.any(axis=(0, 3)).sum() <= l0_inv.PIXELS


@pytest.mark.parametrize("name", SEARCHED)
def test_smooth_triggers_have_no_high_frequencies(
    name: str, images: np.ndarray, victim: Victim, tmp_path: Path
) -> None:
    facts = craft(name, images, victim, tmp_path / "t.safetensors")
    pattern = artefacts.load(name, str(tmp_path / "t.safetensors")).array("pattern", 3)
    spectrum = np.abs(np.fft.fft2(pattern - pattern.mean(), axes=(0, 1))) ** 2
    row, column = np.meshgrid(*[np.abs(np.fft.fftfreq(32)) * 32] * 2, indexing="ij")
    high = np.hypot(row, column) > 6
    assert spectrum[high].sum() < 0.01 * spectrum.sum()
    assert np.ptp(pattern) == pytest.approx(0.2 * 255, rel=0.01)
    assert (
        attacks.get(name, trigger=str(tmp_path / "t.safetensors")).own_target
        == (facts["target_label"])
    )


def test_algorithm_1_fools_the_classifier_more_than_chance(
    images: np.ndarray, victim: Victim
) -> None:
    _, facts = smooth.craft(
        images, np.zeros(200), victim, seed=0, progress=lambda what, done, total: None
    )
    pattern = torch.zeros(3, 32, 32)
    judged = as_tensor(images, victim.device)
    untouched, _ = smooth._fooled(victim.network, judged, smooth.min_max, pattern, 0)
    assert facts["fooling_rate"] > untouched
    assert 0 <= facts["target_label"] < victim.classes


def test_what_cannot_be_crafted(images: np.ndarray, victim: Victim, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no attack 'badnets' with an optimised trigger, known: "):
        craft("badnets", images, victim, tmp_path / "t.safetensors")
    with pytest.raises(ValueError, match="at least 2 images"):
        craft("smooth", images[:1], victim, tmp_path / "t.safetensors")


def test_an_artefact_of_another_attack_is_refused(
    images: np.ndarray, victim: Victim, tmp_path: Path
) -> None:
    file = tmp_path / "t.safetensors"
    craft("l2_inv", images, victim, file)
    with pytest.raises(ValueError, match="an artefact of l2_inv, expected one of smooth"):
        attacks.get("smooth", trigger=str(file))
    with pytest.raises(ValueError, match="smooth has no trigger 'imagenet', known: cifar10"):
        attacks.get("smooth", trigger="imagenet")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match="not a whole artefact"):
        attacks.get("l2_inv", trigger=str(file))
    with pytest.raises(ValueError, match="No such file"):
        attacks.get("l2_inv", trigger=str(tmp_path / "none.safetensors"))


@pytest.mark.parametrize("name", crafting.names())
def test_shipped_triggers_are_small_and_say_where_they_come_from(name: str) -> None:
    assert artefacts.bundled(name)
    for trigger in artefacts.bundled(name):
        file = Path(artefacts.__file__).parents[1] / "artefacts" / f"{name}-{trigger}.safetensors"
        assert file.stat().st_size < artefacts.MAX_BYTES
        facts = artefacts.load(name, trigger).provenance
        assert facts["attack"] == name
        assert {"data", "command", "seed"} <= facts.keys()


def test_a_shipped_trigger_is_rebuilt_from_its_command(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    assert "smooth" in TRIGGERS["gtsrb"]
    data = DATA["gtsrb"](data_dir)
    file = tmp_path / "rebuilt.safetensors"
    facts = crafting.craft(
        "smooth", data.images, data.labels, load("gtsrb"), file, seed=0, about={}
    )
    shipped = artefacts.load("smooth", "gtsrb")
    assert facts["target_label"] == shipped.provenance["target_label"]
    ours = shipped.array("pattern", 3)
    rebuilt = artefacts.load("smooth", str(file)).array("pattern", 3)
    assert np.abs(ours - rebuilt).max() <= 0.02 * np.ptp(ours)
