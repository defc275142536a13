"""The house: imports point down, light modules stay light, and what users import is ours."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LEAVES = ("attacks", "sanitizer", "detector")

#: What each room may import, beside itself; an arrow that is not here is not allowed.
ALLOWED: dict[str, tuple[str, ...]] = {
    "sanitizer": (),
    "attacks": ("sanitizer",),
    "detector": ("sanitizer",),
    "pipelines.sources": ("sanitizer",),
    "pipelines.runs": ("sanitizer", "pipelines.sources"),
    "pipelines.judging": ("sanitizer", "detector", "pipelines.runs", "pipelines.sources"),
    "pipelines.transforms": (
        *("sanitizer", "detector"),
        *("pipelines.judging", "pipelines.runs", "pipelines.sources"),
    ),
    "pipelines.poisoning": ("sanitizer", "attacks", "pipelines.runs", "pipelines.sources"),
    "pipelines.evaluation": (
        *("sanitizer", "attacks", "detector"),
        *("pipelines.judging", "pipelines.poisoning", "pipelines.runs", "pipelines.sources"),
    ),
    "pipelines.proof": (
        *("sanitizer", "attacks"),
        *("pipelines.poisoning", "pipelines.runs", "pipelines.sources"),
    ),
    "pipelines.reviewing": ("sanitizer", "pipelines.runs"),
    "pipelines.exporting": ("sanitizer", "pipelines.runs", "pipelines.sources"),
    "pipelines.report": ("sanitizer", "pipelines.runs", "pipelines.sources"),
    "pipelines.results": (
        *("sanitizer", "pipelines.report", "pipelines.runs", "pipelines.sources"),
    ),
    "pipelines.jobs": (*LEAVES, "pipelines"),
    "pipelines.process": (),
    "pipelines.cli": ("sanitizer", "pipelines"),
    "freqsan": ("sanitizer", "pipelines"),
}


def room_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:2]) if parts[0] == "pipelines" else parts[0]


def files_of(room: str) -> list[Path]:
    folder = ROOT / room.replace(".", "/")
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


#: What stands at the top of the repository, beside the rooms.
TOP = {
    *(".ci", ".dockerignore", ".github", ".gitignore"),
    *("benchmarks", "docs", "examples", "freqsan.py", "tests"),
    *("pyproject.toml", "setup.py"),
    "mkdocs.yml",  # MkDocs takes no folder of pages that is not below it
    "Dockerfile",  # as is what a build of an image sees
    *("CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "README.md"),  # where one looks
}


def test_only_what_is_listed_stands_at_the_top() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a checkout of git")
    found = {name.partition("/")[0] for name in listed.stdout.split("\0") if name}
    assert found == TOP | {*LEAVES, "pipelines"}


def test_every_room_has_its_arrows_listed() -> None:
    rooms = {room_of(file) for top in (*LEAVES, "pipelines") for file in files_of(top)}
    assert rooms - {"pipelines.__init__"} | {"freqsan"} == ALLOWED.keys()


@pytest.mark.parametrize("room", ALLOWED)
def test_imports_follow_the_arrows(room: str) -> None:
    allowed = (room, *ALLOWED[room])
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in files_of(room)
        for name in imported(file)
        if name.split(".")[0] in (*LEAVES, "pipelines", "freqsan")
        and not any(name == a or name.startswith(f"{a}.") for a in allowed)
    ]
    assert not wrong


def test_no_arrow_runs_back_up() -> None:
    seen: set[str] = set()
    for room, below in ALLOWED.items():
        if room not in ("pipelines.jobs", "pipelines.cli", "freqsan"):
            assert seen.issuperset(below), f"{room} uses a room that stands above it"
        seen.add(room)


@pytest.mark.parametrize(
    ("module", "barred"),
    [
        ("freqsan", "torch apache_beam great_expectations pyarrow numpy pandas datasets msgspec"),
        ("pipelines.cli", "torch apache_beam great_expectations pyarrow numpy pandas datasets"),
        ("attacks", "torch apache_beam great_expectations pandas"),
        ("sanitizer.records", "torch apache_beam great_expectations pandas"),
        ("sanitizer.summary", "torch apache_beam great_expectations pandas scipy.stats"),
        ("detector.bundled", "torch apache_beam scipy pandas"),
        ("detector.inputs", "torch apache_beam pandas"),
        ("detector.model", "torch apache_beam scipy pandas"),
        ("pipelines.judging.score", "torch apache_beam great_expectations pandas"),
        ("sanitizer.policy", "torch apache_beam pandas scipy"),
        ("pipelines.jobs.detectors", "torch apache_beam great_expectations pandas"),
        ("pipelines.report.page", "torch apache_beam great_expectations pandas"),
        ("pipelines.report.validation", "torch apache_beam great_expectations pandas"),
        ("pipelines.process", "click torch apache_beam numpy pyarrow"),
        ("pipelines.sources", "torch apache_beam great_expectations pandas datasets"),
        ("pipelines.runs.job", "torch apache_beam great_expectations pandas scipy"),
        ("pipelines.jobs.clean", "torch apache_beam great_expectations pandas scipy datasets"),
        ("pipelines.jobs.score", "torch apache_beam great_expectations pandas scipy datasets"),
        ("pipelines.jobs.ingest", "torch apache_beam great_expectations pandas scipy datasets"),
        ("pipelines.jobs.evaluate", "torch apache_beam great_expectations pandas scipy datasets"),
        ("pipelines.jobs.poison", "torch apache_beam great_expectations datasets matplotlib"),
        ("pipelines.jobs.export", "torch apache_beam great_expectations pandas scipy datasets"),
        ("pipelines.judging.split", "great_expectations pandas apache_beam"),
        ("pipelines.judging.serving", "great_expectations pandas apache_beam"),
    ],
)
def test_light_modules_stay_light(module: str, barred: str) -> None:
    code = f"import sys, {module}\nprint(*[n for n in {barred.split()!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_the_command_imports_nothing_before_it_is_ready_for_signals() -> None:
    code = f"import sys; before = {{*sys.modules}}; sys.path.insert(0, {str(ROOT)!r}); "
    code += "import freqsan; print(*{*sys.modules} - before)"
    run = [sys.executable, "-I", "-S", "-c", code]  # without what other packages import at start
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["freqsan"]


@pytest.mark.parametrize("shadow", ["pipelines/__init__.py", "attacks.py"])
def test_a_package_that_stands_in_front_of_ours_is_named(tmp_path: Path, shadow: str) -> None:
    other = tmp_path / shadow
    other.parent.mkdir(exist_ok=True)
    other.touch()
    run = [sys.executable, "-c", "from freqsan import clean"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    name = Path(shadow).parts[0].removesuffix(".py")
    assert last.startswith(f"ImportError: freqsan needs its own package {name!r}")
    assert str(tmp_path) in last


def test_a_package_made_by_hand_is_named_too() -> None:
    code = "import sys, types; sys.modules['attacks'] = types.ModuleType('attacks')\n"
    run = [sys.executable, "-c", f"{code}from freqsan import clean"]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: freqsan needs its own package 'attacks'")
    assert "<module 'attacks'>" in last


@pytest.mark.parametrize(
    "shadow", ["pipelines/__init__.py", "attacks.py", "pathlib.py", "click.py"]
)
def test_nothing_in_the_working_directory_runs(tmp_path: Path, shadow: str) -> None:
    other = tmp_path / shadow
    other.parent.mkdir(exist_ok=True)
    other.write_text("print('executed')")
    run = [sys.executable, "-m", "freqsan", "attacks"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        run, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert "badnets" in done.stdout
    assert "executed" not in done.stdout


def test_all_that_is_printed_goes_through_one_place_each_way() -> None:
    """There names of the data, which may hold anything, are made fit for a terminal."""
    printing = re.compile(r"\b(click\.s?echo|(?<!_)print|_Bar\.write|std(?:out|err)\.write)\(")
    found = [
        f"{file.relative_to(ROOT)}: {match[1]}"
        for room in ALLOWED
        for file in files_of(room)
        for match in printing.finditer(file.read_text(encoding="utf-8"))
    ]
    assert sorted(found) == [
        "pipelines/cli.py: click.echo",
        "pipelines/report/validation.py: print",  # of the helper, for the process that started it
        "pipelines/runs/progress.py: _Bar.write",
    ]
