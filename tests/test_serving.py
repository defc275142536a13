"""``reject`` and ``judge``: what a server asks before its model answers."""

import io
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from pictures import noise
from PIL import Image
from samples import with_one_trigger

from detector.bulk import FEWEST
from freqsan import clean
from pipelines.jobs.demo import SAMPLE
from pipelines.judging.serving import judge, reject
from sanitizer.errors import InputError
from sanitizer.images import decode

DOCS = Path(__file__).resolve().parents[1] / "docs" / "serving.md"


@pytest.fixture(scope="module")
def sample() -> list[bytes]:
    """Encoded images of the sample with one trigger, twenty that carry it first."""
    rows = with_one_trigger().to_pylist()
    rows.sort(key=lambda row: not row["is_poisoned"])
    return [row["image"]["bytes"] for row in rows[:20] + rows[-80:]]


def test_triggered_images_are_rejected_and_clean_ones_are_not(sample: list[bytes]) -> None:
    rejected = reject(sample)
    assert rejected.shape == (100,)
    assert rejected.dtype == bool
    assert rejected[:20].sum() >= 18
    assert rejected[20:].sum() <= 4


def test_pixels_and_encoded_images_are_judged_alike(sample: list[bytes]) -> None:
    encoded = judge(sample)
    pixels = judge(np.stack([decode(data) for data in sample]))
    mixed = judge([decode(sample[0]), *sample[1:]])
    for other in (pixels, mixed):
        np.testing.assert_allclose(other.scores, encoded.scores, atol=1e-5)
        assert other.reasons == encoded.reasons


def test_verdicts_are_those_of_clean(tmp_path: Path) -> None:
    table = pq.read_table(str(SAMPLE)).slice(0, FEWEST - 1)  # more are judged by each other
    pq.write_table(table, tmp_path / "set.parquet")
    clean(tmp_path / "set.parquet", tmp_path / "out", policy="budget", quiet=True)
    (scores,) = (tmp_path / "out/scores").glob("*.parquet")
    rows = pq.read_table(scores).to_pylist()
    judged = judge([row["bytes"] for row in table["image"].to_pylist()])
    assert judged.rejected.tolist() == [row["verdict"] == "poisoned" for row in rows]
    assert judged.reasons == [row["reason"] for row in rows]
    np.testing.assert_allclose(judged.p_values, [row["p_value"] for row in rows])


def test_what_cannot_be_judged_is_rejected_with_the_reason(sample: list[bytes]) -> None:
    images = [b"not an image", b"", None, sample[0][:-200], sample[-1]]
    judged = judge(images)
    assert judged.rejected.tolist() == [True, True, True, True, False]
    assert np.isnan(judged.p_values).tolist() == [True, True, True, True, False]
    for words, reason in zip(
        ("unsupported format", "no bytes", "no image", "truncated or corrupt"),
        judged.reasons,
        strict=False,
    ):
        assert reason.startswith(words)


def test_images_of_any_size_and_shape_are_judged() -> None:
    sizes = [(1, 1), (4, 4), (7, 32), (40, 200), (1, 3000), (640, 480), (3000, 2000)]
    judged = judge([noise(height, width, 3) for height, width in sizes])
    assert np.isfinite(judged.p_values).all()
    assert np.isfinite(judged.scores).all()
    assert all("clean images score" in reason for reason in judged.reasons)


def test_no_images_give_no_verdicts() -> None:
    assert reject([]).shape == (0,)
    assert reject(np.zeros((0, 32, 32, 3), np.uint8)).shape == (0,)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 32, 32, 3), np.float32),
        np.zeros((32, 32, 3), np.uint8),
        [np.zeros((32, 32), np.uint8)],
        ["a path"],
        [[[1, 2], [3]]],
        [7],
        [torch.zeros((32, 32, 3))],
        [Image.new("L", (32, 32))],
        [Image.new("HSV", (32, 32))],
        [object()],
    ],
)
def test_what_is_no_image_is_an_error_of_the_caller(images: Any) -> None:
    words = r"^images\[0\]: expected .* uint8 pixels or encoded bytes, got \w.*; give a single"
    with pytest.raises(InputError, match=words):
        reject(images)


def test_the_image_that_is_none_is_named(sample: list[bytes]) -> None:
    with pytest.raises(InputError, match=r"^images\[2\]: .* got ndarray of \(8, 8\) uint8;"):
        reject([sample[0], None, np.zeros((8, 8), np.uint8)])
    for image, name in ((Image.new("HSV", (32, 32)), "Image of mode HSV"), ("a path", "str")):
        with pytest.raises(InputError, match=rf"^images\[0\]: .* got {name};"):
            reject([image])


class Odd:
    """An object whose conversion to an array fails in a way of its own."""

    def __array__(self, *arguments: object, **options: object) -> np.ndarray:
        raise KeyError("odd")


def released() -> memoryview:
    view = memoryview(b"abc")
    view.release()
    return view


def truncated(fmt: str) -> Image.Image:
    """A picture that Pillow has opened and not read."""
    buffer = io.BytesIO()
    Image.fromarray(noise(64, 64, 3)).save(buffer, fmt)
    return Image.open(io.BytesIO(buffer.getvalue()[:900]))


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    "image",
    [
        *(
            5,
            0.5,
            "a.png",
            Path("a.png"),
            {"bytes": b""},
            object(),
            int,
            Odd(),
            CYCLE,
            [[1], [2, 3]],
        ),
        *(released(), io.BytesIO(b"abc"), np.str_("a"), np.datetime64("now"), np.zeros(3, "u1,u1")),
        *(Image.new(mode, (32, 32)) for mode in ("L", "P", "RGBA", "I;16", "F", "CMYK", "1")),
        *(truncated("PNG"), truncated("JPEG")),
        *(np.zeros((32, 32, 3), kind) for kind in ("f4", "i1", "u2", "?", "O", "c8", "S1")),
        *(np.zeros(shape, "u1") for shape in ((), (32,), (32, 32), (3, 32, 32), (1, 32, 32, 3))),
        *(np.full((32, 32, 3), np.nan), np.zeros((32, 32, 0), "u1")),
        *(torch.zeros(32, 32, 3), torch.zeros(32, 32, 3, requires_grad=True), torch.tensor(3)),
        torch.zeros(32, 32, 3, device="meta", dtype=torch.uint8),
    ],
    ids=lambda image: type(image).__name__,
)
def test_what_is_no_image_is_an_error_of_the_caller_in_one_line(image: Any) -> None:
    for images in ([image], iter([None, image])):
        with pytest.raises(InputError, match=r"^images\[[01]\]: ") as caught:
            reject(images)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [(0, 32, 3), (32, 0, 3), (0, 0, 3)])
def test_an_array_without_pixels_is_rejected(size: tuple[int, ...], sample: list[bytes]) -> None:
    judged = judge([np.zeros(size, np.uint8), sample[-1]])
    assert judged.rejected.tolist() == [True, False]
    assert np.isnan(judged.p_values).tolist() == [True, False]
    assert judged.reasons[0].startswith("no pixels")


@pytest.mark.parametrize(
    "images",
    [
        *(None, 5, b"one image, not in a list", "a path", int),
        *(
            bytearray(b"one"),
            memoryview(b"one"),
            io.BytesIO(b"lines\nof a file"),
            {b"no", b"order"},
        ),
        *(np.array(5), np.array(None), torch.tensor(5), Image.new("RGB", (32, 32))),
    ],
    ids=lambda images: type(images).__name__,
)
def test_what_is_no_row_of_images_is_an_error_of_the_caller(images: Any) -> None:
    with pytest.raises(InputError, match=r"^images: expected several in a row, got .+; give"):
        reject(images)


def test_images_may_come_one_by_one_and_in_other_types(sample: list[bytes]) -> None:
    some = sample[15:25]
    pixels = [decode(data) for data in some]
    expected = judge(some)
    assert expected.rejected.any()
    assert not expected.rejected.all()
    for other in (
        iter(some),
        map(bytearray, some),
        map(memoryview, some),
        map(Image.fromarray, pixels),
        map(torch.tensor, pixels),
        torch.from_numpy(np.stack(pixels)),
    ):
        judged = judge(other)
        np.testing.assert_allclose(judged.scores, expected.scores, atol=1e-5)
        assert judged.rejected.tolist() == expected.rejected.tolist()


def test_settings_are_checked() -> None:
    with pytest.raises(InputError, match="max clean loss"):
        reject([], max_clean_loss=0)
    for loss in ("0.01", None, [0.01], 1j, 10**400, np.array([0.01])):
        with pytest.raises(InputError, match="max clean loss: expected a finite number, got"):
            reject([], max_clean_loss=loss)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no detector 'nosuch'"):
        reject([], detector="nosuch")
    for name in ("detector", "trusted"):
        for path in (0, b"path", ["path"], np.zeros(2)):
            with pytest.raises(InputError, match=f"^{name}: expected a path( or None)?, got"):
                reject([], **{name: path})  # type: ignore[arg-type]
    assert reject([], max_clean_loss=Fraction(1, 100)).tolist() == []  # type: ignore[arg-type]


def test_a_smaller_clean_loss_rejects_no_more(sample: list[bytes]) -> None:
    few, many = reject(sample, max_clean_loss=0.002), reject(sample, max_clean_loss=0.2)
    assert not (few & ~many).any()
    assert few.sum() < many.sum()


def test_trusted_images_set_the_threshold(sample: list[bytes], tmp_path: Path) -> None:
    table = pq.read_table(str(SAMPLE))
    trusted = table.filter(np.logical_not(table["is_poisoned"].to_numpy())).slice(0, 200)
    pq.write_table(trusted, tmp_path / "trusted.parquet")
    judged = judge(sample, trusted=tmp_path / "trusted.parquet")
    assert judged.rejected[:20].sum() >= 18
    assert all("of 200 clean images" in reason for reason in judged.reasons)


def test_the_documentation_runs(
    sample: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    (tmp_path / "requests").mkdir()
    for name, data in {"a": sample[-1], "b": sample[0], "c": b"broken"}.items():
        (tmp_path / "requests" / f"{name}.png").write_bytes(data)
    monkeypatch.chdir(tmp_path)
    for code in re.findall(r"^```python\n(.*?)^```", DOCS.read_text("utf-8"), re.M | re.S):
        exec(compile(code, str(DOCS), "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["a.png: a flower", "b.png: refused", "c.png: refused"]
    assert [line.split()[0] for line in lines[3:]] == ["accept", "refuse", "refuse"]
