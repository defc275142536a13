"""The pages on scripts and notebooks are true: options, codes, names and files are as they say."""

import re
from pathlib import Path

import click
import pytest

import freqsan
from freqsan import FreqsanError, InputError, PoisonedError, RunError, UnjudgedError
from pipelines.cli import main
from pipelines.jobs.clean import CleanManifest
from pipelines.results.rows import Rows

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = [DOCS / f"{name}.md" for name in ("exit-codes", "notebooks", "scripts")]


def test_the_table_of_exit_codes_is_that_of_the_errors() -> None:
    page = (DOCS / "exit-codes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \|.*\| `(\w+)`[^|]*\|$", page, flags=re.M)
    kinds: dict[str, type[FreqsanError]] = {
        each.__name__: each for each in (InputError, PoisonedError, RunError, UnjudgedError)
    }
    told = [(int(code), kind) for code, kind in rows if kind in kinds]
    assert sorted(told) == sorted((each.exit_code, name) for name, each in kinds.items())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_options_and_files_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for command, rest in re.findall(r"^freqsan (\w+)(.*)$", text, flags=re.M):
        known = {option for each in main.commands[command].params for option in each.opts}
        assert set(re.findall(r" (--[a-z-]+)", rest)) <= known
    options = {o for c in main.commands.values() for p in c.params for o in p.opts}
    assert set(re.findall(r"`(--[a-z-]+)", text)) <= options
    for name in re.findall(r"\]\(([^)h#][^)]*)\)", text):
        assert (DOCS / name).exists(), name
    for names in re.findall(r"^from freqsan import (.+)$", text, flags=re.M):
        assert set(names.split(", ")) <= set(freqsan.__all__)


def test_what_the_table_of_a_result_names_exists() -> None:
    page = (DOCS / "notebooks.md").read_text(encoding="utf-8")
    for name in re.findall(r"`(?:result)?\.(\w+)(?:\(|`)", page):
        assert (
            hasattr(CleanManifest, name)
            or hasattr(freqsan.spectrum, name)
            or name in {*("counts", "figure", "values")}
        ), name
    for name in re.findall(r"`….(\w+)\(", page):
        assert hasattr(Rows, name)


def test_every_limit_is_an_option_of_the_commands_that_the_page_names() -> None:
    def options(command: str) -> set[str]:
        return {
            option
            for each in main.commands[command].params
            if isinstance(each, click.Option)
            for option in each.opts
        }

    for command in ("clean", "score", "scan"):
        assert options(command) >= {"--fail-on-poisoned", "--max-unjudged", "--dry-run", "--json"}
    assert "--max-unjudged" in options("features")
    assert "--fail-on-poisoned" not in options("features")
