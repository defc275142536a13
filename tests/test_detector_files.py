"""A detector's directory: how it is looked up, written, and read with suspicion."""

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from detector import bundled, storage
from detector.model import Detector
from detector.storage import DetectorError
from pipelines.judging.calibration import load_detector
from sanitizer.errors import InputError

ROOT = Path(__file__).resolve().parents[1]

#: Bytes of the bundled detector's weights.
SIZE = (bundled.find(bundled.DEFAULT_DETECTOR) / "weights.safetensors").stat().st_size


@pytest.fixture(name="directory")
def _directory(tmp_path: Path) -> Path:
    """A copy of the bundled detector under another name."""
    shutil.copytree(bundled.find(bundled.DEFAULT_DETECTOR), tmp_path / "mine")
    return tmp_path / "mine"


def edit(change: Callable[[dict], object]) -> Callable[[Path], None]:
    """Changes the card."""

    def apply(directory: Path) -> None:
        card = json.loads((directory / "detector.json").read_text())
        change(card)
        (directory / "detector.json").write_text(json.dumps(card))

    return apply


def network(**settings: Any) -> Callable[[Path], None]:
    return edit(lambda card: card["network"].update(settings))


def forget_digest(directory: Path) -> None:
    """The card no longer tells which weights it belongs to."""
    edit(lambda card: card.pop("weights_sha256", None))(directory)


def header(change: Callable[[dict], object]) -> Callable[[Path], None]:
    """Changes the header of the weights."""

    def apply(directory: Path) -> None:
        path = directory / "weights.safetensors"
        data = path.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        tensors = json.loads(data[8 : 8 + length])
        change(tensors)
        text = json.dumps(tensors).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
        forget_digest(directory)

    return apply


def numbers(tensor: str, value: float) -> Callable[[Path], None]:
    """Fills a tensor of the weights."""

    def apply(directory: Path) -> None:
        path = directory / "weights.safetensors"
        tensors = safetensors.numpy.load(path.read_bytes())
        tensors[tensor] = np.full_like(tensors[tensor], value)
        path.write_bytes(safetensors.numpy.save(tensors))
        forget_digest(directory)

    return apply


def tensor(**entry: Any) -> Callable[[Path], None]:
    return header(lambda tensors: tensors["judge.0.bias"].update(entry))


def text(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda directory: (directory / name).write_bytes(content)


def sparse(name: str, size: int) -> Callable[[Path], None]:
    return lambda directory: os.truncate(directory / name, size)


def flip_a_bit(directory: Path) -> None:
    path = directory / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def append(directory: Path) -> None:
    with (directory / "weights.safetensors").open("ab") as file:
        file.write(b"x")


def swap_offsets(tensors: dict) -> None:
    first, second = tensors["judge.0.bias"], tensors["spectral.centre"]
    first["data_offsets"], second["data_offsets"] = second["data_offsets"], first["data_offsets"]


def nan_scores(card: dict) -> None:
    card["calibration"][0]["scores"][5] = float("nan")


def group(**changes: Any) -> Callable[[Path], None]:
    """Changes the first calibration group."""
    return edit(lambda card: card["calibration"][0].update(changes))


def scale(name: str, **changes: list[float]) -> Callable[[Path], None]:
    """Changes a scale of the first combination."""
    return edit(lambda card: card["combinations"][0][name].update(changes))


BROKEN = {
    "no weights": (
        lambda d: (d / "weights.safetensors").unlink(),
        "weights.safetensors is missing",
    ),
    "no card": (lambda d: (d / "detector.json").unlink(), "detector.json is missing"),
    "half a card": (text("detector.json", b"{"), "not valid JSON"),
    "no text": (text("detector.json", b'{"name": "\xff"}'), "not valid JSON"),
    "deeply nested card": (text("detector.json", b"[" * 10**6), "not valid JSON"),
    "a list": (text("detector.json", b"[]"), "expected a JSON object, got list"),
    "huge card": (sparse("detector.json", 20 << 30), "at most 16,777,216 are read"),
    "no temperature": (
        edit(lambda c: c.pop("temperature")),
        "required field `temperature`",
    ),
    "NaN temperature": (edit(lambda c: c.update(temperature=float("nan"))), "not valid JSON"),
    "negative temperature": (
        edit(lambda c: c.update(temperature=-1)),
        "at `\\$.temperature`",
    ),
    "infinite temperature": (edit(lambda c: c.update(temperature=1e300)), "at `\\$.temperature`"),
    "no inputs": (edit(lambda c: c.pop("inputs")), "missing required field `inputs`"),
    "huge inputs": (edit(lambda c: c["inputs"].update(side=10**6)), "at `\\$.inputs.side`"),
    "a name of two lines": (edit(lambda c: c.update(name="a\nb")), "expected one line of text"),
    "a name that paints": (edit(lambda c: c.update(name="\x1b[31m")), "expected one line of text"),
    "a list for a name": (edit(lambda c: c.update(name=["x"])), "Expected `str`"),
    "unknown architecture": (network(architecture="x"), "unknown architecture 'x', known: experts"),
    "nested architecture": (network(architecture=[[1]]), "unknown architecture"),
    "no network": (edit(lambda c: c.update(network=None)), "Expected `object`, got `null`"),
    "unknown setting": (network(depth=1), "unknown settings of the network: 'depth'"),
    "other width": (network(hidden=17), r"judge.0.bias is F32 \[64\], expected F32 \[17\]"),
    "huge width": (network(hidden=10**9), "Expected `int` <= 4096"),
    "huge number": (network(hidden=10**30), "Expected `int` <= 4096"),
    "negative width": (network(hidden=-1), "Expected `int` >= 1"),
    "no width": (network(plane=[0, 8]), "Expected `int` >= 1"),
    "huge channels": (network(local=[10**6] * 4), "Expected `int` <= 512"),
    "huge units": (network(block=[10**6] * 2), "Expected `int` <= 4096"),
    "too many widths": (network(local=[8] * 5), "length 4"),
    "too few widths": (network(plane=[8]), "length 2"),
    "words for a width": (network(hidden="many"), "Expected `int`, got `str`"),
    "nested width": (network(hidden=[[1]]), "Expected `int`, got `array`|got `list`"),
    "all is dropped out": (network(dropout=1), "Expected `float` < 1.0 - at `\\$.dropout`"),
    "negative dropout": (network(dropout=-1e-300), "Expected `float` >= 0.0 - at `\\$.dropout`"),
    "misspelt input": (
        edit(lambda c: c["inputs"].update(mos=64)),
        "unknown settings of the inputs: 'mos', known: most, side",
    ),
    "misspelt key of a group": (
        group(min_part=2),
        "unknown settings of the calibration group 'cifar10 images': 'min_part'",
    ),
    "unknown encoding": (group(encoding="x"), "unknown encoding 'x', known: lossless, JPEG"),
    "a number for an encoding": (group(encoding=0), r"Expected `str \| null`, got `int`"),
    "no parts": (group(min_parts=0), "expected 1 <= min <= max parts"),
    "parts from more to fewer": (group(min_parts=2, max_parts=1), "expected 1 <= min <= max"),
    "no figures": (scale("figures", middle=[], spread=[]), "combination: expected 4 figures"),
    "too few figures": (scale("figures", spread=[1.0] * 3), "combination: expected 4 figures"),
    "two totals": (scale("total", middle=[0.0, 0.0]), "combination: expected 4 figures"),
    "figures without spread": (scale("figures", spread=[0.0] * 4), "Expected `float` >= 0.001"),
    "figures of hardly any spread": (
        scale("figures", middle=[1e9, -1e9, 0.0, 0.0], spread=[1e-300] * 4),
        "Expected `float` >= 0.001",
    ),
    "infinite figures": (scale("single", middle=[1e300]), "Expected `float` <= 1000000000.0"),
    "NaN figures": (scale("single", middle=[float("nan")]), "not valid JSON"),
    "no combination": (edit(lambda c: c.update(combinations=[None])), "Expected `object`, got"),
    "falling scores": (
        edit(lambda c: c["calibration"][0]["scores"].reverse()),
        "expected ascending scores from 0 to 1",
    ),
    "NaN scores": (edit(nan_scores), "not valid JSON"),
    "no calibration": (edit(lambda c: c.pop("calibration")), "Expected `array`, got `null`"),
    "no header": (text("weights.safetensors", b"\x08junk"), "header claims"),
    "empty weights": (text("weights.safetensors", b""), "header claims"),
    "header of 10 GB": (
        text("weights.safetensors", struct.pack("<Q", 10 << 30) + b"{}"),
        "header claims 10,737,418,240 bytes",
    ),
    "header of 10 GB in a large file": (
        lambda d: (
            text("weights.safetensors", struct.pack("<Q", 10 << 30) + b"{}")(d),
            sparse("weights.safetensors", 20 << 30)(d),
        ),
        "at most 268,435,456 are read",
    ),
    "header that is no JSON": (
        text("weights.safetensors", struct.pack("<Q", 4) + b"junk"),
        "header cannot be read",
    ),
    "nested header": (
        text("weights.safetensors", struct.pack("<Q", 10**6) + b'{"a":' * (10**6 // 5)),
        "header cannot be read",
    ),
    "huge tensor": (tensor(shape=[10**12]), "judge.0.bias is F32"),
    "negative tensor": (tensor(shape=[-96]), "judge.0.bias is F32"),
    "other dtype": (tensor(dtype="F64"), "judge.0.bias is F64"),
    "unknown dtype": (tensor(dtype="long" * 100), "judge.0.bias is long"),
    "shape of words": (tensor(shape="96"), "header cannot be read"),
    "other bytes": (tensor(data_offsets=[0, 4]), "are not where they are expected"),
    "swapped bytes": (header(swap_offsets), "are not where they are expected"),
    "tensor missing": (header(lambda t: t.pop("judge.0.bias")), "lacks the tensor 'judge.0.bias'"),
    "tensor too many": (
        header(lambda t: t.update(evil=t["spectral.centre"])),
        "unexpected tensor 'evil'",
    ),
    "NaN weights": (numbers("judge.0.bias", np.nan), "a score that is not finite; its weights are"),
    "infinite weights": (numbers("local.fine.0.weight", np.inf), "a score that is not finite"),
    "huge weights": (numbers("local.fine.0.weight", 3e38), "a score that is not finite"),
    "negative variance": (numbers("spectral.plane.1.running_var", -1), "a score that is not"),
    "negative variance of pixels": (numbers("local.fine.1.running_var", -1), "a score that is not"),
    "no spread": (numbers("spectral.spread", 0), "a score that is not finite"),
    "no spread of blocks": (numbers("spectral.block_spread", 0), "a score that is not finite"),
    "nested metadata": (
        header(lambda t: t.update(__metadata__=[[]])),
        "is no working detector: Error while deserializing",
    ),
    "a bit that fell over": (flip_a_bit, "is damaged, or of another detector: its SHA-256 is"),
    "bytes too many": (append, f"{SIZE + 1:,} bytes, expected {SIZE:,}"),
    "half the weights": (
        sparse("weights.safetensors", SIZE // 2),
        f"has {SIZE // 2:,} bytes, expected {SIZE:,}",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_directory_gives_one_clear_line(directory: Path, name: str) -> None:
    damage, words = BROKEN[name]
    damage(directory)
    with pytest.raises(DetectorError, match=words) as error:
        Detector.load(directory)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500
    assert str(directory) in str(error.value)


def test_what_is_no_regular_file_is_not_opened(directory: Path) -> None:
    (directory / "weights.safetensors").unlink()
    os.mkfifo(directory / "weights.safetensors")
    with pytest.raises(DetectorError, match="no regular file"):
        Detector.load(directory)


def test_a_name_that_no_directory_can_have_is_refused(directory: Path) -> None:
    for name in ("x" * 300, "a\0b", "\udcff"):
        for look_up in (bundled.find, bundled.address, load_detector):
            with pytest.raises(DetectorError, match=r"^no detector "):
                look_up(name)


def test_a_hostile_directory_takes_no_memory(tmp_path: Path) -> None:
    """Every broken directory in one process: its peak hardly grows."""
    source = bundled.find(bundled.DEFAULT_DETECTOR)
    for index, (damage, _) in enumerate(BROKEN.values()):
        shutil.copytree(source, tmp_path / str(index))
        damage(tmp_path / str(index))
    code = """
import resource, sys
from pathlib import Path
from detector.model import Detector
from detector.storage import DetectorError

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

Detector.load("freqsan-small")
before = peak()
for directory in Path(sys.argv[1]).iterdir():
    try:
        Detector.load(directory)
    except DetectorError:
        continue
    raise SystemExit(f"{directory} was loaded")
print(peak() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 32 << 10  # KiB


def test_save_and_load_give_the_same_detector(directory: Path, tmp_path: Path) -> None:
    detector = Detector.load(directory)
    assert detector.identity == Detector.load(bundled.DEFAULT_DETECTOR).identity
    detector.save(tmp_path / "again")
    for name in ("detector.json", "weights.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (directory / name).read_bytes()
    assert sorted(p.name for p in (tmp_path / "again").iterdir()) == [
        "detector.json",
        "weights.safetensors",
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda card: card.update(temperature=5.0),
        lambda card: card["network"].update(dropout=0.3),
        lambda card: card["inputs"].update(most=50),
        lambda card: card["combinations"].pop(),
        lambda card: card["combinations"][0].update(parts=[2, 8]),
        lambda card: card["calibration"].pop(),
        lambda card: card["calibration"][3].update(max_parts=2),
        lambda card: card["calibration"][3].update(encoding=None),
    ],
)
def test_all_that_decides_a_p_value_is_part_of_the_identity(directory: Path, change: Any) -> None:
    before = storage.identity_of(directory)
    edit(lambda card: card.update(licence="another"))(directory)
    assert storage.identity_of(directory) == before == Detector.load(directory).identity
    edit(change)(directory)
    assert storage.identity_of(directory) != before
    assert storage.identity_of(directory) == Detector.load(directory).identity


def test_a_detector_is_found_by_name_or_directory(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bundled.find("freqsan-small").is_absolute()
    assert bundled.address("freqsan-small") == "freqsan-small"
    monkeypatch.chdir(directory.parent)
    assert bundled.find("mine") == directory
    assert bundled.address(Path("mine")) == str(directory)
    directory.rename(directory.parent / "freqsan-small")
    assert bundled.find("./freqsan-small") == directory.parent / "freqsan-small"
    assert bundled.find("freqsan-small") == bundled.BUNDLED / "freqsan-small"


def test_an_unknown_name_lists_the_bundled_ones() -> None:
    with pytest.raises(InputError, match=r"no detector 'nonesuch'.*bundled ones are freqsan-small"):
        bundled.find("nonesuch")


@pytest.mark.parametrize("command", ["clean", "score"])
def test_a_wrong_name_is_told_before_torch_is_loaded(command: str, tmp_path: Path) -> None:
    code = (
        "import sys, freqsan\n"
        f"try: freqsan.{command}('x', {str(tmp_path / 'out')!r}, detector='nosuch')\n"
        "except freqsan.InputError as error: print(error, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("no detector 'nosuch'")
    assert done.stdout.endswith("False\n")


def test_a_detector_is_loaded_once_and_anew_when_it_changes(directory: Path) -> None:
    first = load_detector(directory)
    assert load_detector(str(directory)) is first
    edit(lambda card: card["calibration"].pop())(directory)
    assert load_detector(directory).identity != first.identity
    with pytest.raises(InputError, match="is no detector"):
        load_detector(directory.parent)
