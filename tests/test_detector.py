"""Training, checkpoints, scoring, and the bundled detector."""

import itertools
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import attacks
from benchmarks.detection import drawn, flagged, stored
from detector import bundled
from detector.architectures import architecture, build
from detector.combination import Scale
from detector.experts import _flat_maps
from detector.inputs import About, Parts
from detector.kinds import ENCODINGS, LOSSLESS, PART_RANGES
from detector.model import Detector
from detector.network import for_scoring, logits, pixels_on
from detector.precision import full_precision
from detector.runtime import OnCpu
from detector.scores import log_odds
from detector.settings import ExpertsSettings
from detector.storage import DetectorError
from detector.training.calibrate import calibrate
from detector.training.histories import jpeg
from detector.training.loop import TrainSettings, train
from detector.training.textures import random_spectrum
from sanitizer.cores import allow_threads
from sanitizer.dct import dct2
from sanitizer.images import Header, decode

CPU = torch.device("cpu")

SMALL = TrainSettings(
    epochs=2,
    pairs=192,
    batch=32,
    seed=3,
    network=ExpertsSettings(local=(8, 8, 8, 8), plane=(16, 8), block=(16, 8), hidden=16),
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """So small a network is slower on several threads, and far slower on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(name="pool", scope="module")
def _pool():
    rng = np.random.default_rng(0)
    waves = np.stack([random_spectrum(32, 32, rng) for _ in range(200)])
    smooth = np.stack([np.kron(w[::4, ::4], np.ones((4, 4, 1))) for w in waves])
    return np.clip(120 + 40 * smooth, 0, 255).astype(np.uint8)


@pytest.fixture(name="trained", scope="module")
def _trained(pool):
    return train(pool, {"toy": pool[:100]}, SMALL)


@pytest.fixture(name="detector")
def _detector(trained):
    return Detector.of("toy", trained, licence="none")


def weights(trained):
    return {k: v.numpy() for k, v in trained.network.state_dict().items()}


def noise(n):
    return np.random.default_rng(0).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)


def of_tiles(*several):
    """Images of which these are the tiles, of their own pixels."""
    return [Parts(tiles, About(len(tiles))) for tiles in several]


def cut(detector, images):
    return list(map(detector.inputs.cut, images))


def test_the_networks_dct_is_scipys():
    pixels = noise(4)
    network = build(ExpertsSettings(), 32)
    logs = network.spectral._log_plane(pixels_on(pixels, CPU))
    np.testing.assert_allclose(np.expm1(logs.numpy()), np.abs(dct2(pixels)), rtol=1e-4, atol=2e-2)


def test_each_block_of_a_jpeg_has_its_own_dct():
    """In its place, and then reduced over all blocks of the tile."""
    pixels = pixels_on(noise(3), CPU)
    spectral = build(ExpertsSettings(), 32).spectral
    logs = spectral._log_blocks(pixels)
    green_less_red = (pixels[:, 0] - pixels[:, 1])[:, 8:16, 24:32].numpy()
    block = np.abs(dct2(green_less_red[..., None])[:, 0])
    np.testing.assert_allclose(np.expm1(logs[:, 1, 8:16, 24:32].numpy()), block, atol=2e-2)
    blocks = logs.numpy().reshape(3, 3, 4, 8, 4, 8)
    _, reduced = spectral.inputs(pixels)
    expected = np.stack([f(blocks, axis=(2, 4)) for f in (np.mean, np.max, np.min)], axis=1)
    np.testing.assert_allclose(reduced.numpy(), expected.reshape(3, -1), atol=1e-4)


def test_flat_areas_and_no_others_are_seen_as_flat():
    pixels = noise(1)
    pixels[0, 5:10, 20:25] = 90
    maps = _flat_maps(pixels_on(pixels, CPU))[0].numpy()
    across, _, down, _ = maps
    assert (across[5:10, 21:25] == 1).all()
    assert (down[6:10, 20:25] == 1).all()
    assert across[5:10, 20].max() < 1  # an edge is not flat
    assert (maps[:2, :, 0] == 1).all()  # nothing is known of what lies beyond the border
    assert (maps[2:, 0] == 1).all()
    assert across[12:, 1:].mean() < 0.01


def test_experts_learn_from_their_own_mistakes_only():
    """The judge's mistakes change nothing but the judge."""
    network = build(ExpertsSettings(), 32)
    lessons = network.lessons(pixels_on(noise(8), CPU))
    assert lessons.shape == (3, 8)
    lessons[2].sum().backward()
    slopes = {name: value.grad for name, value in network.named_parameters()}
    moved = {name for name, slope in slopes.items() if slope is not None and slope.any()}
    assert moved
    assert {name.partition(".")[0] for name in moved} == {"judge"}


def test_training_learns_and_tells_where_it_stands(pool):
    settings = replace(SMALL, epochs=8, pairs=384)
    states = []
    trained = train(pool, {"toy": pool[:100]}, settings, observer=states.append)
    steps = [state for state in states if state.figures is None]
    ends = [state for state in states if state.figures is not None]
    losses = defaultdict(list)
    for state in steps:
        losses[state.epoch].append(state.loss)
    assert np.mean(losses[8]) < 0.9 * np.mean(losses[1])
    assert [state.epoch for state in ends] == list(range(1, 9))
    assert [state.done for state in steps] == list(range(64, 8 * 768 + 1, 64))
    assert {state.total for state in states} == {8 * 768}
    assert ends[-1].done == ends[-1].total
    assert trained.figures == ends[-1].figures
    assert trained.temperature >= 1


def test_the_same_seed_gives_the_same_weights(pool, trained):
    again = weights(train(pool, {}, SMALL))
    assert all((again[k] == v).all() for k, v in weights(trained).items())
    other = weights(train(pool, {}, replace(SMALL, seed=4)))
    assert any((other[k] != v).any() for k, v in weights(trained).items())


def test_a_stopped_run_resumes_to_the_same_weights(pool, trained, tmp_path):
    def stop(state):
        if state.figures is not None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(pool, {}, SMALL, checkpoint_dir=tmp_path, observer=stop)
    states = []
    resumed = train(pool, {}, SMALL, checkpoint_dir=tmp_path, observer=states.append)
    assert {state.epoch for state in states} == {2}
    assert states[0].done == 384 + 64  # the images of the first epoch count
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


def logits_of(detector, images):
    """(n,) logits of n images of one part."""
    return np.concatenate(detector.logits(of_tiles(*images[:, None])))


def test_an_image_scores_the_same_whatever_is_scored_beside_it(detector):
    """Bit for bit: one by one, in batches of all sizes, in any order, on any threads."""
    images = noise(200)
    alone = np.concatenate([logits_of(detector, one[None]) for one in images])
    rng = np.random.default_rng(1)
    try:
        for threads in (1, 2, 3, 5):
            allow_threads(threads)
            for n in (1, 2, 3, 5, 15, 16, 17, 63, 64, 65, 127, 130, 199, 200):
                rows = rng.permutation(200)[:n]
                assert (logits_of(detector, images[rows]) == alone[rows]).all()
    finally:
        allow_threads(None)
    scores = detector.score(of_tiles(*images[:, None])).values
    rows = rng.permutation(200)
    assert (detector.score(of_tiles(*images[rows][:, None])).values == scores[rows]).all()
    assert [detector.score(of_tiles(i[None])).values[0] for i in images] == scores.tolist()


def test_an_image_scores_as_its_most_suspicious_part_where_no_size_is_known(detector):
    images = noise(7)
    alone = detector.score(of_tiles(*images[:, None])).values
    together = detector.score(of_tiles(images[:1], images[1:3], images[3:]))
    assert together.parts.tolist() == [1, 2, 4]
    assert together.encodings.tolist() == [LOSSLESS] * 3
    assert together.values.tolist() == [alone[0], alone[1:3].max(), alone[3:].max()]


def test_scores_have_six_decimals_and_parts_are_checked(detector):
    scores = detector.score(of_tiles(*noise(20)[:, None])).values
    assert scores.dtype == np.float32
    assert (scores == scores.astype(np.float64).round(6).astype(np.float32)).all()
    assert len(detector.score([])) == 0
    for wrong in (noise(2)[0], noise(1)[:0], noise(1)[:, :16], noise(1).astype(np.float32)):
        with pytest.raises(ValueError, match="parts: expected"):
            detector.score(of_tiles(noise(1), wrong))


def test_calibration_is_sorted_and_split_by_kind(detector, pool):
    header = Header(32, 32, "JPEG", 75)
    small = cut(detector, pool[:110])
    jpegs = [detector.inputs.cut(jpeg(pixels, 75), header) for pixels in pool[:100]]
    large = cut(detector, np.tile(pool[:120], (1, 2, 2, 1)))
    images = {"toy": iter([*small, *large, *jpegs]), "few": iter(small[:50])}
    calibrated = calibrate(detector, images, min_images=99)
    groups = calibrated.calibration.groups
    assert [(g.name, g.parts, g.encoding, len(g.scores)) for g in groups] == [
        ("toy", (1, 1), LOSSLESS, 110),
        ("toy", (2, 9), LOSSLESS, 120),
        ("toy", (1, 1), ENCODINGS.index("JPEG of quality 61-84"), 100),
    ]
    for group, several in zip(groups, (small, large, jpegs), strict=True):
        assert group.scores.tolist() == sorted(calibrated.score(several).values.tolist())
    assert detector.calibration.groups == ()
    assert detector.card.combinations == ()


def test_calibrated_images_of_all_sizes_score_on_one_scale(detector, pool):
    small, large = cut(detector, pool), cut(detector, np.tile(pool, (1, 2, 2, 1)))
    calibrated = calibrate(detector, {"small": small, "large": large})
    (combination,) = calibrated.card.combinations
    assert combination.parts == (2, 9)
    single = np.array(detector.logits(small))
    assert combination.single == Scale.of(single)
    together = log_odds(calibrated.score(large).values) * calibrated.card.temperature
    assert together.mean() == pytest.approx(single.mean(), abs=1e-3)
    assert together.std() == pytest.approx(single.std(), rel=1e-2)
    assert (calibrated.score(small).values == detector.score(small).values).all()


def test_a_size_of_which_too_little_is_known_has_no_combination(detector, pool):
    small, large = cut(detector, pool), cut(detector, np.tile(pool, (1, 2, 2, 1)))
    for images in ({"large": large}, {"small": small, "large": large[:98]}):
        calibrated = calibrate(detector, images)
        assert calibrated.card.combinations == ()
        worst = calibrated.score(large).values
        alone = calibrated.score(of_tiles(*(tile[None] for one in large for tile in one.tiles)))
        assert (worst == alone.values.reshape(len(large), -1).max(1)).all()


def test_the_calibration_is_part_of_a_detectors_identity(detector, pool):
    calibrated = calibrate(detector, {"toy": cut(detector, pool)})
    other = calibrate(detector, {"toy": cut(detector, pool[1:])})
    assert len({detector.identity, calibrated.identity, other.identity}) == 3
    assert calibrated.name == "toy"
    assert calibrated.identity == f"toy@{calibrated.digest}"
    assert detector.calibration.groups == ()


def test_folding_batch_norms_changes_no_score(trained, pool):
    pixels = pixels_on(pool, CPU)
    plain = logits(trained.network, pixels)
    folded = logits(for_scoring(trained.network), pixels)
    assert np.abs(plain - folded).max() < 1e-4


def test_the_runtime_says_what_torch_says(detector, trained):
    images = noise(100)
    expected = logits(trained.network, pixels_on(images, CPU))
    assert np.abs(logits_of(detector, images) - expected).max() < 1e-4


@pytest.mark.parametrize("side", [16, 32])
def test_the_graph_of_a_network_of_any_width_says_what_torch_says(side: int) -> None:
    torch.manual_seed(0)
    settings = ExpertsSettings(
        local=(5, 6, 7, 8), local_units=9, plane=(10, 11), block=(12, 13), hidden=14
    )
    network = build(settings, side).eval()
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_var", "spread")):  # as after a training, none is 1
            tensor.uniform_(0.5, 2)
        elif name.endswith(("running_mean", "centre")):
            tensor.normal_()
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    kept = {name: (str(tensor.dtype), tensor.shape) for name, tensor in tensors.items()}
    dtypes = {"F32": "float32", "I64": "int64"}
    forms = architecture("experts").forms(settings, side)
    assert kept == {name: (dtypes[form.dtype], form.shape) for name, form in forms.items()}
    images = np.random.default_rng(0).integers(0, 256, (20, side, side, 3), dtype=np.uint8)
    images[:8] //= 100  # flat here and there
    said = OnCpu(settings, side, tensors)(images)
    assert np.abs(said - logits(network, pixels_on(images, CPU))).max() < 1e-4


def test_a_score_that_is_not_finite_is_an_error(detector, pool):
    network = detector.network()
    with torch.no_grad():
        network.judge[-1].bias.fill_(float("nan"))
    with pytest.raises(DetectorError, match="not finite; its weights are damaged"):
        detector.with_network(network, detector.card).score(of_tiles(*pool[:2][:, None]))


# The bundled detector, on real images.


@pytest.fixture(name="small", scope="module")
def _small():
    return Detector.load(bundled.DEFAULT_DETECTOR)


def test_the_bundled_detector_is_whole(small):
    assert small.identity.startswith("freqsan-small@")
    kinds = itertools.product(range(1, small.inputs.most + 1), range(len(ENCODINGS)))
    assert all(small.calibration.covers(*kind) for kind in kinds)
    assert [one.parts for one in small.card.combinations] == list(PART_RANGES[1:])
    assert all(len(group.scores) >= 999 for group in small.calibration.groups)
    assert all(group.scores[-1] < 1 for group in small.calibration.groups)  # not saturated
    assert small.card.training_data
    small.calibration.check(0.001)


def test_the_bundled_detector_on_real_images(small, data_dir: Path):
    table = pq.read_table(data_dir / "caltech101_32.parquet", columns=["image"])
    cells = itertools.islice(table["image"].to_pylist(), 600)
    images = np.stack([decode(cell["bytes"]) for cell in cells])

    def scores(pixels):
        return small.score(cut(small, pixels))

    clean = scores(images)
    patches, badnets = (scores(attacks.get(name)(images)) for name in ("random_patch", "badnets"))
    among = {id(of): drawn(of, 30) for of in (patches, badnets)}  # as in a set with 5 % poison

    def share_by_groups(asked):
        return stored(small, asked).mean()

    def share_by_set(asked):
        return flagged(small, clean, among.get(id(asked)), asked).mean()

    for share in (share_by_groups, share_by_set):
        lost = share(clean)
        assert lost < 0.03
        assert share(patches) > 0.8
        assert share(badnets) > 2 * lost
    for poison in among.values():
        assert flagged(small, clean, poison, clean).mean() < 0.03


# --- What makes scores differ ---------------------------------------------------------------


@pytest.fixture(name="coarse_process")
def _coarse_process():
    """A process that has allowed torch whatever rounds more, as for a training."""
    places = [(torch.backends.cudnn, "allow_tf32", True)]
    if hasattr(torch.backends.mkldnn, "conv"):
        places.append((torch.backends.mkldnn.conv, "fp32_precision", "bf16"))
    before = [getattr(place, name) for place, name, _ in places]
    torch.set_float32_matmul_precision("medium")
    for place, name, value in places:
        setattr(place, name, value)
    yield lambda: [torch.get_float32_matmul_precision(), *(getattr(p, n) for p, n, _ in places)]
    torch.set_float32_matmul_precision("highest")
    for (place, name, _), value in zip(places, before, strict=True):
        setattr(place, name, value)


def test_scores_do_not_depend_on_the_precision_that_a_process_has_chosen(small, request, data_dir):
    batch = pq.ParquetFile(data_dir / "caltech101_32.parquet").read_row_group(0)
    rows = batch.slice(0, 64)["image"].to_pylist()
    parts = [small.prepare(row["bytes"]).parts for row in rows]
    exact = small.score(parts).values
    chosen = request.getfixturevalue("coarse_process")
    before = chosen()
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(small.score(parts).values, exact)
    assert chosen() == before
    with pytest.raises(ValueError, match="expected"), full_precision:
        small.score(of_tiles(np.zeros((1, 2, 3))))
    assert chosen() == before


def test_precision_is_given_back_by_the_last_thread_that_asked_for_it(coarse_process):
    before = coarse_process()
    first, second = ExitStack(), ExitStack()
    first.enter_context(full_precision)
    second.enter_context(full_precision)
    first.close()
    assert torch.get_float32_matmul_precision() == "highest"
    second.close()
    assert coarse_process() == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_said_in_one_line():
    with pytest.raises(DetectorError, match=r"on a GPU.*this machine has none") as told:
        Detector.load(bundled.DEFAULT_DETECTOR, "cuda")
    assert "\n" not in str(told.value)
    assert Detector.load(bundled.DEFAULT_DETECTOR, "cpu").device == "cpu"
