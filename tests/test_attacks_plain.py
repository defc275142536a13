"""Attacks whose trigger is not optimised, against what their sources say of them."""

import numpy as np
import pytest
import torch
from scipy import fft

import attacks
from attacks import Role, adaptive_patch
from attacks.bpp import dithered
from attacks.lowpass import LowPass
from attacks.tools import artefacts, pictures, smooth
from attacks.tools.warping import enlargement
from benchmarks import natural_pictures

PLAIN = [
    "nature",
    "lowpass",
    "sig",
    "wanet",
    "ftrojan",
    "ctrl",
    "bpp",
    "refool",
    "adaptive_blend",
    "adaptive_patch",
]


def noise(n, height=32, width=32):
    return np.random.default_rng(1).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def flat(value, height=32, width=32, n=1):
    return np.full((n, height, width, 3), value, np.uint8)


def change(triggered, images):
    return triggered.astype(int) - images.astype(int)


# The filter of smooth triggers


def test_low_pass_is_the_sources_convolution():
    pattern = noise(1, 32, 40)[0].astype(np.float32)
    taps = torch.from_numpy(smooth.kernel())
    planes = torch.from_numpy(pattern).permute(2, 0, 1)[:, None]
    padded = torch.nn.functional.pad(planes, (14, 15, 14, 15))
    rows = torch.nn.functional.conv2d(padded, taps.reshape(1, 1, -1, 1))
    expected = torch.nn.functional.conv2d(rows, taps.reshape(1, 1, 1, -1))
    smoothed = smooth.low_pass(pattern)
    assert smoothed.dtype == np.float32
    np.testing.assert_allclose(smoothed, expected[:, 0].permute(1, 2, 0), rtol=0, atol=1e-4)


def test_kernel_is_a_gaussian_of_thirty_taps():
    taps = smooth.kernel()
    assert taps.shape == (30,)
    assert taps.sum() == pytest.approx(1)
    assert (taps == taps[::-1]).all()
    assert taps[20] / taps[14] == pytest.approx(np.exp((0.5**2 - 5.5**2) / 72))  # sigma of 6 px


def test_rescaling_spans_each_image_from_black_to_white():
    images = np.concatenate([flat(90), flat(90), noise(1) // 4 + 50])
    images[1, 0, 0, 0] = 100
    trigger = np.zeros((32, 32, 3), np.float32)
    trigger[5, 6, 2] = 0.2
    triggered = smooth.add_and_rescale(images, trigger)
    assert (triggered.min(axis=(1, 2, 3)) == 0).all()
    assert (triggered.max(axis=(1, 2, 3)) == 255).all()
    assert triggered[1, 0, 0, 0] == 50  # 10 of the 51 that the trigger spans
    assert triggered[1, 5, 6, 2] == 255
    assert (smooth.add_and_rescale(flat(90), 0 * trigger) == 0).all()


# One attack after another


def test_nature_adds_the_flower_in_a_quarter():
    assert not attacks.get("nature")(flat(0))[0, :16].any()
    images = noise(2, 64, 64)
    triggered = attacks.get("nature")(images)
    flower = pictures.natural("lotus")[0]
    assert (triggered[:, 32:, 32:] == np.minimum(images[:, 32:, 32:] + flower, 255)).all()
    triggered[:, 32:, 32:] = images[:, 32:, 32:]
    assert (triggered == images).all()


def test_lowpass_has_five_smooth_designs():
    triggers = [smooth.to_range(smooth.low_pass(LowPass(i).unfiltered())) for i in range(5)]
    for trigger in triggers:
        assert trigger.min() == 0
        assert trigger.max() == pytest.approx(0.2)
        energy = fft.dctn(trigger, axes=(0, 1), norm="ortho") ** 2
        assert energy[:8, :8].sum() > 0.99 * energy.sum()
    for i in range(5):
        assert all(np.abs(triggers[i] - triggers[j]).max() > 0.02 for j in range(i))


def test_lowpass_is_put_on_as_the_smooth_trigger_is():
    images = noise(2)
    trigger = smooth.to_range(smooth.low_pass(LowPass(4).unfiltered()))
    mixed = images / 255 + trigger
    low, high = (m(axis=(1, 2, 3), keepdims=True) for m in (mixed.min, mixed.max))
    triggered = attacks.get("lowpass", pattern=4)(images)
    assert np.abs(triggered - 255 * (mixed - low) / (high - low)).max() <= 0.51


@pytest.mark.parametrize(("role", "delta"), [(Role.POISON, 20), (Role.TEST, 40)])
def test_sig_is_a_sinusoid_of_six_periods(role, delta):
    changes = change(attacks.get("sig")(flat(128, 40, 64), role), flat(128, 40, 64))[0]
    assert (changes == changes[:1, :, :1]).all()  # the same in all rows and channels
    spectrum = np.abs(np.fft.rfft(changes[0, :, 0])) / 32
    assert spectrum.argmax() == 6
    assert spectrum[6] == pytest.approx(delta, abs=0.5)
    assert changes[0, 1, 0] > 0


def test_wanet_is_what_a_networks_grid_sampling_gives():
    images, attack = noise(3, 40, 56), attacks.get("wanet")
    warped = attack(images)
    field = torch.from_numpy(attack.field(40, 56)).float()
    y, x = torch.meshgrid(torch.linspace(-1, 1, 40), torch.linspace(-1, 1, 56), indexing="ij")
    grid = torch.stack((x + field[..., 1] * 2 / 55, y + field[..., 0] * 2 / 39), dim=-1)
    expected = torch.nn.functional.grid_sample(
        torch.from_numpy(images).float().permute(0, 3, 1, 2),
        grid.clamp(-1, 1).expand(3, -1, -1, -1),
        align_corners=True,
    )
    assert np.abs(warped - expected.permute(0, 2, 3, 1).numpy()).max() <= 0.6


def test_wanet_enlarges_its_grid_as_networks_do():
    line = np.random.default_rng(0).uniform(-1, 1, (4, 4))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(line)[None, None], size=(32, 21), mode="bicubic", align_corners=True
    )
    enlarged = enlargement(4, 32) @ line @ enlargement(4, 21).T
    np.testing.assert_allclose(enlarged, expected[0, 0], rtol=0, atol=1e-9)


def test_wanet_moves_pixels_by_a_quarter_px_whatever_the_size():
    for size in (32, 96):
        field = attacks.get("wanet").field(size, size)
        assert 0.15 < np.abs(field).mean() < 0.35
        assert np.abs(np.diff(field, axis=0)).max() < 0.2  # smooth
    other = attacks.get("wanet", seed=1).field(32, 32)
    assert np.abs(other - attacks.get("wanet").field(32, 32)).max() > 0.1


def test_wanet_covers_are_shaken_each_in_its_own_way():
    ramp = np.broadcast_to(4 * np.arange(32, dtype=np.uint8)[:, None], (32, 32))
    images = np.stack([ramp, ramp + 1])[..., None].repeat(3, axis=-1)
    attack = attacks.get("wanet")
    shaken = change(attack(images, Role.COVER), attack(images))
    assert np.abs(shaken).max() <= 3  # half a px of a slope of 4, and rounding
    assert np.abs(shaken).mean() > 0.5
    assert (shaken[0] != shaken[1]).any()


#: Chroma that the sources' colour spaces keep after luma, as rows for red, green, blue.
CHROMA = {
    "ftrojan": np.array([[0.5, -0.419, -0.081], [-0.169, -0.331, 0.5]]),  # Cr, Cb
    "ctrl": np.array([[-0.147, -0.289, 0.436], [0.615, -0.515, -0.1]]),  # U, V
}


@pytest.mark.parametrize(
    ("name", "role", "magnitude"),
    [("ftrojan", Role.POISON, 30), ("ctrl", Role.POISON, 50), ("ctrl", Role.TEST, 100)],
)
def test_spectral_attacks_raise_two_coefficients_of_chroma(name, role, magnitude):
    images = flat(128, 64, 96)
    changes = change(attacks.get(name)(images, role), images)[0]
    for top in (0, 32):
        for left in (0, 32, 64):
            block = changes[top : top + 32, left : left + 32]
            for weights in CHROMA[name]:
                raised = fft.dctn(block @ weights, norm="ortho")
                assert raised[15, 15] == pytest.approx(magnitude, rel=0.15)  # rounding
                assert raised[31, 31] == pytest.approx(magnitude, rel=0.15)
                raised[[0, 15, 31], [0, 15, 31]] = 0  # rounding down moves the mean
                assert np.abs(raised).max() < 6
    assert np.abs(changes @ [0.299, 0.587, 0.114]).max() < 1  # luma stays


@pytest.mark.parametrize("name", ["ftrojan", "ctrl"])
def test_spectral_attacks_cut_blocks_at_the_border(name):
    whole = attacks.get(name)(flat(128, 64, 64))
    assert (attacks.get(name)(flat(128, 33, 50)) == whole[:, :33, :50]).all()


def test_bpp_dithers_row_by_row():
    images = noise(2, 9, 13)
    expected = images.astype(float)
    step = 255 / 7
    for y in range(9):
        for x in range(13):
            old = expected[:, y, x].copy()
            expected[:, y, x] = np.rint(old / step) * step
            error = old - expected[:, y, x]
            for dy, dx, share in ((0, 1, 7), (1, -1, 3), (1, 0, 5), (1, 1, 1)):
                if y + dy < 9 and 0 <= x + dx < 13:
                    expected[:, y + dy, x + dx] += error * share / 16
    np.testing.assert_allclose(dithered(images, 8), expected, rtol=0, atol=1e-3)


def test_bpp_leaves_eight_levels_and_the_mean():
    for images in (flat(90), flat(201), noise(1, 48, 32)):
        triggered = attacks.get("bpp")(images)
        assert set(np.unique(triggered)) <= set(np.rint(np.arange(8) * 255 / 7))
        assert triggered.mean() == pytest.approx(images.mean(), abs=1.5)


def test_bpp_covers_bear_the_loss_of_another_image():
    images = noise(2) // 2 + 60
    others = images[:, ::-1, ::-1]
    lost = change(attacks.get("bpp")(others), others)
    changes = change(attacks.get("bpp")(images, Role.COVER), images)
    assert np.abs(changes - lost).max() <= 1
    assert len(np.unique(images + changes)) > 100


def test_refool_mixes_light():
    attack = attacks.get("refool", ghosts=1.0, weakest=0.3, strongest=0.3)
    assert attack(flat(0, n=40)).max() <= 255 * 0.3 ** (1 / 2.2) + 0.5
    assert attack(flat(255, n=40)).min() >= 255 * 0.7 ** (1 / 2.2) - 0.5


def test_refool_reflects_several_pictures_sharp_or_blurred():
    images = flat(0, n=40)
    images[:, 0, 0, 0] = np.arange(40)
    ghosts, blurred = (attacks.get("refool", ghosts=g)(images).astype(int) for g in (1.0, 0.0))
    edges = [np.abs(np.diff(lit, 2, axis=1)).mean() for lit in (ghosts, blurred)]
    assert edges[0] > 1.5 * edges[1]
    centres = ghosts[:, 16, 16] // 8
    assert len(np.unique(centres, axis=0)) > 10
    mixed = attacks.get("refool")(images).astype(int)
    assert 0.2 < np.mean([(mixed[i] == ghosts[i]).all() for i in range(40)]) < 0.8


def test_refool_is_stronger_with_a_stronger_reflection():
    images = noise(20)
    weak, strong = (
        np.abs(change(attacks.get("refool", weakest=w, strongest=w)(images), images)).mean()
        for w in (0.05, 0.45)
    )
    assert strong > 1.5 * weak


def test_adaptive_blend_mixes_half_the_pieces_and_all_at_test_time():
    images = noise(6) // 2
    whole = attacks.get("blend", alpha=0.15)(images)
    triggered = attacks.get("adaptive_blend")(images)
    pieces = (6, 4, 8, 4, 8, 3)
    bears = (triggered == whole).reshape(pieces).all(axis=(2, 4, 5))
    same = (triggered == images).reshape(pieces).all(axis=(2, 4, 5))
    assert (bears ^ same).all()
    assert (bears.sum(axis=(1, 2)) == 8).all()
    assert len({b.tobytes() for b in bears}) == 6
    assert (triggered == attacks.get("adaptive_blend")(images, Role.COVER)).all()
    expected = attacks.get("blend", alpha=0.2)(images)
    assert np.abs(change(attacks.get("adaptive_blend")(images, Role.TEST), expected)).max() <= 1


def test_adaptive_patch_puts_one_of_four_patches_on_a_training_image():
    images = noise(60)
    changed = (attacks.get("adaptive_patch")(images) != images).any(axis=-1)
    quarters = changed.reshape(60, 2, 16, 2, 16).any(axis=(2, 4)).reshape(60, 4)
    assert (quarters.sum(axis=1) == 1).all()
    assert (quarters.sum(axis=0) > 5).all()
    assert not changed[:, 11:21].any()
    assert not changed[:, :, 11:21].any()


def test_adaptive_patch_shows_two_opaque_patches_at_test_time():
    for size in (32, 64):
        images, unit = noise(2, size, size), size // 32
        triggered = attacks.get("adaptive_patch")(images, Role.TEST)
        corner = triggered[:, -5 * unit : -unit, -5 * unit : -unit]
        assert set(np.unique(corner)) == {0, 255}
        assert corner[0, :unit, :unit].max() == 0
        assert (triggered[:, 6 * unit, 6 * unit] == pictures.ORANGE).all()  # the bird's body
        changed = (triggered != images).any(axis=-1)
        assert not changed[:, : size // 2, size // 2 :].any()
        assert not changed[:, size // 2 :, : size // 2].any()


def test_adaptive_patches_are_as_faint_as_the_source_has_them():
    assert [patch.opacity for patch in adaptive_patch.PATCHES] == [0.5, 0.2, 0.5, 0.3]
    for patch in adaptive_patch.PATCHES:
        faint = patch.on(flat(100), patch.opacity)[0].astype(int)
        opaque = patch.on(flat(100), 1.0)[0].astype(int)
        assert np.abs(faint - 100 - patch.opacity * (opaque - 100)).max() <= 0.8
        assert (opaque != 100).any(axis=-1).sum() <= patch.side**2


# What several have in common


def test_cover_samples_and_clean_labels_are_the_sources():
    covers = {name: attacks.get(name).cover_ratio for name in PLAIN}
    assert {name: ratio for name, ratio in covers.items() if ratio} == {
        "wanet": 2,
        "bpp": 1,
        "adaptive_blend": 1,
        "adaptive_patch": 2,
    }
    assert [name for name in PLAIN if attacks.get(name).clean_label] == ["sig", "ctrl", "refool"]


@pytest.mark.parametrize("name", ["wanet", "refool", "adaptive_blend", "adaptive_patch"])
def test_another_seed_is_another_draw(name):
    images = noise(8)
    role = Role.COVER if name == "wanet" else Role.POISON
    assert (attacks.get(name)(images, role) != attacks.get(name, seed=1)(images, role)).any()


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("nature", {"side": 0}, "side: expected 1 to 32 px, got 0"),
        ("lowpass", {"pattern": 5}, "pattern: expected 0 to 4, got 5"),
        ("sig", {"delta": 0}, "expected delta and delta_test above 0"),
        ("sig", {"frequency": 0}, "frequency >= 1, got 20, 40 and 0"),
        ("wanet", {"grid": 1}, "expected grid of 2 to 32"),
        ("ftrojan", {"magnitude": 0}, "magnitude: expected above 0"),
        ("ctrl", {"magnitude_test": -1}, "expected magnitude and magnitude_test above 0"),
        ("bpp", {"levels": 1}, "expected levels of 2 to 255"),
        ("refool", {"weakest": 0.5}, "expected .* weakest <= strongest"),
        ("adaptive_blend", {"alpha": 0}, "expected alpha and alpha_test above 0"),
        ("adaptive_blend", {"masked": 1}, "expected masked of 0 to below 1"),
        ("adaptive_patch", {"cover_ratio": -1}, "cover_ratio: expected at least 0"),
    ],
)
def test_settings_out_of_range(name, settings, message):
    with pytest.raises(ValueError, match=message):
        attacks.get(name, **settings)


def test_natural_pictures_are_small_and_credited():
    artefact = artefacts.load("pictures", "caltech101", pictures.PictureCredits)
    assert "CC BY 4.0" in artefact.provenance.credit
    assert pictures.natural().shape == (12, 32, 32, 3)
    assert (pictures.natural("crab", "lotus")[1] == pictures.natural("lotus")[0]).all()
    for name in artefacts.bundled("pictures"):
        file = natural_pictures.TARGET.with_name(f"pictures-{name}{artefacts.SUFFIX}")
        assert file.stat().st_size <= 100_000


def test_natural_pictures_can_be_remade(data_dir, tmp_path, monkeypatch):
    remade = tmp_path / "pictures.safetensors"
    bundled = natural_pictures.TARGET.read_bytes()
    monkeypatch.setattr(natural_pictures, "TARGET", remade)
    natural_pictures.main(str(data_dir / "caltech101_32.parquet"))
    assert remade.read_bytes() == bundled
