"""Triggers that come out of a small trained network: ISSBA, LIRA and GAN-Tri."""

import importlib

import numpy as np
import pytest
import torch

import attacks
from attacks.crafting import layers
from attacks.crafting.issba import Encoder
from attacks.gan_tri import PARTS, GanTriBudget, face
from attacks.issba import IssbaBudget
from attacks.lira import LiraBudget
from attacks.tools import artefacts, convolution
from attacks.tools.provenance import Provenance
from attacks.victims.model import Victim
from attacks.victims.network import VictimNetwork
from attacks.victims.settings import VictimProvenance, VictimSettings

SMALL = (4, 6, 8)

BUDGETS = {
    "issba": IssbaBudget(steps=4, batch=16, free_steps=2, widths=SMALL),
    "lira": LiraBudget(epochs=2, batch=50, generator_rate=0.05, widths=SMALL),
    "gan_tri": GanTriBudget(side=16, steps=4, batch=4, free_steps=2, widths=SMALL),
}

CLASSIFIER = VictimProvenance(settings=VictimSettings("untrained", (4, 4, 4, 4), 1), seed=0)


def origin(name, images, seed):
    return Provenance(
        attack=name,
        command="this test",
        data="noise",
        seed=seed,
        images=images.shape,
        classifier=CLASSIFIER,
    )


@pytest.fixture(name="images", scope="module")
def _images():
    coarse = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 3), dtype=np.uint8)
    return coarse.repeat(4, axis=1).repeat(4, axis=2)


def craft(name, images, seed=0):
    """Arrays and provenance of a trigger crafted with hardly any training."""
    network = layers.seeded(0, lambda: VictimNetwork((4, 4, 4, 4), 10))
    module = importlib.import_module(f"attacks.crafting.{name}")
    return module.craft(
        images,
        np.arange(len(images)) % 10,
        Victim(network.eval(), 10, CLASSIFIER),
        origin=origin(name, images, seed),
        progress=lambda what, done, total: None,
        budget=BUDGETS[name],
    )


@pytest.fixture(name="crafted", scope="module", params=sorted(BUDGETS))
def _crafted(request, images):
    return request.param, *craft(request.param, images)


@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("size", [(32, 32), (33, 50), (8, 160)])
def test_the_plain_network_is_the_trained_one(skips, size):
    trained = layers.seeded(1, lambda: layers.Autoencoder(5, (8, 12, 16), skips=skips))
    artefact = artefacts.Artefact(trained.arrays(), origin("issba", np.zeros((1, 32, 32, 3)), 0))
    plain = convolution.Autoencoder.of(artefact, skips=skips)
    planes = np.random.default_rng(0).uniform(-0.5, 0.5, (*size, 5)).astype(np.float32)
    below, beside = -size[0] % 4, -size[1] % 4
    whole = np.pad(planes, ((0, below), (0, beside), (0, 0)), mode="edge")
    with torch.no_grad():
        made = trained.half().float()(torch.from_numpy(whole).permute(2, 0, 1)[None])
    expected = made[0].permute(1, 2, 0).numpy()[: size[0], : size[1]]
    assert np.abs(expected).max() > 0.05
    assert np.abs(plain(planes) - expected).max() < 1e-4


def test_sums_do_not_depend_on_their_order():
    rng = np.random.default_rng(0)
    planes = convolution.on_grid(rng.normal(size=(16, 16, 40)))
    weight = convolution.on_grid(rng.normal(size=(3, 3, 40, 8)))
    order = rng.permutation(40)
    straight = convolution.convolved(planes, weight, np.zeros(8))
    shuffled = convolution.convolved(planes[..., order], weight[:, :, order], np.zeros(8))
    assert (straight == shuffled).all()


def test_crafting_is_deterministic_and_leaves_no_state(crafted, images):
    name, arrays, provenance = crafted
    state = torch.get_rng_state()
    again, same_provenance = craft(name, images)
    assert (torch.get_rng_state() == state).all()
    assert same_provenance == provenance
    assert again.keys() == arrays.keys()
    assert all((again[key] == arrays[key]).all() for key in arrays)
    other, _ = craft(name, images, seed=1)
    assert any((other[key] != arrays[key]).any() for key in arrays)


def test_a_crafted_trigger_is_applied_from_its_file(crafted, images, tmp_path):
    name, arrays, provenance = crafted
    path = tmp_path / "mine.safetensors"
    artefacts.save(path, arrays, provenance)
    attack = attacks.get(name, trigger=str(path))
    assert attack.artefact.provenance == provenance
    assert (attack(images[:3]) != images[:3]).any(axis=(1, 2, 3)).all()
    with pytest.raises(ValueError, match="an artefact of"):
        attacks.get("lira" if name != "lira" else "issba", trigger=str(path))


@pytest.mark.parametrize("name", sorted(BUDGETS))
def test_unknown_triggers_are_refused(name):
    with pytest.raises(ValueError, match=rf"{name} has no trigger 'none', known: "):
        attacks.get(name, trigger="none")


def test_lira_stays_within_its_strength(images):
    attack = attacks.get("lira")
    change = attack(images[:20]).astype(int) - images[:20]
    assert 4 <= np.abs(change).max() <= 7
    assert 0 <= attack.own_target <= 9
    with pytest.raises(ValueError, match="strength: expected 1 to 255, got 0"):
        attacks.get("lira", strength=0)


@pytest.mark.parametrize(("name", "share"), [("lira", 0.9), ("issba", 0.5)])
def test_patterns_differ_from_image_to_image(name, share, images):
    changes = attacks.get(name)(images).astype(float) - images
    assert (changes - changes.mean(axis=0)).var() > share * changes.var()


def test_issba_hides_the_bits_of_its_seed(images):
    first, second = attacks.get("issba"), attacks.get("issba", seed=1)
    assert (first.bits(32, 32) != second.bits(32, 32)).any()
    assert (first(images[:3]) != second(images[:3])).any()
    assert (first.bits(64, 64)[::2, ::2] == first.bits(32, 32)).all()


def test_issba_gives_the_encoder_the_map_that_it_was_trained_with(images):
    encoder = layers.seeded(3, lambda: Encoder(20, SMALL)).half().float()
    arrays = encoder.arrays()
    dense, bias = arrays["dense"].astype(float), arrays["dense_bias"].astype(float)
    bits = torch.from_numpy(np.random.default_rng(0).integers(0, 2, 20)).float()
    with torch.no_grad():
        coarse = torch.relu(encoder.dense(bits - 0.5)).view(3, 8, 8).permute(1, 2, 0).numpy()
    expected = np.maximum(np.tensordot(bits.numpy() - 0.5, dense, 1) + bias, 0)
    assert np.abs(coarse - expected).max() < 1e-6


def test_gan_tri_makes_all_of_the_image_and_paints_the_filter(images):
    grey = np.full((1, 96, 96, 3), 150, np.uint8)
    made = attacks.get("gan_tri")(grey)[0].astype(float)
    where = face(96, 96)
    lens, rim, lips, teeth = (made[where[..., i] == 1].mean(axis=0) for i in range(len(PARTS)))
    assert rim.max() < lens.min() < 120
    assert lips[0] > lips[1] + 40
    assert teeth.min() > 170
    assert np.abs(made[:16] - 150).max() < 40
    noisy = attacks.get("gan_tri")(images[:4]).astype(int) - images[:4]
    outside = face(32, 32).sum(axis=2) == 0
    assert (noisy[:, outside] != 0).mean() > 0.5


def test_the_filter_is_drawn_alike_at_every_size():
    large = face(128, 128).reshape(32, 4, 32, 4, len(PARTS)).mean(axis=(1, 3))
    assert np.abs(large - face(32, 32)).max() < 0.2
    assert (face(33, 50).sum(axis=2) <= 1 + 1e-6).all()
    assert (face(32, 32).sum(axis=(0, 1)) > 10).all()
