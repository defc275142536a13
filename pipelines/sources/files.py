"""Finding and opening files, on this machine or behind any address that fsspec knows."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from stat import S_ISDIR, S_ISREG
from typing import IO, Any, NamedTuple

import fsspec
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from sanitizer.errors import InputError

#: Encoded bytes of a record batch, about; a single row may be larger.
BATCH_BYTES = 32 << 20

#: A larger image is not read and its row holds no bytes; no sane image comes near.
MAX_FILE_BYTES = 256 << 20

#: What the addresses of files on this machine start with.
LOCAL_SCHEMES = ("file://", "local://")

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
_GLOB = re.compile(r"[*?\[]")


class Stamp(NamedTuple):
    """What tells that a file is still the one that was listed; None where that is not known."""

    size: int | None  #: in bytes
    version: str | None  #: mtime in ns of a local file; etag or mtime of another


#: Of a file that could not be looked at, such as a broken link.
UNKNOWN = Stamp(None, None)


@dataclass(frozen=True)
class Listing:
    """The files of one input: a folder's, a glob's, or one file alone."""

    location: str  #: what the user gave
    root: str  #: absolute folder or URL that ``names`` are relative to
    names: tuple[str, ...]  #: sorted, with ``/`` separators, hidden ones left out
    local: str | None = None  #: absolute folder or file that holds all of them, if it is local
    stamps: dict[str, Stamp] = field(default_factory=dict, repr=False)  #: by name

    def only(self, wanted: Callable[[str], bool], what: str) -> tuple["Listing", tuple[str, ...]]:
        """The files that are ``wanted``, and a note that counts the others by extension."""
        names = tuple(filter(wanted, self.names))
        if len(names) == len(self.names):
            return self, ()
        kept = replace(self, names=names)
        ours = set(names)
        others = Counter(suffix(n) or "no extension" for n in self.names if n not in ours)
        counts = ", ".join(f"{name} {count}" for name, count in others.most_common(8))
        return kept, (f"ignored {plural(others.total(), 'file')} other than {what}: {counts}",)


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
        try:
            mode = os.stat(path).st_mode  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            mode = None
        except (OSError, ValueError) as error:
            mode = None
            if not _GLOB.search(location):
                reason = getattr(error, "strerror", None) or error
                raise InputError(f"{_shortened(location)}: cannot be read ({reason})") from error
        if mode is not None and S_ISDIR(mode):
            return _listing(location, path, dict(_walk(path)), path)
        if mode is not None:
            folder, name = os.path.split(path)
            return _listing(location, folder, {name: stamp(folder, name)}, path)
    try:
        if _GLOB.search(location):
            return _list_glob(location, path or location)
        return _list_remote(location) if path is None else None
    except (OSError, ValueError, ImportError) as error:
        raise InputError(f"{location}: cannot be listed ({error})") from error


def _shortened(location: str) -> str:
    return location if len(location) <= 200 else f"{location[:200]}…"


def local_path(location: str) -> str | None:
    """The absolute path of a location on this machine; None for any other address."""
    if location.startswith(LOCAL_SCHEMES):
        return str(LocalFileSystem._strip_protocol(location))
    if "://" in location:
        return None
    return os.path.abspath(location)  # noqa: PTH100 (keeps the links of the path)


def _listing(
    location: str, root: str, stamps: dict[str, Stamp], local: str | None = None
) -> Listing:
    return Listing(location, root, tuple(sorted(stamps)), local, stamps)


def _list_glob(location: str, pattern: str) -> Listing:
    root = pattern[: _GLOB.search(pattern).start()].rpartition("/")[0]  # type: ignore[union-attr]
    filesystem, folder = _filesystem(root)
    _forget_listings(root, filesystem)
    matches = filesystem.glob(folder + pattern[len(root) :], detail=True)
    local = local_path(root or "/")
    if local is None:
        stamps = _relative(folder, {p: i for p, i in matches.items() if i["type"] != "directory"})
    else:
        names = _relative(folder, matches)
        looked_at = ((name, _local_stamp(f"{folder}/{name}")) for name in names)
        stamps = {name: stamp for name, stamp in looked_at if stamp is not None}
    if not stamps:
        raise InputError(f"{location}: no file matches")
    return _listing(location, root, stamps, local)


def _list_remote(location: str) -> Listing | None:
    location = location.rstrip("/")
    filesystem, path = _filesystem(location)
    _forget_listings(location, filesystem)
    if filesystem.isfile(path):
        root, _, name = location.rpartition("/")
        return _listing(location, root, {name: _remote_stamp(filesystem.info(path))})
    stamps = _relative(path, filesystem.find(path, detail=True))
    return _listing(location, location, stamps) if stamps else None


def _relative(folder: str, infos: dict[str, dict[str, Any]]) -> dict[str, Stamp]:
    """The files that are not hidden, by their names relative to ``folder``."""
    start = len(folder.rstrip("/")) + 1
    named = {path[start:]: info for path, info in infos.items()}
    return {
        name: _remote_stamp(info)
        for name, info in named.items()
        if not any(part.startswith(".") for part in name.split("/"))
    }


def _walk(root: str) -> Iterator[tuple[str, Stamp]]:
    """The files below ``root``, by relative name; a link back to an outer folder is not entered."""
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
                    elif (stamp := _local_stamp(entry)) is not None:
                        yield f"{prefix}{entry.name}", stamp
        except OSError as error:
            raise InputError(f"{folder}: cannot be listed ({error.strerror})") from error


def _local_stamp(file: str | os.DirEntry[str]) -> Stamp | None:
    """None for what is no file; a broken link is listed, so that it ends among the rejects."""
    try:
        status = os.stat(file) if isinstance(file, str) else file.stat()  # noqa: PTH116
    except OSError:
        return UNKNOWN
    return _stamp_of(status) if S_ISREG(status.st_mode) else None


def _stamp_of(status: os.stat_result) -> Stamp:
    return Stamp(status.st_size, str(status.st_mtime_ns))


def _remote_stamp(info: dict[str, Any]) -> Stamp:
    version = next((info[key] for key in ("ETag", "etag", "mtime") if info.get(key)), None)
    return Stamp(info.get("size"), None if version is None else str(version).strip('"'))


def _forget_listings(root: str, filesystem: Any) -> None:
    """Look anew: in a long-lived process a file system remembers what was there before.

    What is pinned to a commit of the Hub cannot change, and costs a call to list.
    """
    if "://" in root and not root.startswith("hf://"):
        filesystem.invalidate_cache()


def _filesystem(root: str) -> tuple[Any, str]:
    return fsspec.core.url_to_fs(root) if "://" in root else (LocalFileSystem(), root)


def open_file(root: str, name: str, listed: Stamp = UNKNOWN) -> IO[bytes]:
    """Open one file of a listing for reading.

    Args:
        root: of the listing.
        name: of the file in it.
        listed: what the file was when it was listed; UNKNOWN where it does not matter.

    Raises:
        OSError: it is missing or cannot be read.
        InputError: it is another by now.
    """
    if "://" not in root:
        local = open(f"{root}/{name}", "rb")  # noqa: PTH123, SIM115 (the caller closes it)
        try:
            _compare(name, listed, _stamp_of(os.fstat(local.fileno())))
        except InputError:
            local.close()
            raise
        return local
    if listed != UNKNOWN:
        check(root, name, listed)
    filesystem, folder = _filesystem(root)
    file: IO[bytes] = filesystem.open(f"{folder}/{name}", "rb")
    return file


def stamp(root: str, name: str) -> Stamp:
    """What one file of a listing is now.

    Raises:
        OSError: it is missing.
    """
    filesystem, folder = _filesystem(root)
    if "://" in root:
        _forget_listings(root, filesystem)
        return _remote_stamp(filesystem.info(f"{folder}/{name}"))
    return _stamp_of(os.stat(f"{root}/{name}"))  # noqa: PTH116


def check(root: str, name: str, listed: Stamp) -> None:
    """See that a file is still the one that was listed.

    Raises:
        OSError: it is missing.
        InputError: it is another by now.
    """
    _compare(name, listed, stamp(root, name))


def _compare(name: str, listed: Stamp, now: Stamp) -> None:
    if all(a == b or a is None or b is None for a, b in zip(listed, now, strict=True)):
        return
    sizes = f" from {listed.size:,} to {now.size:,} bytes" if listed.size != now.size else ""
    raise InputError(
        f"{text(name)}: has changed{sizes} since the run began; start again with --overwrite"
    )


def total_size(stamps: Iterable[Stamp]) -> int:
    """Size of all files in bytes, as far as it is known."""
    return sum(stamp.size or 0 for stamp in stamps)


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


def plural(number: int, thing: str) -> str:
    """A number of things in words.

    >>> plural(1, "file"), plural(2000, "file")
    ('1 file', '2,000 files')
    """
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


def choose_split(where: str, splits: Iterable[str | None], split: str | None) -> str | None:
    """The split to read.

    Args:
        where: the input, for the message.
        splits: the split of each file of the input, None for one that is in no split.
        split: the user's choice; None where there is nothing to choose.

    Raises:
        InputError: several splits and no choice, or a choice that is not among them.
    """
    distinct = set(splits)
    names = ", ".join(sorted(filter(None, distinct))) or "none"
    if split is not None and split not in distinct:
        raise InputError(f"{where}: there is no split {split!r}; the splits are: {names}")
    if split is None and len(distinct) > 1:
        beside = ", and files outside any split" if None in distinct else ""
        example = "train" if "train" in distinct else min(filter(None, distinct))
        raise InputError(
            f"{where}: found the splits {names}{beside}; choose one, as in {where}:{example}"
        )
    return split or next(iter(distinct), None)


#: How a unit of a source names its file: the bytes of the name, as a name need not be UTF-8.
UNIT_FILE = (("name", pa.binary()), ("size", pa.int64()), ("version", pa.string()))


def unit_of(name: str, stamp: Stamp) -> dict[str, object]:
    """The columns ``UNIT_FILE`` of one unit."""
    return {"name": os.fsencode(name), "size": stamp.size, "version": stamp.version}


def file_of(unit: Mapping[str, Any]) -> tuple[str, Stamp]:
    """What :func:`unit_of` was given."""
    return os.fsdecode(unit["name"]), Stamp(unit["size"], unit["version"])
