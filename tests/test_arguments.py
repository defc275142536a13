"""The Python functions: the arguments of their commands, and one line for what is no argument."""

import inspect
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

import freqsan
from freqsan import InputError, clean, demo, ingest, poison, prove, reject, score, spectrum, train
from pipelines.cli import main
from pipelines.jobs.demo import SAMPLE


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_has_a_function_with_the_same_name_and_arguments(command: str) -> None:
    options = {option.name for option in main.commands[command].params}
    own = options - {"as_json", "dry_run"}
    assert own == inspect.signature(getattr(freqsan, command)).parameters.keys()
    if "dry_run" in options:  # of which there is a function, too
        assert own <= inspect.signature(freqsan.dry_run).parameters.keys()


@pytest.mark.parametrize("command", sorted(main.commands))
def test_help_and_signature_tell_the_same_defaults(command: str) -> None:
    signature = inspect.signature(getattr(freqsan, command))
    for option in main.commands[command].params:
        if isinstance(option, click.Option) and option.show_default is True:
            assert option.default == signature.parameters[str(option.name)].default, option.name


CALLS: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
    (clean, {"workers": "3"}, "workers: expected a whole number, got '3'"),
    (clean, {"workers": True}, "workers: expected a whole number, got True"),
    (clean, {"workers": -1}, "workers: expected at least 1, got -1"),
    (clean, {"shard_rows": 1.5}, "shard rows: expected a whole number, got 1.5"),
    (clean, {"policy": "fdr", "fdr": "0.05"}, "fdr: expected a finite number or None, got '0.05'"),
    (clean, {"policy": 1}, "policy: expected a text, got 1"),
    (clean, {"max_clean_loss": math.nan}, "max clean loss: expected a finite number or None"),
    (clean, {"max_clean_loss": 0.7}, "max clean loss: expected above 0, at most 0.5, got 0.7"),
    (clean, {"policy": "budget", "fdr": 0.05}, "fdr: has no effect with policy budget"),
    (clean, {"quiet": "no"}, "quiet: expected True or False, got 'no'"),
    (clean, {"input": None}, "input: expected a path, got None"),
    (clean, {"input": b"photos"}, "input: expected a path, got b'photos'"),
    (clean, {"input": ""}, "input: expected a path, got ''"),
    (clean, {"input": "a\0b"}, "input: expected a path, got 'a"),
    (ingest, {"output": ""}, "output: expected a path, got ''"),
    (score, {"trusted": 3}, "trusted: expected a path or None, got 3"),
    (score, {"split": 0}, "split: expected a text or None, got 0"),
    (score, {"detector": None}, "detector: expected a path, got None"),
    (poison, {"attack": None}, "attack: expected a text, got None"),
    (poison, {"rate": "high"}, "rate: expected a finite number, got 'high'"),
    (poison, {"rate": 10**400}, "rate: expected a finite number, got 1000"),
    (poison, {"seed": 0.0}, "seed: expected a whole number, got 0.0"),
    (poison, {"target_label": 1.5}, "target label: expected a whole number or a text or None"),
    (poison, {"attack_settings": "alpha=1"}, "attack settings: expected a mapping or None"),
    (prove, {"runs": "1"}, "runs: expected a whole number, got '1'"),
    (train, {"inputs": 3}, "inputs: expected one or several texts, got 3"),
    (train, {"inputs": ["a", 3]}, r"inputs: expected one or several texts, got \['a', 3\]"),
    (train, {"epochs": None}, "epochs: expected a whole number, got None"),
    (spectrum, {"quiet": 1}, "quiet: expected True or False, got 1"),
    (demo, {"overwrite": None}, "overwrite: expected True or False, got None"),
]


@pytest.mark.parametrize(("function", "given", "words"), CALLS)
def test_what_is_no_argument_is_told_in_one_line_before_anything_is_done(
    function: Callable[..., Any],
    given: dict[str, Any],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    needed = {"input": str(SAMPLE), "inputs": [str(SAMPLE)], "output": "out", "attack": "badnets"}
    taken = inspect.signature(function).parameters
    given = {name: value for name, value in needed.items() if name in taken} | given
    with pytest.raises(InputError, match=f"^{words}") as error:
        function(**given)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


class Place(os.PathLike[str]):
    """A path of somebody's own kind."""

    def __init__(self, path: Path):
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


def test_what_is_as_good_is_taken(tmp_path: Path) -> None:
    manifest = ingest(
        Place(SAMPLE),  # type: ignore[arg-type]
        np.str_(tmp_path / "out"),
        shard_rows=np.int64(500),
        quiet=np.bool_(True),
        beam_options="--direct_running_mode=in_memory",
    )
    assert len(manifest.shards) == 2
    assert ingest(SAMPLE, tmp_path / "out", shard_rows=500, quiet=True) == manifest


def test_a_single_input_of_train_needs_no_list(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing: no such file or folder"):
        train(str(tmp_path / "missing"), tmp_path / "out")


def test_names_are_told_as_python_does() -> None:
    with pytest.raises(TypeError, match=r"clean\(\) got an unexpected keyword argument 'worker'"):
        clean("photos", "out", worker=1)
    with pytest.raises(TypeError, match=r"reject\(\) missing a required argument: 'images'"):
        reject()  # type: ignore[call-arg]


def test_help_lists_the_settings() -> None:
    assert "shard_rows" in inspect.signature(clean).parameters
    assert "settings" not in inspect.signature(clean).parameters
