"""Finding and opening files, on this machine or behind any address that fsspec knows."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from pipelines.errors import InputError

#: Encoded bytes of a record batch, about; a single row may be larger.
BATCH_BYTES = 32 << 20

#: A larger image is not read and its row holds no bytes; no sane image comes near.
MAX_FILE_BYTES = 256 << 20

#: Folder and file names that stand for a split, not for a class.
SPLIT_NAMES = frozenset(
    (
        "train",
        "training",
        "test",
        "testing",
        "val",
        "valid",
        "validation",
        "dev",
        "eval",
        "evaluation",
    )
)

_SHARD_NAME = re.compile(r"(?P<split>.+?)-\d{5}-of-\d{5}(-[0-9a-f]+)?\.\w+", re.IGNORECASE)
_LOCAL_SCHEMES = ("file://", "local://")
_GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Listing:
    """The files of one input: a folder's, a glob's, or one file alone."""

    location: str  #: what the user gave
    root: str  #: absolute folder or URL that ``names`` are relative to
    names: tuple[str, ...]  #: sorted, with ``/`` separators, hidden ones left out
    local: str | None = None  #: absolute folder or file that holds all of them, if it is local

    def only(self, wanted: Callable[[str], bool], what: str) -> tuple["Listing", tuple[str, ...]]:
        """The files that are ``wanted``, and a note that counts the others by extension."""
        others = Counter(suffix(n) or "no extension" for n in self.names if not wanted(n))
        kept = replace(self, names=tuple(filter(wanted, self.names)))
        if not others:
            return kept, ()
        counts = ", ".join(f"{name} {count}" for name, count in others.most_common(8))
        return kept, (f"ignored {count_of(others.total(), 'file')} other than {what}: {counts}",)


def list_files(location: str) -> Listing | None:
    """All files of a local path, a glob or an fsspec URL.

    Links are followed; names that start with a dot are left out.

    Returns:
        None where there is nothing at ``location``.

    Raises:
        InputError: what cannot be listed, or a glob that matches nothing.
    """
    path = local_path(location)
    if path is not None:
        if Path(path).is_dir():
            return Listing(location, path, tuple(sorted(_walk(path))), path)
        if Path(path).exists():
            folder, name = os.path.split(path)
            return Listing(location, folder, (name,), path)
    try:
        if _GLOB.search(location):
            return _list_glob(location, path or location)
        return _list_remote(location) if path is None else None
    except (OSError, ValueError, ImportError) as error:
        raise InputError(f"{location}: cannot be listed ({error})") from error


def local_path(location: str) -> str | None:
    """The absolute path of a location on this machine; None for any other address."""
    if location.startswith(_LOCAL_SCHEMES):
        return str(LocalFileSystem._strip_protocol(location))
    if "://" in location:
        return None
    return os.path.abspath(location)  # noqa: PTH100 (keeps the links of the path)


def _list_glob(location: str, pattern: str) -> Listing:
    root = pattern[: _GLOB.search(pattern).start()].rpartition("/")[0]  # type: ignore[union-attr]
    filesystem, folder = _filesystem(root)
    found = filesystem.glob(folder + pattern[len(root) :], detail=True)
    names = _relative(folder, (path for path, info in found.items() if info["type"] != "directory"))
    if not names:
        raise InputError(f"{location}: no file matches")
    return Listing(location, root, names, local_path(root or "/"))


def _list_remote(location: str) -> Listing | None:
    location = location.rstrip("/")
    filesystem, path = _filesystem(location)
    if filesystem.isfile(path):
        root, _, name = location.rpartition("/")
        return Listing(location, root, (name,))
    names = _relative(path, filesystem.find(path))
    return Listing(location, location, names) if names else None


def _relative(folder: str, paths: Any) -> tuple[str, ...]:
    names = (path[len(folder.rstrip("/")) + 1 :] for path in paths)
    return tuple(sorted(n for n in names if not any(p.startswith(".") for p in n.split("/"))))


def _walk(root: str) -> Iterator[str]:
    """Relative names of the files below ``root``; a link back to an outer folder is not entered."""
    pending: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while pending:
        prefix, outer = pending.pop()
        folder = f"{root}/{prefix}"
        try:
            status = os.stat(folder)  # noqa: PTH116
            here = (status.st_dev, status.st_ino)
            if here in outer:
                continue
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir():
                        pending.append((f"{prefix}{entry.name}/", outer | {here}))
                    # A broken link is listed, so that it ends among the rejects.
                    elif entry.is_file() or not os.path.exists(entry.path):  # noqa: PTH110
                        yield f"{prefix}{entry.name}"
        except OSError as error:
            raise InputError(f"{folder}: cannot be listed ({error.strerror})") from error


def _filesystem(root: str) -> tuple[Any, str]:
    return fsspec.core.url_to_fs(root) if "://" in root else (LocalFileSystem(), root)


def open_file(root: str, name: str, size: int | None = None) -> IO[bytes]:
    """Open one file of a listing for reading.

    Args:
        root: of the listing.
        name: of the file in it.
        size: in bytes, when the file was listed; None where it does not matter.

    Raises:
        OSError: it is missing or cannot be read.
        InputError: its size is another by now.
    """
    check_size(root, name, size)
    filesystem, folder = _filesystem(root)
    file: IO[bytes] = filesystem.open(f"{folder}/{name}", "rb")
    return file


def file_size(root: str, name: str) -> int:
    """Size of one file of a listing in bytes."""
    filesystem, folder = _filesystem(root)
    return int(filesystem.size(f"{folder}/{name}"))


def check_size(root: str, name: str, size: int | None) -> None:
    """See that a file is still as large as it was.

    Raises:
        OSError: it is missing.
        InputError: its size is another by now.
    """
    if size is not None and (found := file_size(root, name)) != size:
        raise InputError(
            f"{text(name)}: has changed, from {size:,} to {found:,} bytes; start again"
        )


def unreadable(name: str, what: str, error: Exception) -> InputError:
    """The one line for a file that is missing, truncated or corrupt."""
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return InputError(f"{text(name)}: cannot be read as {what} ({reason}); is the file whole?")


def affordable_rows(size: int, rows: int) -> int:
    """Rows that make about ``BATCH_BYTES`` where ``rows`` make ``size`` bytes; at least 1."""
    return max(1, BATCH_BYTES * rows // max(size, 1))


def exists(root: str) -> bool:
    """Whether the folder of a listing is still there."""
    filesystem, folder = _filesystem(root)
    return bool(filesystem.exists(folder))


def suffix(name: str) -> str:
    """The extension in lower case with its dot, such as ``".png"``; empty where there is none."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 (a name, not a path)


def text(name: str) -> str:
    """A file name as valid Unicode; no two names become the same text.

    Names that are not UTF-8 get their odd bytes written as ``\\udcXX`` and a leading ``./``,
    which no listed name has.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        return "./" + name.replace("\\", "\\\\").encode("utf-8", "backslashreplace").decode()
    return name


def count_of(number: int, thing: str) -> str:
    """``"1 file"``, ``"2 files"``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def names_of_split(listing: Listing, split: str | None) -> tuple[str, ...]:
    """The files of the split to read.

    A file's split is told by a name such as ``train-00000-of-00005.parquet``, or by the name
    of a split as a word of its name or as the folder it lies in.

    Raises:
        InputError: several splits and no choice, or a choice that is not among them.
    """
    splits = {name: _split_of(name) for name in listing.names}
    chosen = choose_split(listing.location, splits.values(), split)
    return tuple(name for name in listing.names if splits[name] == chosen)


def _split_of(name: str) -> str | None:
    folder, _, base = name.rpartition("/")
    if match := _SHARD_NAME.fullmatch(base):
        return match["split"]
    words = [*re.split(r"[-_.]", base), folder.rpartition("/")[2]]
    return next((word for word in words if word.lower() in SPLIT_NAMES), None)


def choose_split(where: str, found: Iterable[str | None], split: str | None) -> str | None:
    """The split to read.

    Args:
        where: the input, for the message.
        found: the split of each part of the input, None for a part that is in no split.
        split: the user's choice; None where there is nothing to choose.

    Raises:
        InputError: several splits and no choice, or a choice that is not among them.
    """
    found = set(found)
    names = ", ".join(sorted(filter(None, found))) or "none"
    if split is not None and split not in found:
        raise InputError(f"{where}: there is no split {split!r}; the splits are: {names}")
    if split is None and len(found) > 1:
        beside = ", and files outside any split" if None in found else ""
        raise InputError(f"{where}: found the splits {names}{beside}; choose one with --split")
    return split or next(iter(found), None)
