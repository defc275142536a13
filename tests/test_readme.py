"""README holds what its first screen promises, and CI runs its two commands."""

import re

import pytest
from documents import ROOT, prose, read

from sanitizer.images import FORMATS

README = read("README.md")


def test_ci_runs_the_two_commands_of_the_readme() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    commands = re.findall(r"^python3 -m venv .*$", README, flags=re.M)
    assert len(commands) == 2
    assert all(command in ci for command in commands)


def test_the_first_screen_names_every_format_that_is_judged() -> None:
    first = README[: README.index("## Install")]
    assert all(re.search(rf"\b{name}\b", first, flags=re.I) for name in FORMATS)


def test_the_figures_of_the_first_screen_are_those_that_were_measured() -> None:
    """The times, as pages of the measurements have them, and the table of triggers."""
    measured = prose("benchmarks/README.md")
    for seconds, shown in (("30.6", "31 s"), ("235.7", "236 s"), ("345.5", "346 s")):
        assert f"| {seconds} |" in measured
        assert shown in README
    reach = measured[measured.index("## Reach of the scan") : measured.index("## Triggers by lot")]
    rows = {"white square": "badnets", "warp": "wanet", "smooth": "smooth", "mean": r"\*\*mean\*\*"}
    for words, attack in rows.items():
        found = re.search(rf"^\| {attack} \|(.*)\|$", reach, flags=re.M)
        assert found, attack
        figures = [float(cell.partition("/")[0]) for cell in found[1].split("|")]
        row = re.search(rf"^\| {words}[^|]*\|(.*)\|$", README, flags=re.M)
        assert row, words
        shown = [float(cell) for cell in row[1].split("|")[:3]]
        of_five_percent = [figures[2], figures[5], figures[9]]
        assert shown == pytest.approx(of_five_percent, abs=0.5)
