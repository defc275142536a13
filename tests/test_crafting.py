"""Optimised triggers: they do to a classifier what they are made for, within their bounds."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import torch

import attacks
from attacks import crafting
from attacks.crafting import l0_inv, l2_inv, smooth, trojan
from attacks.tools import artefacts
from attacks.tools.provenance import Provenance
from attacks.victims.model import Victim, as_tensor, load
from attacks.victims.network import VictimNetwork
from attacks.victims.settings import VictimProvenance, VictimSettings
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
    settings = VictimSettings("untrained", (4, 8, 8, 16), epochs=1)
    return Victim(network.eval(), 5, VictimProvenance(settings=settings, seed=0))


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


def craft(name: str, images: np.ndarray, victim: Victim, file: Path, **options: Any) -> Provenance:
    labels = np.zeros(len(images), np.int64)
    return crafting.craft(
        name, images, labels, victim, file, seed=3, data="x", command="this test", **options
    )


def pattern_of(name: str, trigger: object) -> np.ndarray:
    """The pattern of a trigger, by its file or the name it ships under."""
    return attacks.get(name, trigger=str(trigger)).artefact.array("pattern", 3)


@pytest.mark.parametrize("name", NEURON_ATTACKS)
def test_the_trigger_excites_the_neurons(
    name: str, images: np.ndarray, victim: Victim, tmp_path: Path
) -> None:
    neurons = craft(name, images, victim, tmp_path / "t.safetensors").neurons
    attack = attacks.get(name, trigger=str(tmp_path / "t.safetensors"))

    def activation(shown: np.ndarray) -> float:
        with torch.no_grad():
            activations = victim.network.features(as_tensor(shown, victim.device))
        return float(activations.mean(0)[neurons].mean())

    assert activation(attack(images)) > 1.1 * activation(images)


def test_crafting_repeats_itself_and_reports(
    images: np.ndarray, victim: Victim, tmp_path: Path
) -> None:
    calls: list[tuple[str, int, int]] = []
    files = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    first, second = (
        craft("l2_inv", images, victim, file, progress=lambda *state: calls.append(state))
        for file in files
    )
    assert files[0].read_bytes() == files[1].read_bytes()
    assert first == second
    assert calls[-1][1] == calls[-1][2]
    assert (first.attack, first.data, first.seed) == ("l2_inv", "x", 3)
    assert first.classifier == victim.provenance
    assert attacks.get("l2_inv", trigger=str(files[0])).artefact.provenance == first


def test_the_norms_hold(images: np.ndarray, victim: Victim, tmp_path: Path) -> None:
    for name in ("l2_inv", "l0_inv"):
        craft(name, images, victim, tmp_path / f"{name}.safetensors")
    pattern = pattern_of("l2_inv", tmp_path / "l2_inv.safetensors")
    assert np.linalg.norm(pattern) == pytest.approx(255 * l2_inv.NORM, rel=1e-2)
    changed = attacks.get("l0_inv", trigger=str(tmp_path / "l0_inv.safetensors"))(images) != images
    assert 1 <= changed.any(axis=(0, 3)).sum() <= l0_inv.PIXELS


@pytest.mark.parametrize("name", SEARCHED)
def test_smooth_triggers_have_no_high_frequencies(
    name: str, images: np.ndarray, victim: Victim, tmp_path: Path
) -> None:
    provenance = craft(name, images, victim, tmp_path / "t.safetensors")
    pattern = pattern_of(name, tmp_path / "t.safetensors")
    spectrum = np.abs(np.fft.fft2(pattern - pattern.mean(), axes=(0, 1))) ** 2
    row, column = np.meshgrid(*[np.abs(np.fft.fftfreq(32)) * 32] * 2, indexing="ij")
    high = np.hypot(row, column) > 6
    assert spectrum[high].sum() < 0.01 * spectrum.sum()
    assert np.ptp(pattern) == pytest.approx(0.2 * 255, rel=0.01)
    attack = attacks.get(name, trigger=str(tmp_path / "t.safetensors"))
    assert attack.own_target == provenance.target_label


def test_algorithm_1_fools_the_classifier_more_than_no_trigger(
    images: np.ndarray, victim: Victim, tmp_path: Path
) -> None:
    provenance = craft("smooth", images, victim, tmp_path / "t.safetensors")
    pattern = torch.zeros(3, 32, 32)
    judged = as_tensor(images, victim.device)
    untouched, _ = smooth._fooled(victim.network, judged, smooth.min_max, pattern, 0)
    assert provenance.fooling_rate > untouched
    assert 0 <= provenance.target_label < victim.classes


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
        file = artefacts.folder() / f"{name}-{trigger}{artefacts.SUFFIX}"
        assert file.stat().st_size < 100_000
        provenance = attacks.get(name, trigger=trigger).artefact.provenance
        assert provenance.attack == name
        assert "benchmarks.shipped_triggers" in provenance.command
        assert provenance.data


@pytest.mark.parametrize("name", crafting.names())
def test_the_provenance_of_a_shipped_trigger_is_all_that_its_file_says(name: str) -> None:
    for trigger in artefacts.bundled(name):
        file = artefacts.folder() / f"{name}-{trigger}{artefacts.SUFFIX}"
        with safetensors.safe_open(file, framework="np") as artefact:
            header = json.loads(artefact.metadata()["provenance"])
        provenance = attacks.get(name, trigger=trigger).artefact.provenance
        assert json.loads(json.dumps(provenance.to_json())) == header


def test_a_shipped_trigger_is_rebuilt_from_its_command(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    assert "smooth" in TRIGGERS["gtsrb"]
    data = DATA["gtsrb"](data_dir)
    file = tmp_path / "rebuilt.safetensors"
    provenance = crafting.craft(
        "smooth",
        data.images,
        data.labels,
        load("gtsrb"),
        file,
        seed=0,
        data="GTSRB",
        command="this test",
    )
    assert provenance.target == attacks.get("smooth", trigger="gtsrb").own_target
    shipped, rebuilt = pattern_of("smooth", "gtsrb"), pattern_of("smooth", file)
    assert np.abs(shipped - rebuilt).max() <= 0.02 * np.ptp(shipped)
