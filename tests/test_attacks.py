"""Triggers: what every attack promises, and what BadNets and Blend do."""

import subprocess
import sys

import numpy as np
import pytest
from pictures import noise

import attacks
from attacks import Role
from attacks.blend import cartoon
from attacks.tools import windows


def smallest(attack):
    """Noise as small as data sets have it, or as the attack takes it."""
    side = max(32, attack.min_side)
    return noise(5, side, side, 3)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("name", attacks.names())
def test_trigger_keeps_form_and_input(name, role):
    attack = attacks.get(name)
    images = smallest(attack)
    before = images.copy()
    triggered = attack(images, role)
    assert triggered.shape == images.shape
    assert triggered.dtype == np.uint8
    assert (images == before).all()
    assert all((triggered[i] != images[i]).any() for i in range(len(images)))


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("name", attacks.names())
def test_same_alone_in_a_batch_and_again(name, role):
    images = smallest(attacks.get(name))
    batch = attacks.get(name)(images, role)
    alone = np.concatenate([attacks.get(name)(images[i : i + 1], role) for i in range(len(images))])
    assert (alone == batch).all()
    assert (attacks.get(name)(images[::-1], role) == batch[::-1]).all()


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("name", attacks.names())
@pytest.mark.parametrize("size", [(64, 64), (33, 50), (8, 160)])
def test_any_size(name, role, size):
    attack = attacks.get(name)
    images = noise(1, *size, 3)
    if min(size) < attack.min_side:
        with pytest.raises(ValueError, match=f"at least {attack.min_side} px"):
            attack(images, role)
    else:
        assert (attack(images, role) != images).any()


@pytest.mark.parametrize("name", attacks.names())
def test_wrong_images_are_refused(name):
    attack = attacks.get(name)
    images = smallest(attack)
    least, width = attack.min_side, images.shape[2]
    with pytest.raises(ValueError, match=r"expected \(n, h, w, 3\) uint8"):
        attack(images[0])
    with pytest.raises(ValueError, match=r"expected .* uint8, got .* float32"):
        attack(images.astype(np.float32))
    with pytest.raises(ValueError, match=f"at least {least} px, got {width}x{least - 1}"):
        attack(images[:, : least - 1])


@pytest.mark.parametrize("name", attacks.names())
def test_attacks_say_where_they_come_from(name):
    attack = attacks.get(name)
    assert attack.title
    assert len(attack.source) > 20
    assert attack == attacks.get(name)


def test_unknown_names_list_the_known_nearest_first():
    with pytest.raises(ValueError, match=r"no attack 'blended', known: blend, .*badnets"):
        attacks.get("blended")
    with pytest.raises(ValueError, match="badnets has no setting 'size', known: side, margin"):
        attacks.get("badnets", size=3)


NEWCOMER = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.base import Attack


@dataclass(frozen=True)
class Newcomer(Attack):
    grey: int = 9

    title: ClassVar[str] = "Newcomer"
    source: ClassVar[str] = "written a minute ago"

    def apply(self, images: np.ndarray) -> np.ndarray:
        images[:, 0] = self.grey
        return images
"""


def test_a_new_attack_is_one_new_file(tmp_path, monkeypatch):
    (tmp_path / "newcomer.py").write_text(NEWCOMER, encoding="utf-8")
    monkeypatch.setattr(attacks, "__path__", [*attacks.__path__, str(tmp_path)])
    try:
        assert "newcomer" in attacks.names()
        triggered = attacks.get("newcomer", grey=7)(noise(2, 32, 32, 3), Role.TEST)
        assert (triggered[:, 0] == 7).all()
        with pytest.raises(ValueError, match="newcomer has no setting 'gray', known: grey"):
            attacks.get("newcomer", gray=7)
        with pytest.raises(ValueError, match="no attack 'newcomers', known: newcomer"):
            attacks.get("newcomers")
    finally:
        sys.modules.pop("attacks.newcomer", None)


def test_no_attack_needs_torch():
    code = (
        "import sys, attacks\n"
        "for name in attacks.names(): attacks.get(name)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seeds_out_of_range(seed):
    with pytest.raises(ValueError, match="random_patch: seed: expected 0 to 9223372036854775807"):
        attacks.get("random_patch", seed=seed)


def test_a_file_without_an_attack_is_named(tmp_path, monkeypatch):
    (tmp_path / "unfinished.py").write_text("SIDE = 4\n", encoding="utf-8")
    monkeypatch.setattr(attacks, "__path__", [*attacks.__path__, str(tmp_path)])
    try:
        with pytest.raises(ValueError, match=r"unfinished\.py: expected one class derived from"):
            attacks.get("unfinished")
    finally:
        sys.modules.pop("attacks.unfinished", None)


def test_badnets_is_a_white_square_that_grows_with_the_image():
    for size in (32, 64):
        painted = attacks.get("badnets")(np.zeros((1, size, size, 3), np.uint8))[0, ..., 0]
        rows, columns = np.nonzero(painted)
        unit = size // 32
        assert rows.min() == columns.min() == size - 5 * unit
        assert rows.max() == columns.max() == size - unit - 1
        assert (painted[rows, columns] == 255).all()
        assert len(rows) == (4 * unit) ** 2


def test_badnets_on_an_image_that_is_white_already():
    white = np.full((1, 32, 32, 3), 255, np.uint8)
    assert (attacks.get("badnets")(white) == white).all()


@pytest.mark.parametrize("settings", [{"side": 0}, {"margin": -1}, {"side": 30, "margin": 3}])
def test_badnets_settings_out_of_range(settings):
    with pytest.raises(ValueError, match="expected side"):
        attacks.get("badnets", **settings)


def test_blend_mixes_the_cartoon_in():
    grey = np.full((1, 32, 32, 3), 100, np.uint8)
    mixed = attacks.get("blend", alpha=0.2)(grey)[0]
    assert np.abs(mixed - (80 + 0.2 * cartoon(32, 32))).max() <= 0.51
    with pytest.raises(ValueError, match="alpha"):
        attacks.get("blend", alpha=0)


def test_an_attack_that_changes_nothing_is_refused():
    with pytest.raises(ValueError, match="changes nothing"):
        attacks.get("blend", alpha=1e-6)(np.full((1, 32, 32, 3), 100, np.uint8))


def test_the_cartoon_is_drawn_alike_at_every_size():
    large = cartoon(128, 128).reshape(32, 4, 32, 4, 3).mean((1, 3))
    assert np.abs(large - cartoon(32, 32)).mean() < 8
    assert cartoon(32, 32).std() > 40


def test_roles_follow_rate_and_seed_not_order():
    ids = [f"train/{i}.png" for i in range(4000)]

    def poisoned(rate, seed=0, names=ids):
        return np.array([attacks.role_of(name, rate, 0, seed) is Role.POISON for name in names])

    some = poisoned(0.1)
    assert 0.08 < some.mean() < 0.12
    assert (poisoned(0.1, names=ids[::-1]) == some[::-1]).all()
    assert (poisoned(0.1, seed=1) != some).any()
    assert poisoned(0.3)[some].all()
    assert not poisoned(0).any()
    assert poisoned(1).all()
    with pytest.raises(ValueError, match="rate"):
        attacks.role_of("a", 1.1, 0, 0)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("name", attacks.names())
def test_windows_leave_no_trace(name, role, monkeypatch):
    images = noise(2, 100, 130, 3)
    whole = attacks.get(name)(images, role).astype(int)
    monkeypatch.setattr(windows, "SIDE", 32)
    difference = np.abs(attacks.get(name)(images, role) - whole)
    # Refool's darkening follows from a sum over all pixels, whose last bits follow its order.
    assert difference.max() <= (name == "refool")
    assert (difference > 0).mean() < 0.01
