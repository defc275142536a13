"""Finding and opening files, on this machine or behind any address that fsspec knows."""

import errno
import os
import re
import stat
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import IO, Any, NamedTuple, TypeVar, cast

import fsspec
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import glob_translate

from pipelines.sources import remote
from pipelines.sources.remote import Entry, Refused, RemoteFile, is_remote
from sanitizer.errors import InputError, shortened
from sanitizer.images import ImageError

#: Encoded bytes of a record batch, about; a single row may be larger.
BATCH_BYTES = 32 << 20

#: A table may hold a value once and name it in any number of rows, each of which gets a copy when
#: it is read. So the size of a table says little of that of its rows, and few are read at a time:
#: no more than this, and fewer where so many bytes could come of it. Sixteen at a time cost
#: small images a twentieth of their time.
MAX_COPIED_ROWS, MAX_COPIED_BYTES = 64, 256 << 20

#: A larger image is not read and its row holds no bytes; no sane image comes near.
MAX_FILE_BYTES = 256 << 20

#: Names that a message gives of many.
SOME = 3

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
_HIDDEN = re.compile(r"(?P<hidden>([^/]+/)*?\.[^/]*)(?P<inside>/.*)?", re.DOTALL)
_GLOB = re.compile(r"[*?\[]")
_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):(?P<slashes>/+)(?P<rest>.*)", re.DOTALL)


class Stamp(NamedTuple):
    """What tells that a file is still the one that was listed; None where that is not known."""

    size: int | None  #: in bytes
    version: str | None  #: mtime in ns of a local file; etag or mtime of another


#: Of a file that could not be looked at, such as a broken link.
UNKNOWN = Stamp(None, None)

#: Of a link that leads out of the input and is not followed: nothing of its target is read.
OUTSIDE = Stamp(None, "outside the input")


@dataclass(frozen=True)
class Listing:
    """The files of one input: a folder's, a glob's, or one file alone."""

    location: str  #: what the user gave
    root: str  #: absolute folder or URL that ``names`` are relative to
    names: tuple[str, ...]  #: sorted, with ``/`` separators, hidden ones left out
    local: str | None = None  #: absolute folder or file that holds all of them, if it is local
    stamps: dict[str, Stamp] = field(default_factory=dict, repr=False)  #: by name
    follow_links: bool = True  #: also where they lead out of the input
    specials: tuple[str, ...] = ()  #: notes on what :func:`list_files` leaves out

    def only(self, wanted: Callable[[str], bool], what: str) -> tuple["Listing", tuple[str, ...]]:
        """The files that are ``wanted``, and notes on the others."""
        ours: list[str] = []
        others: list[str] = []
        for name in self.names:
            (ours if wanted(name) else others).append(name)
        ignored = [name for name in others if self.stamps.get(name) != OUTSIDE]
        notes = replace(self, names=tuple(others)).left_out()
        if ignored:
            counts = Counter(suffix(name) or "no extension" for name in ignored).most_common(8)
            named = ", ".join(f"{extension} {count}" for extension, count in counts)
            notes += (f"ignored {plural(len(ignored), 'file')} other than {what}: {named}",)
        return replace(self, names=tuple(ours)), notes

    def left_out(self) -> tuple[str, ...]:
        """Notes on what is not read, whatever the kind of the input."""
        links = [name for name in self.names if self.stamps.get(name) == OUTSIDE]
        if not links:
            return self.specials
        return (
            *self.specials,
            f"left out {plural(len(links), 'link')} out of INPUT: {some(links)}; give "
            "--follow-links to follow such links",
        )


#: Told of so many more files each time that they have been found.
Found = Callable[[int], object]

#: How many those are.
_EACH = 10_000


def list_files(
    location: str, follow_links: bool = False, found: Found = lambda more: None
) -> Listing | None:
    """All files of a local path, a glob or an fsspec URL.

    Hidden files and folders, whose names start with a dot, are left out with a note; so are
    pipes, sockets, devices and links back to an outer folder.

    Args:
        location: as the user gave it; a link is followed here.
        follow_links: follow links that lead out of a local folder, too. Otherwise they are
            listed as ``OUTSIDE``. Those that lead to elsewhere in the folder are followed.
        found: is told now and then how many more files were found, of those that are many.

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
            _check_way(location, path)
        except (OSError, ValueError) as error:
            mode = None
            if not _GLOB.search(location):
                reason = getattr(error, "strerror", None) or error
                raise InputError(f"{shortened(location)}: cannot be read ({reason})") from error
        if mode is not None and stat.S_ISDIR(mode):
            return _Walk(path, follow_links).listing(location, found)
        if mode is not None and not stat.S_ISREG(mode):
            raise InputError(f"{location} is a {_kind(mode)}; expected a file, a folder or a set")
        if mode is not None:
            folder, name = os.path.split(path)
            return _listing(location, folder, {name: stamp(folder, name)}, path)
    check_address(location, "no such file or folder")
    if _GLOB.search(location):
        return _list_glob(location, path, follow_links, found)
    return None if path is not None else _list_remote(location, found)


def _check_way(location: str, path: str) -> None:
    """Tell what is there of a path that leads nowhere, and would be taken for nothing at all.

    Raises:
        InputError: a broken link, or a file where there would have to be a folder.
    """
    if os.path.islink(path):  # noqa: PTH114
        aim = shortened(text(os.path.realpath(path)))
        raise InputError(f"{location} is a link to {aim}, which does not exist")
    while (above := os.path.dirname(path)) != path:  # noqa: PTH120
        if os.path.isfile(above):  # noqa: PTH113
            raise InputError(
                f"{location}: no such file or folder, as {shortened(text(above))} is a file"
            )
        path = above


def nearly(location: str) -> str:
    """What is there of nearly the same name as a location where nothing is, for messages."""
    path = local_path(location)
    if path is None:
        return ""
    if location.startswith("~"):
        # A shell replaces it elsewhere.
        return f"; a ~ in quotes or behind = is no home folder, write {os.path.expanduser('~')}/…"  # noqa: PTH111
    if location.startswith("file:"):
        below = os.path.abspath(location.removeprefix("file:"))  # noqa: PTH100
        return f"; an address is written file://{below}"
    folder, name = os.path.split(path)
    try:
        there = os.listdir(folder)  # noqa: PTH208
    except OSError:
        return ""
    alike = [
        other
        for other in sorted(there)
        if name.lower() in (other.lower(), os.path.splitext(other)[0].lower())  # noqa: PTH122
    ]
    return f"; there is {some(alike)}" if alike else ""


Item = TypeVar("Item")


def _told(items: Iterable[Item], found: Found) -> Iterator[Item]:
    """The same, with ``found`` told of them."""
    for number, item in enumerate(items, 1):
        yield item
        if number % _EACH == 0:
            found(_EACH)


def check_address(location: str, otherwise: str) -> None:
    """Refuse what is nearly an address, which would be taken for a path on this machine.

    Args:
        location: a path or an address.
        otherwise: what is wrong with it as a path, in words.

    Raises:
        InputError: one slash instead of two, an upper-case scheme, or nothing behind it.
    """
    match = _ADDRESS.fullmatch(location)
    if match is None or match["scheme"].lower() not in fsspec.available_protocols():
        return
    scheme = match["scheme"].lower()
    root = "/" if f"{scheme}://" in LOCAL_SCHEMES else ""
    if len(match["slashes"]) == 1 or scheme != match["scheme"]:
        raise InputError(
            f"{shortened(location)}: {otherwise}; an address is written "
            f"{scheme}://{root}{shortened(match['rest'])}"
        )
    if not match["rest"]:
        raise InputError(f"{location} names nothing; expected {scheme}://… with a folder or file")


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


def _remote_listing(location: str, root: str, stamps: dict[str, Stamp]) -> Listing:
    """Of all files that a file system knows of: those that are not hidden."""
    hidden: dict[str, set[str]] = defaultdict(set)
    seen = {}
    for name, found in stamps.items():
        if match := _HIDDEN.match(name):
            hidden["hidden folder" if match["inside"] else "hidden file"].add(match["hidden"])
        else:
            seen[name] = found
    return replace(_listing(location, root, seen), specials=_left_out(hidden))


def _left_out(specials: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """A note on each kind of what is not read, from the names of that kind."""
    named = {kind: sorted(names) for kind, names in sorted(specials.items())}
    return tuple(f"left out {plural(len(n), kind)}: {some(n)}" for kind, n in named.items())


def _list_glob(location: str, path: str | None, follow_links: bool, found: Found) -> Listing:
    pattern = location if path is None else path
    root = pattern[: _GLOB.search(pattern).start()].rpartition("/")[0]  # type: ignore[union-attr]
    if path is None:
        listing = _remote_listing(location, root, _remote_matches(location, root, found))
    else:
        try:
            walk = _Walk(root or "/", follow_links, pattern[len(root) + 1 :])
        except (ValueError, re.error) as error:
            raise InputError(f"{location}: cannot be listed ({error})") from error
        listing = walk.listing(location, found)
    if not listing.names:
        # Who has found something else need not be told where else to look.
        deeper = () if "**" in pattern else ("folders below are taken in by **",)
        why = listing.specials or deeper
        raise InputError("; ".join((f"{location}: no file matches", *why)))
    return listing


def _remote_matches(location: str, root: str, found: Found) -> dict[str, Stamp]:
    pattern = re.compile(glob_translate(location[len(root) + 1 :]))
    try:
        below = _told(remote.entries(root), found)
        matches = _stamps(entry for entry in below if pattern.match(entry.name))
        is_there = bool(matches) or remote.exists(root)
    except Refused as error:
        if error.code != "NoSuchBucket":
            raise
        matches, is_there = {}, False
    if not is_there:
        raise InputError(f"{location}: no file matches, as there is no {root}")
    return matches


def _list_remote(location: str, found: Found) -> Listing | None:
    location = location.rstrip("/")
    refusal: Refused | None = None
    try:
        info = remote.look_at(location)
    except (FileNotFoundError, NotADirectoryError):
        info = {"type": "directory"}  # of which the listing tells whether there is a bucket
    except Refused as error:
        info, refusal = {"type": "directory"}, error  # it has no words, those of a listing have
    if info["type"] != "directory":
        root, _, name = location.rpartition("/")
        return _listing(location, root, _stamps([remote.entry(name, info)]))
    stamps = _stamps(_told(remote.entries(location), found))
    if refusal is not None and not stamps:
        raise refusal
    return _remote_listing(location, location, stamps) if stamps else None


def _stamps(entries: Iterable[Entry]) -> dict[str, Stamp]:
    """What tells each file of a listing, by its name."""
    return {name: Stamp(size, version) for name, size, version in entries}


class _Walk:
    """Finds the files below a local folder, all or those that match a glob.

    Args:
        root: absolute folder.
        follow_links: also where they lead out of ``root``.
        pattern: of names relative to ``root``.

    Raises:
        ValueError, re.error: it is no pattern.
    """

    def __init__(self, root: str, follow_links: bool, pattern: str = "**"):
        self._root = root
        self._real_root = os.path.realpath(root)
        self._follow_links = follow_links
        parts = pattern.split("/")
        #: What a folder at each depth must match to be entered, as far as that follows.
        self._outer = [
            re.compile(glob_translate("/".join(parts[:depth])))
            for depth in range(1, len(parts))
            if "**" not in parts[:depth]
        ]
        self._deep = "**" in parts
        self._pattern = re.compile(glob_translate(pattern))
        self._specials: dict[str, list[str]] = defaultdict(list)

    def listing(self, location: str, found: Found) -> Listing:
        """What is found, as the listing of ``location``.

        Raises:
            InputError: a folder cannot be listed.
        """
        stamps = dict(_told(self._files(), found)) if os.path.isdir(self._real_root) else {}  # noqa: PTH112
        return Listing(
            location=location,
            root=self._root,
            names=tuple(sorted(stamps)),
            local=self._root,
            stamps=stamps,
            follow_links=self._follow_links,
            specials=_left_out(self._specials),
        )

    def _files(self) -> Iterator[tuple[str, Stamp]]:
        """Each file by its relative name; a link back to an outer folder is not entered."""
        pending: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
        while pending:
            prefix, outer = pending.pop()
            folder = f"{self._root}/{prefix}"
            try:
                status = os.stat(folder)  # noqa: PTH116
                here = (status.st_dev, status.st_ino)
                if here in outer:
                    self._specials["circular link"].append(prefix.rstrip("/"))
                    continue
                with os.scandir(folder) as entries:
                    for entry in entries:
                        name = prefix + entry.name
                        if entry.name.startswith("."):
                            self._hide(name, entry.is_dir(follow_symlinks=False))
                            continue
                        found = self._look_at(entry)
                        if isinstance(found, Stamp):
                            # A folder that would be entered is listed, so that it is named.
                            shut = found == OUTSIDE and entry.is_dir() and self._enters(name)
                            if shut or self._pattern.match(name):
                                yield name, found
                        elif stat.S_ISDIR(found):
                            if self._enters(name):
                                pending.append((f"{name}/", outer | {here}))
                        elif self._pattern.match(name):
                            self._specials[_kind(found)].append(name)
            except OSError as error:
                raise InputError(
                    f"{folder}: cannot be listed ({error.strerror}); permit it, or name the other "
                    "files with a glob"
                ) from error

    def _hide(self, name: str, is_folder: bool) -> None:
        """Note what is hidden, where the pattern would take it in but for that."""
        if self._enters(name) if is_folder else self._pattern.match(name):
            self._specials["hidden folder" if is_folder else "hidden file"].append(name)

    def _look_at(self, entry: os.DirEntry[str]) -> Stamp | int:
        """The stamp of a file, or the mode of what is none; nothing is opened.

        A link that is broken, or that this user may not follow, is ``UNKNOWN``, so that it ends
        among the rejects.
        """
        try:
            status = entry.stat()
        except OSError:
            return UNKNOWN
        if entry.is_symlink() and not self._follow_links:
            real = os.path.realpath(entry.path)
            if not _is_within(real, self._real_root):
                return OUTSIDE
        return _stamp_of(status) if stat.S_ISREG(status.st_mode) else status.st_mode

    def _enters(self, folder: str) -> bool:
        depth = folder.count("/")
        if depth < len(self._outer):
            return self._outer[depth].match(folder) is not None
        return self._deep


def _kind(mode: int) -> str:
    """What is no file, in words."""
    kinds = {
        stat.S_IFDIR: "folder",
        stat.S_IFIFO: "named pipe",
        stat.S_IFSOCK: "socket",
        stat.S_IFCHR: "device",
        stat.S_IFBLK: "device",
    }
    return kinds.get(stat.S_IFMT(mode), "special file")


def leads_out(root: str, name: str) -> bool:
    """Whether a file of a local folder lies elsewhere, by a link on its path."""
    try:
        return not _is_within(os.path.realpath(f"{root}/{name}"), os.path.realpath(root))
    except ValueError:  # no file can have such a name
        return False


def _is_within(real: str, real_root: str) -> bool:
    """Whether a path lies below a folder; both without links."""
    return real == real_root or real.startswith(f"{real_root.rstrip('/')}/")


def _stamp_of(status: os.stat_result) -> Stamp:
    """The stamp of a local file.

    Raises:
        OSError: it is no file. Such a thing may never end, or wait for ever.
    """
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"is a {_kind(status.st_mode)}, expected a file")
    return Stamp(status.st_size, str(status.st_mtime_ns))


def open_file(
    root: str,
    name: str,
    listed: Stamp = UNKNOWN,
    follow_links: bool = True,
    ahead: int = remote.AHEAD,
) -> IO[bytes]:
    """Open one file of a listing for reading.

    Args:
        root: of the listing.
        name: of the file in it.
        listed: what the file was when it was listed; UNKNOWN where it does not matter.
        follow_links: also where they lead out of a local ``root``.
        ahead: bytes that are read from a store beyond what is asked for.

    Raises:
        OSError: it is missing, cannot be read or is no file.
        InputError: it is another by now, or leads out of ``root``.
        Unreachable: the store that it is in does not give it.
    """
    if not is_remote(root):
        path = f"{root}/{name}"
        opened = os.open(path, _READING) if follow_links else _open_within(root, name)
        try:
            _compare(name, listed, _stamp_of(os.fstat(opened)))
        except BaseException:
            os.close(opened)
            raise
        return os.fdopen(opened, "rb")
    file = RemoteFile(f"{root}/{name}", ahead)
    try:
        _compare(name, listed, Stamp(file.entry.size, file.entry.version))
    except BaseException:
        file.close()
        raise
    return cast(IO[bytes], file)


#: How files are opened: what became a pipe since it was listed must not keep the run waiting.
_READING = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


def _open_within(root: str, name: str) -> int:
    """Open a local file that lies in ``root``, whatever links lead to it.

    The path without links is gone down folder by folder and none may be a link, so nobody can
    put a link that leads elsewhere in their place meanwhile.

    Raises:
        OSError: it is missing or cannot be read.
        InputError: it lies elsewhere.
    """
    real_root = os.path.realpath(root)
    real = os.path.realpath(f"{root}/{name}", strict=True)
    if not _is_within(real, real_root):
        raise InputError(
            f"{text(name)}: leads out of INPUT, as it did not when the run began; start again "
            "with --overwrite"
        )
    *folders, file = os.path.relpath(real, real_root).split("/")
    folder = os.open(real_root, _READING | os.O_DIRECTORY)
    try:
        for inner in folders:
            outer = folder
            folder = os.open(inner, _READING | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=outer)
            os.close(outer)
        return os.open(file, _READING | os.O_NOFOLLOW, dir_fd=folder)
    finally:
        os.close(folder)


def stamp(root: str, name: str) -> Stamp:
    """What one file of a listing is now.

    Raises:
        OSError: it is missing, or no file.
    """
    if is_remote(root):
        _, size, version = remote.entry(name, remote.look_at(f"{root}/{name}"))
        return Stamp(size, version)
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
    """The one line for a file that is missing, out of reach, truncated or corrupt."""
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.ENOENT):
        return InputError(f"{text(name)}: cannot be read ({error.strerror})")
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return InputError(f"{text(name)}: cannot be read as {what} ({reason}); is the file whole?")


def too_large(size: int) -> ImageError | None:
    """Why an image of so many bytes is not read; None if it is."""
    if size <= MAX_FILE_BYTES:
        return None
    return ImageError("file too large", f"{size:,} bytes, the limit is {MAX_FILE_BYTES:,}")


def unread(root: str, name: str, error: OSError) -> ImageError:
    """Why the image in a file of a local listing could not be read."""
    if isinstance(error, PermissionError):
        return ImageError("no permission", "this user may not read the file")
    if os.path.islink(f"{root}/{name}"):  # noqa: PTH114
        missing = f"leads to {target(root, name)}, which does not exist"
        circle = "leads back to itself"
        return ImageError("broken link", circle if error.errno == errno.ELOOP else missing)
    return ImageError("unreadable file", error.strerror or str(error))


def affordable_rows(size: int, rows: int) -> int:
    """Rows that make about ``BATCH_BYTES`` where ``rows`` make ``size`` bytes; at least 1."""
    return max(1, BATCH_BYTES * rows // max(size, 1))


def copied_rows(size: int) -> int:
    """Rows that are read at a time from a part of a table that may repeat its values; at least 1.

    Args:
        size: bytes of the part, so that no row is larger.
    """
    return max(1, min(MAX_COPIED_ROWS, MAX_COPIED_BYTES // max(size, 1)))


def exists(root: str) -> bool:
    """Whether the folder of a listing is still there."""
    return remote.exists(root) if is_remote(root) else os.path.exists(root)  # noqa: PTH110


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


def name_of(shown: str) -> str:
    """The file name that :func:`text` was given.

    >>> name_of(text("a/b.png")), name_of(text("odd-\\udcff.png")) == "odd-\\udcff.png"
    ('a/b.png', True)
    """
    if not shown.startswith("./"):
        return shown
    # Every other part is what followed a backslash.
    parts = re.split(r"\\(\\|udc[0-9a-f]{2})", shown[2:])
    parts[1::2] = [part if part == "\\" else chr(int(part[1:], 16)) for part in parts[1::2]]
    return "".join(parts)


def some(names: Sequence[str]) -> str:
    """The first ``SOME`` of some names, for messages.

    >>> some(["a", "b", "c", "d"])
    'a, b, c, …'
    """
    return ", ".join(map(text, names[:SOME])) + (", …" if len(names) > SOME else "")


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
        InputError: several splits and no choice, or a choice that is not among them; a link
            out of the input, which would be a part of the set that is missing.
    """
    splits = {name: split_of(name) for name in listing.names}
    chosen = choose_split(listing.location, splits.values(), split)
    names = tuple(name for name in listing.names if splits[name] == chosen)
    for name in names:
        if listing.stamps.get(name) == OUTSIDE:
            raise InputError(
                f"{listing.location}: {text(name)} is a link to {target(listing.root, name)}, "
                "outside INPUT; give --follow-links to follow such links"
            )
    return names


def target(root: str, name: str) -> str:
    """Where a local file of a listing lies once all links are followed, for messages."""
    return shortened(text(os.path.realpath(f"{root}/{name}")))


def split_of(name: str) -> str | None:
    """The split that a file is of by its name, or by the folder it lies in; None for none."""
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
    names = ", ".join(sorted(filter(None, distinct)))
    if split is not None and split not in distinct:
        there = f"the splits are: {names}" if names else "the set has none, leave it out"
        raise InputError(f"{where}: there is no split {split!r}; {there}")
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
