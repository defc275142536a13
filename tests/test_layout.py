"""The house: imports point from the hub to the leaves, and light modules stay light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("attacks", "sanitizer", "detector", "pipelines")

#: Which of our packages or modules a package may import, beside itself.
ALLOWED = {
    "attacks": ("sanitizer",),
    "sanitizer": (),
    "detector": ("sanitizer.dct", "sanitizer.images", "sanitizer.tiles"),
    "pipelines": ("attacks", "sanitizer", "detector"),
}


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_from_the_hub_to_the_leaves(package: str) -> None:
    allowed = (package, *ALLOWED[package])
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in (ROOT / package).rglob("*.py")
        for name in imported(file)
        if name.split(".")[0] in PACKAGES
        and not any(name == a or name.startswith(f"{a}.") for a in allowed)
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("module", "barred"),
    [
        ("pipelines.cli", "torch apache_beam great_expectations pyarrow numpy pandas datasets"),
        ("attacks", "torch apache_beam great_expectations pandas"),
        ("sanitizer.records", "torch apache_beam great_expectations pandas"),
        ("pipelines.report.page", "torch apache_beam great_expectations pandas"),
        ("pipelines.report.validation", "torch apache_beam great_expectations pandas"),
        ("pipelines.sources", "torch apache_beam great_expectations pandas datasets"),
        ("pipelines.runs.job", "torch great_expectations"),
        ("pipelines.jobs.poison", "torch great_expectations datasets matplotlib"),
        ("pipelines.judging.score", "great_expectations pandas apache_beam"),
        ("pipelines.judging.serving", "great_expectations pandas apache_beam"),
    ],
)
def test_light_modules_stay_light(module: str, barred: str) -> None:
    code = f"import sys, {module}\nprint(*[n for n in {barred.split()!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
