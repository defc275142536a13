"""Training, checkpoints, the detector's directory, calibration, and the bundled detector."""

import io
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import attacks
from detector.calibration import calibrate, image_scores
from detector.dct import matrix_dct2
from detector.model import Detector, DetectorError, bundled
from detector.network import NetworkSettings, build, for_scoring, logits
from detector.training.loop import TrainSettings, train
from detector.training.textures import random_spectrum
from sanitizer.dct import dct2

SMALL = TrainSettings(
    epochs=2,
    pairs=192,
    batch=32,
    seed=3,
    network=NetworkSettings(plane=(8, 8, 8), space=(8, 8, 8), hidden=16),
)


@pytest.fixture(name="pool", scope="module")
def _pool():
    rng = np.random.default_rng(0)
    waves = np.stack([random_spectrum(32, 32, rng) for _ in range(200)])
    smooth = np.stack([np.kron(w[::4, ::4], np.ones((4, 4, 1))) for w in waves])
    return np.clip(120 + 40 * smooth, 0, 255).astype(np.uint8)


@pytest.fixture(name="trained", scope="module")
def _trained(pool):
    return train(pool, {"toy": pool[:100]}, SMALL)


@pytest.fixture(name="saved")
def _saved(trained, pool, tmp_path):
    detector = Detector.of("toy", trained, {"licence": "none"})
    detector.calibration = calibrate(detector, {"toy lossless": list(pool)})
    detector.save(tmp_path / "toy")
    return tmp_path / "toy", detector


def weights(trained):
    return {k: v.numpy() for k, v in trained.network.state_dict().items()}


def test_the_matrix_dct_is_scipys():
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    found = matrix_dct2(torch.from_numpy(images)).numpy()
    assert np.abs(found - dct2(images)).max() < 1e-4 * np.abs(found).max()
    assert np.abs(found - dct2(images)).max() < 2e-2


def test_the_network_gets_the_pixels_back_from_the_coefficients():
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    maps = build(SMALL.network)._maps(torch.from_numpy(dct2(images)))
    pixels = (maps[:, :3].numpy() + 2) * 64
    assert np.abs(pixels - np.moveaxis(images, -1, 1)).max() < 1e-2


def test_training_learns(pool):
    settings = replace(SMALL, epochs=4, pairs=384)
    states = []
    trained = train(pool, {"toy": pool[:100]}, settings, progress=states.append)
    ends = [s for s in states if s.held_out is not None]
    losses = [s.loss for s in ends]
    assert [s.epoch for s in ends] == [1, 2, 3, 4]
    assert losses[-1] < 0.9 * losses[0]
    assert ends[-1].seconds_left == pytest.approx(0, abs=1e-6)
    assert trained.figures == ends[-1].held_out
    assert trained.temperature >= 1


def test_the_same_seed_gives_the_same_weights(pool, trained):
    again = weights(train(pool, {}, SMALL))
    assert all((again[k] == v).all() for k, v in weights(trained).items())
    other = weights(train(pool, {}, replace(SMALL, seed=4)))
    assert any((other[k] != v).any() for k, v in weights(trained).items())


def test_a_stopped_run_resumes_to_the_same_weights(pool, trained, tmp_path):
    def stop(state):
        if state.held_out is not None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(pool, {}, SMALL, checkpoint_dir=tmp_path, progress=stop)
    seen = []
    resumed = train(pool, {}, SMALL, checkpoint_dir=tmp_path, progress=seen.append)
    assert {s.epoch for s in seen} == {2}
    assert all((weights(resumed)[k] == v).all() for k, v in weights(trained).items())


def test_a_checkpoint_of_another_run_is_refused(pool, tmp_path):
    settings = replace(SMALL, epochs=1, pairs=32)
    train(pool, {}, settings, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="another pool"):
        train(pool[:50], {}, settings, checkpoint_dir=tmp_path)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a readable checkpoint"):
        train(pool, {}, settings, checkpoint_dir=tmp_path)


def test_a_pool_of_the_wrong_form_is_refused(pool):
    with pytest.raises(ValueError, match="pool: expected"):
        train(pool.astype(np.float32), {}, SMALL)


def test_save_and_load_give_the_same_scores(saved, pool):
    directory, detector = saved
    loaded = Detector.load(directory)
    assert (loaded.score(pool) == detector.score(pool)).all()
    assert loaded.identity == detector.identity
    assert loaded.card["licence"] == "none"
    assert "calibration" not in loaded.card
    assert sorted(p.name for p in directory.iterdir()) == ["detector.json", "weights.safetensors"]


def test_scores_do_not_depend_on_the_batch(saved, pool):
    _, detector = saved
    whole = detector.score(pool)
    alone = np.concatenate([detector.score(pool[i : i + 1]) for i in range(len(pool))])
    assert whole.dtype == np.float32
    assert np.abs(whole - alone).max() <= 2e-6
    assert (whole == whole.astype(np.float64).round(6).astype(np.float32)).all()
    assert detector.score(pool[:0]).shape == (0,)
    with pytest.raises(ValueError, match="tiles: expected"):
        detector.score(pool[0])


def test_calibration_is_sorted_and_split_by_tiles(saved, pool):
    _, detector = saved
    large = [np.tile(p, (2, 2, 1)) for p in pool[:120]]
    groups = calibrate(detector, {"toy": list(pool[:110]) + large, "few": list(pool[:50])})
    assert [(g["name"], g["min_tiles"], g["max_tiles"], len(g["scores"])) for g in groups] == [
        ("toy", 1, 1, 110),
        ("toy", 2, 4, 120),
    ]
    assert all((np.diff(g["scores"]) >= 0).all() for g in groups)
    scores, counts = image_scores(detector, [large[0], pool[3]])
    assert counts.tolist() == [4, 1]
    assert scores[0] == pytest.approx(detector.score(pool[:1])[0], abs=2e-6)


def test_folding_batch_norms_changes_no_score(trained, pool):
    coefficients = torch.from_numpy(dct2(pool))
    plain = logits(trained.network, coefficients)
    folded = logits(for_scoring(trained.network), coefficients)
    assert np.abs(plain - folded).max() < 1e-4


def test_a_score_that_is_not_finite_is_an_error(saved, pool):
    _, detector = saved
    with torch.no_grad():
        bias = detector._network.head[-1].bias
        before = bias.clone()
        bias.fill_(float("nan"))
        try:
            with pytest.raises(ValueError, match="not finite"):
                detector.score(pool[:2])
        finally:
            bias.copy_(before)


def edit(directory: Path, change) -> None:
    card = json.loads((directory / "detector.json").read_text())
    change(card)
    (directory / "detector.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda d: (d / "weights.safetensors").unlink(), "weights.safetensors is missing"),
        (lambda d: (d / "detector.json").unlink(), "detector.json is missing"),
        (lambda d: (d / "detector.json").write_text("{"), "not valid JSON"),
        (lambda d: (d / "detector.json").write_text("[]"), "expected a JSON object, got list"),
        (lambda d: (d / "weights.safetensors").write_bytes(b"\x08junk"), "is corrupt"),
        (lambda d: edit(d, lambda c: c["network"].update(architecture="x")), "unknown arch"),
        (lambda d: edit(d, lambda c: c["network"].update(hidden=17)), "head.0.* expected"),
        (lambda d: edit(d, lambda c: c["network"].update(depth=1)), "unexpected keyword"),
        (lambda d: edit(d, lambda c: c.pop("temperature")), "lacks the entry 'temperature'"),
        (
            lambda d: edit(d, lambda c: c["calibration"][0]["scores"].reverse()),
            "expected ascending scores from 0 to 1",
        ),
    ],
)
def test_a_broken_directory_gives_one_clear_line(saved, damage, words):
    directory, _ = saved
    damage(directory)
    with pytest.raises(DetectorError, match=words) as error:
        Detector.load(directory)
    assert "\n" not in str(error.value)


def test_an_unknown_name_lists_the_bundled_ones():
    with pytest.raises(DetectorError, match=r"no detector 'nonesuch'.*bundled ones are"):
        Detector.load("nonesuch")


# The bundled detector, on real images.

DATA = Path(
    os.environ.get("FREQSAN_DATA", Path(__file__).resolve().parents[1] / "../shared/data")
).resolve()


@pytest.fixture(name="small", scope="module")
def _small():
    if "freqsan-small" not in bundled():
        pytest.skip("the bundled detector has not been built")
    return Detector.load("freqsan-small")


def test_the_bundled_detector_is_whole(small):
    assert small.identity.startswith("freqsan-small@")
    covered = {
        count
        for group in small.calibration
        for count in range(group["min_tiles"], group["max_tiles"] + 1)
    }
    assert covered >= set(range(1, 26))
    assert all(len(g["scores"]) >= 999 for g in small.calibration)
    assert all(g["scores"][-1] < 1 for g in small.calibration)  # not saturated
    assert small.card["training_data"]


def test_the_bundled_detector_on_real_images(small):
    path = DATA / "caltech101_32.parquet"
    if not path.exists():
        pytest.skip(f"no real images: {path} is missing (set FREQSAN_DATA)")
    cells = pq.read_table(path, columns=["image"])["image"].to_pylist()[:600]
    images = np.stack(
        [np.asarray(Image.open(io.BytesIO(c["bytes"])).convert("RGB")) for c in cells]
    )
    groups = [g for g in small.calibration if g["min_tiles"] == 1]
    threshold = max(np.quantile(g["scores"], 0.99) for g in groups)
    lost = (small.score(images) > threshold).mean()
    assert lost < 0.03
    assert (small.score(attacks.get("random_patch")(images)) > threshold).mean() > 0.8
    assert (small.score(attacks.get("badnets")(images)) > threshold).mean() > 2 * lost
