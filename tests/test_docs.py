"""The documents are true: what they show runs, what they name exists, links lead somewhere."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from importlib import metadata
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from commands import run
from documents import PAGES, ROOT, anchors, blocks, commands, links, read
from samples import TARGET, with_one_trigger

import freqsan
from docs.commands import PAGE, page
from pipelines.cli import main

#: Programs that documents may use, beside freqsan and Python.
PROGRAMS = {
    "dask",
    "docker",
    "export",
    "jupyter",
    "mkdocs",
    "mypy",
    "pip",
    "pytest",
    "ruff",
    "uv",
    "xargs",
}

#: Their options, where a page names one by itself.
OF_OTHERS = {"--index-url", "--network", "--nworkers"}

#: Commands that are only parsed here, and why: what a word of them is.
ONLY_PARSED = {
    "--dask-scheduler": "needs a cluster; tests/test_dask.py",
    "PortableRunner": "needs a job service; tests/test_elsewhere.py",
    "s3://bucket/photos": "needs a store; tests/test_object_stores.py",
    "s3://bucket/cleaned": "the same",
    "prove": "takes minutes; tests/test_prove.py",
    "evaluate": "takes minutes; tests/test_evaluate.py",
    "train": "takes minutes; tests/test_train.py",
    "tune": "takes minutes; tests/test_tune.py",
    "craft": "takes minutes; tests/test_craft_command.py",
    "photos/list.csv": "needs such a table; tests/test_sources_paths.py",
    "photos.zip:train": "needs such an archive; tests/test_sources_zip.py",
    "cat.png": "needs such an image; tests/test_sources_folder.py",
    "my-detector": "needs a detector that was trained",
    "trigger=smooth.safetensors": "needs a trigger that was crafted",
}

#: Commands whose OUTPUT is not there yet; others work on one.
WRITING = {"clean", "demo", "features", "ingest", "poison", "scan", "score"}

#: Python that is only compiled here, and why: page by page.
ONLY_COMPILED = {
    "docs/cluster.md": "needs a cluster",
    "docs/commands.md": "signatures, made from the code",
    "docs/export.md": "needs what its commands leave; tests/test_export.py",
    "docs/object-stores.md": "needs a store",
    "docs/proving.md": "takes minutes",
}


def is_freqsan(words: list[str]) -> bool:
    return words[0].rpartition("/")[2] == "freqsan"


def shown(page: str) -> list[list[str]]:
    """The commands of a page, as words."""
    return [words for block in blocks(page) if block.kind == "sh" for words in commands(block)]


def test_the_reference_is_what_the_commands_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m docs.commands`"


def test_the_reference_has_every_command_and_its_function() -> None:
    named = re.findall(r"^## freqsan (\w+)$", page(), flags=re.M)
    assert named == sorted(main.commands)
    assert set(named) <= set(freqsan.__all__)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_exists_with_its_options(page: str) -> None:
    extras = set(metadata.metadata("freqsan").get_all("Provides-Extra") or ())
    for words in shown(page):
        words = [word for word in words if not re.match(r"[A-Z_]+=", word)]  # of the environment
        program = words[0].rpartition("/")[2]
        if "install" in words:
            asked = re.findall(r"\[([\w,]+)\]", " ".join(words))
            assert {extra for several in asked for extra in several.split(",")} <= extras, words
        if program == "freqsan":
            # This raises for what the command does not know.
            main.commands[words[1]].make_context(words[1], [*words[2:]])
        elif program.startswith("python"):
            assert "venv" in words or is_script(words), words
        else:
            assert program in PROGRAMS, words


def is_script(words: list[str]) -> bool:
    """Whether the script or module exists that Python is to run."""
    if words[1] != "-m":
        return (ROOT / words[1]).exists()
    module = ROOT / words[2].replace(".", "/")
    return module.with_suffix(".py").exists() or (module / "__main__.py").exists()


@pytest.mark.parametrize("page", [page for page in PAGES if not page.startswith("benchmarks/")])
def test_every_option_that_is_named_exists(page: str) -> None:
    options = [
        parameter
        for command in (main, *main.commands.values())
        for parameter in command.params
        if isinstance(parameter, click.Option)
    ]
    known = {name for option in options for name in (*option.opts, *option.secondary_opts)}
    named = set(re.findall(r"`(--[a-z][a-z_-]*)", read(page)))
    assert {name for name in named if "_" not in name} <= known | OF_OTHERS  # Beam's have a _


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    for target in links(page):
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path.resolve().relative_to(ROOT).as_posix()), target


@pytest.fixture
def sandbox(sets: Path) -> Path:
    """The same for each test, whatever others have cleaned, with ``cleaned/`` of ``photos/``."""
    renew(sets)
    return sets


def renew(sets: Path) -> None:
    shutil.rmtree(sets / "cleaned", ignore_errors=True)
    shutil.copytree(sets / "finished", sets / "cleaned")


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sets that documents speak of: four classes, one of them with a trigger."""
    here = tmp_path_factory.mktemp("documents")
    table = with_one_trigger()
    sizes = Counter(table["label"].to_pylist()).most_common(4)
    table = table.filter(pc.is_in(table["label"], pa.array([label for label, _ in sizes])))
    pq.write_table(table.select(["image", "label"]), here / "train.parquet")
    names = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]["label"]["names"]
    names[TARGET] = "cat"
    rows = list(enumerate(table.to_pylist()))
    innocent = [(i, row) for i, row in rows if not row["is_poisoned"]]
    chosen_of = {
        **dict.fromkeys(("photos", "my_photos", "suspect"), rows),
        "known_good": innocent[::6],
        "new_photos": rows[::9],
        "requests": rows[::200],
    }
    for name, chosen in chosen_of.items():
        for i, row in chosen:
            folder = here / name if name == "requests" else here / name / names[row["label"]]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{i:04d}.png").write_bytes(row["image"]["bytes"])
    (here / "shards").mkdir()
    with tarfile.open(here / "shards" / "00.tar", "w") as tar:
        tar.add(here / "new_photos" / "cat", arcname=".")
    kept = next(f"cat/{i:04d}.png" for i, row in innocent if row["label"] == TARGET)
    (here / "decisions.csv").write_text(f"sample_id,decision\n{kept},remove\n", encoding="utf-8")
    with contextlib.chdir(here):
        assert run("clean", "photos/", "finished/").exit_code == 0
    return here


@pytest.fixture(scope="module")
def demo(sets: Path) -> str:
    """What ``freqsan demo`` prints."""
    with contextlib.chdir(sets):
        return run("demo").stdout


def is_run(words: list[str]) -> bool:
    return is_freqsan(words) and ONLY_PARSED.keys().isdisjoint(words)


@pytest.mark.parametrize("page", [p for p in PAGES if any(map(is_run, shown(p)))])
def test_every_command_runs_and_prints_what_is_shown(
    page: str, sandbox: Path, demo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sandbox)
    said = ""
    for block in blocks(page):
        if block.kind == "text" and "…\n" in block.text and not block.text.startswith("OUTPUT/"):
            shown = re.escape(block.text.strip()).replace("…", ".*?")
            assert re.search(shown, said, flags=re.DOTALL), said
        if block.kind != "sh":
            continue
        if page == "docs/commands.md":  # where each command stands for itself
            renew(sandbox)
        for words in filter(is_run, commands(block)):
            name, *arguments = words[1:]
            if words[1:] == ["demo"]:  # which several pages have
                said = demo
                continue
            context = main.commands[name].make_context(name, [*arguments])
            if name in WRITING:  # as if nothing had been run before
                shutil.rmtree(context.params["output"], ignore_errors=True)
            if name == "export":
                shutil.rmtree(context.params["dest"], ignore_errors=True)
                Path(context.params["dest"]).unlink(missing_ok=True)
            done = run(name, *arguments)
            said = done.output
            # The sets are poisoned, by more than a gate lets through.
            expected = 3 if "--fail-on-poisoned" in words else 0
            assert done.exit_code == expected, f"{words}: {said}"


@pytest.mark.parametrize("page", PAGES)
def test_the_python_compiles(page: str) -> None:
    for block in blocks(page):
        if block.kind == "python":
            compile(block.text, page, "exec")


@pytest.mark.parametrize("page", PAGES)
def test_the_python_runs(page: str, sandbox: Path) -> None:
    lines = [block.text for block in blocks(page) if block.kind == "python"]
    if not lines or page in ONLY_COMPILED:
        pytest.skip(ONLY_COMPILED.get(page, "has none"))
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        cwd=sandbox,
        env=os.environ | {"HF_HOME": str(sandbox / "hub"), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_site_builds_and_asks_nobody(tmp_path: Path) -> None:
    site = tmp_path / "site"
    build = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "--site-dir",
        str(site),
    ]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        build, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    made = {page.replace("README.md", "index.md").replace(".md", ".html") for page in PAGES}
    assert pages - {"404.html"} == made
    loading = re.compile(
        r"<(?:script|img|iframe|source|video)[^>]*\ssrc=[\"']?(?:https?:)?//|"
        r"<link[^>]*rel=[\"']?(?:stylesheet|preconnect|preload|icon)[^>]*href=[\"']?(?:https?:)?//|"
        r"(?:url\(|@import\s*)[\"']?(?:https?:)?//"
    )
    for path in (*site.rglob("*.html"), *site.rglob("*.css")):
        assert not loading.search(path.read_text(encoding="utf-8")), path
    how = (site / "docs" / "how-it-works.html").read_text(encoding="utf-8")
    assert how.count("<math") == read("docs/how-it-works.md").count("```math")
