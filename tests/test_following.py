"""The progress of a training: a line now and then, without a rate of its own."""

import time

import pytest

from pipelines.runs.following import EPOCH_LINES, follow
from sanitizer.training import TrainingObserver, TrainingState


def train(observer: TrainingObserver, epochs: int, first: int = 1) -> None:
    """Tell an observer of a training of 100 images in steps of 50, from an epoch on."""
    for epoch in range(first, epochs + 1):
        for done in (50, 100):
            state = TrainingState(epoch, epochs, 100 * (epoch - 1) + done, 100 * epochs, 0.5)
            observer(state)
        observer(TrainingState(epoch, epochs, 100 * epoch, 100 * epochs, 0.5, {"asr": epoch / 100}))


def test_the_end_of_an_epoch_is_a_line_with_loss_and_figures(
    capsys: pytest.CaptureFixture[str],
) -> None:
    train(follow("a victim", quiet=False, names={"asr": "ASR"}), epochs=2)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "training a victim: 200 images to do"
    assert lines[1] == "training a victim: epoch 1 of 2, loss 0.500, ASR 1.0%"
    assert lines[2] == "training a victim: epoch 2 of 2, loss 0.500, ASR 2.0%"
    assert lines[3].startswith("training a victim: 200 images done, ")
    assert len(lines) == 4


def test_many_epochs_are_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    train(follow("a victim", quiet=False), epochs=95)
    lines = [line for line in capsys.readouterr().err.splitlines() if "epoch" in line]
    assert len(lines) == EPOCH_LINES
    assert lines[-1] == "training a victim: epoch 95 of 95, loss 0.500, asr 95.0%"


def test_epochs_of_an_earlier_run_are_not_counted_as_this_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    train(follow("a detector", unit="views", quiet=False), epochs=4, first=4)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "training a detector: 300 views were done by an earlier run, going on"
    assert lines[1] == "training a detector: 400 views in all"


def test_the_first_step_has_taken_time_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resumed training may have one step to go; its rate is not that of no time at all."""
    observer = follow("a victim", quiet=False)
    later = time.monotonic() + 10
    monkeypatch.setattr(time, "monotonic", lambda: later)
    train(observer, epochs=4, first=4)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "training a victim: 400 images done, 10 s, 10 images/s"


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    train(follow("a victim", quiet=True), epochs=2)
    assert capsys.readouterr().err == ""
