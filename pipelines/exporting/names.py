"""Names of files in DEST: they stay inside it, and no two samples get the same.

What a set calls its images is a stranger's: ``../../.bashrc``, ``CON``, a name with a line break,
or two that differ only in case. What came as a file keeps its name where that is plain; all other
names are made of plain letters.
"""

import re
import unicodedata
from array import array
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from pipelines.sources.files import suffix
from pipelines.sources.folder import SUFFIXES

#: Bytes of one part of a path that every file system takes, and of a whole path.
MAX_PART, MAX_PATH = 255, 4000

#: Bytes of a name that is made, so that a number and an extension still fit.
MAX_MADE = 160

#: Extensions of each format, the usual one first.
_EXTENSIONS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
}

#: Of what could not be decoded and was never called an image.
UNKNOWN_EXTENSION = ".bin"

#: What some system does not take in a name, or takes for more than a letter.
_NOT_IN_NAMES = frozenset('\\/:*?"<>|')

#: What needs no look at its letters.
_PLAIN = re.compile(r"[A-Za-z0-9_.-]+")

#: What Windows takes for devices, whatever their extension.
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE | re.DOTALL)

#: Words by which ``load_dataset`` finds the splits of a folder.
_SPLIT_OF = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "dev", "val"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
_SPLIT_WORD = re.compile(rf"(?:^|[-._ 0-9/])({'|'.join(_SPLIT_OF)})(?=[-._ 0-9/])")


def is_plain(name: str) -> bool:
    """Whether a name leads to a file inside the folder that it is relative to, and hides nothing.

    >>> is_plain("cat/a.png"), is_plain("../a.png"), is_plain("/a.png"), is_plain("a/.b.png")
    (True, False, False, False)
    """
    if not name or "\0" in name or len(_encoded(name)) > MAX_PATH:
        return False
    parts = name.split("/")
    return all(part and part[0] != "." and len(_encoded(part)) <= MAX_PART for part in parts)


def made_of(text: str) -> str:
    """A name of one part, made of a text of a stranger's; it stays where it is plain.

    >>> made_of("golf ball"), made_of("../a: b?.png"), made_of("con"), made_of("")
    ('golf ball', '-a- b-.png', 'con_', 'unnamed')
    """
    if _PLAIN.fullmatch(text):  # as most are
        name = text
    else:
        letters = (c if c.isprintable() and c not in _NOT_IN_NAMES else "-" for c in _normal(text))
        name = "".join(letters)
    name = _shortened(name.strip(" .")).strip(" .")
    if _DEVICES.fullmatch(name):
        stem, dot, rest = name.partition(".")
        name = f"{stem}_{dot}{rest}"
    return f"_{name[1:]}" if name.startswith("-") and name[1:].isdecimal() else name or "unnamed"


def with_extension(name: str, image_format: str | None) -> str:
    """A name with the true extension of its image; one that says the same stays.

    >>> with_extension("a.JPEG", "JPEG"), with_extension("a.png", "JPEG"), with_extension("a", None)
    ('a.JPEG', 'a.jpg', 'a.bin')
    """
    own = suffix(name)
    told = _EXTENSIONS.get(image_format or "", ())
    if own in (told or SUFFIXES):
        return name
    stem = name[: -len(own)] if own in SUFFIXES else name
    return stem + extension_of(image_format)


def extension_of(image_format: str | None) -> str:
    """The usual extension of a format, with its dot."""
    return _EXTENSIONS.get(image_format or "", (UNKNOWN_EXTENSION,))[0]


def stem_of(name: str) -> str:
    """A path without the extension of its last part.

    >>> stem_of("cat.d/a.b.png"), stem_of("cat.d/a")
    ('cat.d/a.b', 'cat.d/a')
    """
    end = suffix(name)
    return name[: -len(end)] if end else name


def split_word(name: str) -> str | None:
    """The split that ``load_dataset`` reads from a name in a folder of images, None for none.

    >>> split_word("cat/test_1.png"), split_word("train/1.png"), split_word("latest/1.png")
    ('test', 'train', None)
    """
    match = _SPLIT_WORD.search(name)
    return _SPLIT_OF[match[1]] if match else None


class Names:
    """The names that are given in one folder, each once.

    Of each, eight bytes are kept: Python's hash of text is keyed by a secret of the process, so
    nobody can make two alike, and by chance two of a million names are once in 40 million exports.
    Then one of them only gets a number.

    Args:
        folded: whether names that differ only in case are the same, as they are for some file
            systems.
    """

    def __init__(self, *, folded: bool):
        self.folded = folded
        self._files: set[int] = set()
        self._folders: set[int] = set()
        self._numbers: dict[int, int] = defaultdict(lambda: 1)
        self._last: tuple[str, set[int]] = "", set()  # a folder, and itself and all above it

    def take(self, *wanted: str) -> str:
        """The first of some names that is free, else the last with a number; it is taken then."""
        for name in wanted:
            if self._take(name):
                return name
        last, key = wanted[-1], self._key(wanted[-1])
        while True:
            self._numbers[key] += 1
            name = f"{stem_of(last)}-{self._numbers[key]}{suffix(last)}"
            if self._take(name):
                return name

    def has(self, name: str) -> bool:
        """Whether a file has a name."""
        return self._key(name) in self._files

    def _take(self, name: str) -> bool:
        """Take a name, unless it is a file or a folder, or leads through a file."""
        own, folders = self._key(name), self._keys_of(name.rpartition("/")[0])
        if own in self._files or own in self._folders or folders & self._files:
            return False
        self._files.add(own)
        self._folders |= folders
        return True

    def _keys_of(self, folder: str) -> set[int]:
        """Of a folder and all above it."""
        if folder != self._last[0]:
            parts = folder.split("/")
            paths = ("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
            self._last = folder, {self._key(path) for path in paths}
        return self._last[1]

    def _key(self, name: str) -> int:
        if not self.folded:
            return hash(name)
        return hash(name.lower() if name.isascii() else _normal(name).casefold())


class NameSet:
    """Which of a million names there are, in eight bytes each; see :class:`Names` on chance."""

    def __init__(self, names: Iterable[str] = ()):
        self._hashes = array("q", map(hash, names))
        self._sorted: np.ndarray | None = None

    def add(self, name: str) -> None:
        """Add a name."""
        self._hashes.append(hash(name))
        self._sorted = None

    def __contains__(self, name: str) -> bool:
        if self._sorted is None:
            self._sorted = np.unique(np.frombuffer(self._hashes, np.int64))
        place = int(np.searchsorted(self._sorted, hash(name)))
        return place < len(self._sorted) and bool(self._sorted[place] == hash(name))


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _shortened(name: str) -> str:
    """At most ``MAX_MADE`` bytes of a name: its end, which tells files of one folder apart."""
    return _encoded(name)[-MAX_MADE:].decode("utf-8", "ignore")
