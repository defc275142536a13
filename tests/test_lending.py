"""A GPU that one process owns: what the others score on it is what it scores itself."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from outputs import digests

from detector import lending, model
from detector.bundled import DEFAULT_DETECTOR
from detector.lending import Borrowed, Lent, lend
from detector.model import Detector
from detector.runtime import LEAST_ON_GPU, OnGpu
from freqsan import clean
from pipelines.jobs.demo import SAMPLE
from pipelines.judging import calibration
from pipelines.runs.layout import SCORES
from pipelines.runs.manifest import Manifest
from pipelines.runs.shards import read_rows
from pipelines.runs.store import Store
from sanitizer.errors import RunError

#: Stands for a GPU where there is none: the same code by the same library.
HERE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(scope="module")
def owned() -> OnGpu:
    return OnGpu(Detector.load(DEFAULT_DETECTOR, "cpu").network(), 32, HERE)


@pytest.fixture
def lent(owned: OnGpu) -> Iterator[Lent]:
    with lend(owned, 32) as lent:
        yield lent


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def test_what_is_borrowed_is_what_the_owner_says_to_the_last_bit(owned: OnGpu, lent: Lent) -> None:
    some = images(LEAST_ON_GPU + 3)
    np.testing.assert_array_equal(Borrowed(lent)(some), owned(some))


def test_images_of_the_other_memory_layout_are_sent_as_they_are(owned: OnGpu, lent: Lent) -> None:
    turned = images(5).transpose(0, 2, 1, 3)
    np.testing.assert_array_equal(Borrowed(lent)(turned), owned(turned))


def test_more_than_is_sent_at_a_time(
    owned: OnGpu, lent: Lent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lending, "MOST_PARTS", 7)
    some = images(20)
    np.testing.assert_array_equal(Borrowed(lent)(some), owned(some))


def test_many_threads_over_one_line_and_over_their_own(owned: OnGpu, lent: Lent) -> None:
    shared = Borrowed(lent)

    def check(seed: int) -> None:
        own = images(3 + seed, seed)
        line = shared if seed % 2 else Borrowed(lent)
        np.testing.assert_array_equal(line(own), owned(own))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(check, range(16)))


def test_another_process_borrows_without_loading_torch(owned: OnGpu, lent: Lent) -> None:
    program = (
        "import sys, numpy as np\n"
        "from detector.lending import Lent\n"
        "from detector.model import Detector\n"
        "detector = Detector.load(sys.argv[1], 'cuda', Lent(sys.argv[2]))\n"
        "images = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)\n"
        "print(detector._run(images).tobytes().hex(), detector.device, 'torch' in sys.modules)\n"
    )
    command = [sys.executable, "-c", program, DEFAULT_DETECTOR, lent.address]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [owned(images(9)).tobytes().hex(), "cuda", "False"]


def test_an_error_of_the_owner_is_raised_where_it_was_asked(
    lent: Lent, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Borrowed(lent)

    def full(self: OnGpu, images: np.ndarray) -> np.ndarray:
        raise RunError("the GPU has too little memory left")

    def broken(self: OnGpu, images: np.ndarray) -> np.ndarray:
        raise ZeroDivisionError("by a kernel")

    monkeypatch.setattr(OnGpu, "__call__", full)
    with pytest.raises(RunError, match="too little memory"):
        line(images(1))
    monkeypatch.setattr(OnGpu, "__call__", broken)
    with pytest.raises(RuntimeError, match="ZeroDivisionError: by a kernel"):
        line(images(1))


def test_an_owner_that_is_not_there(owned: OnGpu) -> None:
    with lend(owned, 32) as lent:
        pass
    with pytest.raises(RunError, match="the process that has the GPU is not there"):
        Borrowed(lent)
    assert not Path(lent.address).parent.exists()


def test_an_owner_that_is_silent(lent: Lent, monkeypatch: pytest.MonkeyPatch) -> None:
    line, goes_on = Borrowed(lent), threading.Event()

    def hang(self: OnGpu, images: np.ndarray) -> np.ndarray:
        goes_on.wait()
        return np.zeros(len(images), np.float32)

    monkeypatch.setattr(OnGpu, "__call__", hang)
    monkeypatch.setattr(lending, "SILENT_SECONDS", 0.1)
    with pytest.raises(RunError, match="the process that has the GPU was silent"):
        line(images(1))
    goes_on.set()


def test_out_of_memory_is_told_in_one_line(owned: OnGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("detector.network.logits", full)
    with pytest.raises(RunError, match=r"too little memory left for .* images of 32 px"):
        owned(images(1))


@pytest.fixture
def detectors_are_read_anew() -> Iterator[None]:
    calibration._loaded.cache_clear()
    yield
    calibration._loaded.cache_clear()


def test_clean_with_a_gpu_decodes_in_processes_that_borrow_it(
    owned: OnGpu, detectors_are_read_anew: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cleaned(folder: str) -> Manifest:
        output = tmp_path / folder
        return clean(SAMPLE, output, shard_rows=100, workers=2, scan=False, quiet=True)

    on_cpu = cleaned("cpu")
    calibration._loaded.cache_clear()
    answered: list[int] = []
    monkeypatch.setattr(model, "has_gpu", lambda: True)
    monkeypatch.setattr(Detector, "_runtime", lambda self, lent: counting(owned, answered))
    on_gpu = cleaned("gpu")
    assert sum(answered) > on_gpu.counts.read == on_cpu.counts.read
    assert on_gpu.counts == on_cpu.counts
    columns = ["sample_id", "score", "verdict"]
    here, there = (
        read_rows(Store(str(tmp_path / folder)), SCORES, columns) for folder in ("cpu", "gpu")
    )
    assert here.drop("score") == there.drop("score")
    np.testing.assert_allclose(here["score"], there["score"], atol=1e-5)
    assert digests(tmp_path / "cpu" / "data") == digests(tmp_path / "gpu" / "data")


def counting(owned: OnGpu, answered: list[int]) -> OnGpu:
    """The same, with the number of images of each call in a list."""

    class Counting(OnGpu):
        def __call__(self, images: np.ndarray) -> np.ndarray:
            answered.append(len(images))
            return super().__call__(images)

    one = Counting.__new__(Counting)
    vars(one).update(vars(owned))
    return one
