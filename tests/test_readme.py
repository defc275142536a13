"""The README is true: its commands, functions and options are those that exist."""

import re
from pathlib import Path

import click

import freqsan
from pipelines.cli import main

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_commands_and_functions_of_the_readme_are_those_that_exist() -> None:
    rows = re.findall(r"^\| `freqsan (\w+)[^`]*` \| `(\w+)\(", README, flags=re.M)
    assert sorted(command for command, _ in rows) == sorted(main.commands)
    assert {function for _, function in rows} <= set(freqsan.__all__)
    assert all(command == function for command, function in rows)


def test_options_of_the_readme_exist() -> None:
    known = {
        option
        for command in main.commands.values()
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    named = set(re.findall(r"`(--[a-z-]+)", README)) - {"--job_endpoint"}
    assert named <= known


def test_files_that_the_readme_names_exist() -> None:
    for name in re.findall(r"\]\(([^)h#][^)]*)\)", README):
        assert (ROOT / name).exists(), name


def test_ci_runs_the_two_commands_of_the_readme() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    commands = re.findall(r"^python3 -m venv .*$", README, flags=re.M)
    assert len(commands) == 2
    assert all(command in ci for command in commands)
