"""What long work says of itself: how much there is, how far it is, how long it takes."""

import io
import sys
import time

import pytest

from pipelines.runs.progress import LINE_SECONDS, Progress, counting


class Clock:
    """A clock that is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_start_a_line_now_and_then_and_an_end(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress("scoring")
    progress.start(total=30_000)
    clock.now += 1
    progress.advance(100)  # too early for a line
    clock.now += LINE_SECONDS
    progress.advance(1_000, "loss 0.5")
    clock.now += 289
    progress.advance(28_900)
    progress.finish()
    assert capsys.readouterr().err.splitlines() == [
        "scoring: 30,000 images to do",
        "scoring: 1,100 of 30,000 images, 100/s, about 5 min left, loss 0.5",
        "scoring: 30,000 of 30,000 images, 100/s, less than 1 s left",
        "scoring: 30,000 images done, 5 min, 100 images/s",
    ]


def test_one_is_one_image_and_none_is_not_worth_a_word(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    for total in (0, 1):
        progress = Progress("scanning")
        progress.start(total=total)
        progress.advance(total)
        progress.finish()
    assert capsys.readouterr().err.splitlines() == [
        "scanning: 1 image to do",
        "scanning: 1 image done, less than 1 s",  # and no rate, which would be that of the start
    ]


def test_where_the_number_is_not_known_it_follows_from_the_bytes(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress("scoring")
    progress.start(total=None, size=4_200_000_000, done=500, size_done=200_000_000)
    clock.now += LINE_SECONDS
    progress.advance(500, size=220_000_000)
    assert capsys.readouterr().err.splitlines() == [
        "scoring: 500 images were done by an earlier run, going on",
        "scoring: images in 4.2 GB in all",
        "scoring: 1,000 of about 10,000 images, 50/s, about 3 min left",
    ]


def test_the_bar_of_a_terminal_has_that_total_too(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", terminal)
    progress = Progress("scoring")
    progress.start(total=None, size=1_000)
    clock.now += 10
    progress.advance(20, size=100)
    progress.finish()
    assert "20/200" in terminal.getvalue()


def test_what_is_found_little_by_little_has_no_total(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with counting("listing photos", unit="files", quiet=False) as found:
        found(10_000)
    assert capsys.readouterr().err.splitlines() == [
        "listing photos …",
        "listing photos: 10,000 files done, less than 1 s",
    ]
