"""What mkdocs.yml cannot say: which pages stand outside docs/, and how formulas are set."""

from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pymdownx.slugs import slugify

ROOT = Path(__file__).resolve().parents[1]

#: Beside docs/: pages, and files that pages link to.
OUTSIDE = (
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "CITATION.cff", "Dockerfile"),
    *(
        "benchmarks/*.md",
        "examples/*",
        "pipelines/sample/README.md",
        "freqsan.py",
        "attacks/blend.py",
    ),
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Anchors as GitHub makes them, and formulas without a script."""
    settings: dict[str, Any] = config.mdx_configs
    settings["toc"] = settings.get("toc", {}) | {"slugify": slugify(case="lower")}
    formulas = {"name": "math", "class": "math", "format": formula}
    settings["pymdownx.superfences"] = {"custom_fences": [formulas]}
    return config


def formula(source: str, *_: Any, **__: Any) -> str:
    """A block of LaTeX, which GitHub shows as it is, as MathML, which browsers do."""
    return convert(source.strip(), display="block")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Each file under its path in the repository."""
    theirs = [file for file in files if file.abs_src_path is None or not _is_ours(file)]
    ours = [
        *(path for path in Path(config.docs_dir).rglob("*") if path.is_file()),
        *(path for pattern in OUTSIDE for path in ROOT.glob(pattern) if path.is_file()),
    ]
    added = [
        File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path))
        for path in ours
        if path.suffix != ".py" or path.parent.name != "docs"
    ]
    return Files([*theirs, *added])


def _is_ours(file: File) -> bool:
    return Path(str(file.abs_src_path)).is_relative_to(ROOT / "docs")
