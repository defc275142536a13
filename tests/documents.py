"""The documents of the repository, and what stands in them: blocks, links, headings, commands."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]

#: Every page that people read, relative to the repository.
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "benchmarks/*.md", "pipelines/sample/*.md")
    for path in ROOT.glob(pattern)
)

_BLOCK = re.compile(r"^(?P<indent> *)```(?P<kind>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.M | re.S)


class Block(NamedTuple):
    kind: str  #: of what language it is
    text: str


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [Block(found["kind"], found["text"]) for found in _BLOCK.finditer(read(page))]


def prose(page: str) -> str:
    """A page without its fenced blocks."""
    return _BLOCK.sub("", read(page))


def commands(block: Block) -> Iterator[list[str]]:
    """The commands of a block of shell, as words; comments are left out."""
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if "|" in words:  # what comes behind it is no command of ours
            words = words[: words.index("|")]
        while "&&" in words:
            yield words[: words.index("&&")]
            words = words[words.index("&&") + 1 :]
        if words:
            yield words


def anchors(page: str) -> set[str]:
    """What a link into a page may lead to, by GitHub's rule; the site is made by the same."""
    found: dict[str, int] = {}
    names = set()
    for heading in re.findall(r"^#+ +(.*?) *$", prose(page), flags=re.M):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        names.add(name if name not in found else f"{name}-{found[name]}")
        found[name] = found.get(name, 0) + 1
    return names


def links(page: str) -> list[str]:
    """Where links and pictures of a page lead to, but those to the web."""
    found = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(page)))
    return [target for target in found if not target.startswith(("http:", "https:"))]
