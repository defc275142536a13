"""``freqsan craft``: from an image set to a trigger that ``poison`` takes."""

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from commands import run
from schemas import check_printed

from attacks.crafting import l2_inv
from attacks.victims.settings import VICTIMS
from freqsan import craft, poison
from pipelines.jobs.demo import SAMPLE
from sanitizer.errors import InputError


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = replace(VICTIMS["quick"], widths=(4, 4, 8, 8), epochs=1, min_steps=0)
    monkeypatch.setitem(VICTIMS, "quick", tiny)
    monkeypatch.setattr(l2_inv, "STEPS", 3)


@pytest.fixture(name="image_set")
def _image_set(tmp_path: Path) -> Path:
    path = tmp_path / "set.parquet"
    table = pq.read_table(str(SAMPLE)).slice(0, 120)
    pq.write_table(table.drop_columns(["is_poisoned", "original_label", "attack"]), path)
    return path


def test_a_crafted_trigger_poisons(image_set: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    result = run("craft", "l2_inv", image_set, "--output", file)
    assert result.exit_code == 0, result.output
    assert f"{file}; use it with --attack l2_inv --set trigger=FILE" in result.stdout
    assert "training the quick victim" in result.stderr
    manifest = poison(
        image_set,
        tmp_path / "poisoned",
        attack="l2_inv",
        attack_settings={"trigger": str(file)},
        quiet=True,
    )
    assert manifest.counts.poisoned > 0


def test_crafting_repeats_itself(image_set: Path, tmp_path: Path) -> None:
    files = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    first, second = (craft("l2_inv", image_set, file, seed=4, quiet=True) for file in files)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert first == second
    assert first.command == "freqsan craft l2_inv INPUT --output FILE"
    assert first.seed == 4
    result = run("craft", "l2_inv", image_set, "--output", files[0], "--quiet", "--json")
    printed = check_printed("craft", result.stdout)
    assert printed["attack"] == "l2_inv"
    assert printed["l2_norm"] == l2_inv.NORM
    assert len(printed["classifier"]["history"]) == 1
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("smoth",), "no attack 'smoth' with an optimised trigger, known: smooth, "),
        (("badnets",), "no attack 'badnets' with an optimised trigger"),
        (("l2_inv", "--classifier", "imagenet"), "no classifier 'imagenet', known: cifar10"),
        (("l2_inv", "--classifier", "cifar10"), "tells 10 classes apart"),
        (("l2_inv", "--label-column", "none"), "no column 'none'"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...], words: str, image_set: Path, tmp_path: Path
) -> None:
    attack, *options = arguments
    result = run("craft", attack, image_set, "--output", tmp_path / "t.safetensors", *options)
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert words in result.stderr
    assert not (tmp_path / "t.safetensors").exists()


def test_where_a_trigger_cannot_be_written(image_set: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ending in \.safetensors"):
        craft("l2_inv", image_set, tmp_path / "trigger.npz")
    with pytest.raises(InputError, match="is no directory"):
        craft("l2_inv", image_set, tmp_path / "missing" / "trigger.safetensors")
    with pytest.raises(InputError, match="cannot be written"):
        craft("l2_inv", image_set, "/proc/trigger.safetensors")
