"""The files of one OUTPUT, wherever it is: the only way to read or write one of them.

A store has an absolute address, so a worker that runs in another directory or on another
machine writes to the same place; it travels as that address. Names are relative to it, with
``/``. Nobody ever sees half of a file: on this machine it is written beside its place and
renamed, elsewhere it is written to a local temporary file and put in one piece.
"""

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from stat import S_ISREG
from typing import IO, Any, Self, cast

import pyarrow as pa

from pipelines.runs.layout import ShardedFile
from pipelines.sources import remote
from pipelines.sources.files import check_address, local_path
from pipelines.sources.remote import RemoteFile
from sanitizer.files import (
    TEMPORARY_PREFIX,
    is_temporary,
    publish,
    temporary_name,
    write_atomically,
    write_one_of_many,
)


class NotPlainError(OSError):
    """What should be a file is a link, a folder, a pipe or the like: freqsan makes no such."""


@dataclass(frozen=True)
class Store:
    """A folder of files, local or behind any address that fsspec knows.

    >>> store = Store("memory://cleaned")
    >>> store.write_json("scores/summary.json", {"read": 3})
    >>> store.names("scores"), store.read_json("scores/summary.json")
    (['scores/summary.json'], {'read': 3})
    """

    address: str  #: absolute: a local path, or a URL such as ``s3://bucket/folder``

    @classmethod
    def at(cls, location: str | Path) -> Self:
        """The store at a path, relative ones from the working directory, or a URL.

        >>> Store.at("s3://bucket/cleaned/").address
        's3://bucket/cleaned'

        Raises:
            InputError: it is nearly a URL.
        """
        check_address(str(location), "looks like an address")
        path = local_path(str(location))
        return cls(str(location).rstrip("/") if path is None else path)

    @property
    def local(self) -> Path | None:
        """The folder, where it is on this machine."""
        return None if "://" in self.address else Path(self.address)

    def within(self, folder: str) -> "Store":
        """The store of a sub-folder."""
        return Store(f"{self.address}/{folder}")

    def locate(self, name: str) -> str:
        """The absolute address of a file, for messages and for libraries that open it."""
        return f"{self.address}/{name}" if name else self.address

    # --- Reading --------------------------------------------------------------------------

    def open(self, name: str) -> IO[bytes]:
        """A file, to read; a handle that can seek.

        Raises:
            OSError: it is missing or cannot be read.
            Unreachable: the store that it is in does not give it.
        """
        if self.local is None:
            return cast(IO[bytes], RemoteFile(self.locate(name)))
        # Arrow reads its own handles without Python in between.
        return cast(IO[bytes], pa.OSFile(str(self.local / name)))

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            NotPlainError: it is a link, which may lead out of the store, or no file.
            OSError: it is missing or cannot be read.
            Unreachable: the store that it is in does not give it.
        """
        if self.local is None:
            with self.open(name) as file:
                return file.read()
        if not S_ISREG((self.local / name).lstat().st_mode):
            raise NotPlainError(errno.EINVAL, "a link or no plain file", self.locate(name))
        return (self.local / name).read_bytes()

    def read_json(self, name: str) -> Any:
        """A file of JSON.

        Raises:
            OSError: as :meth:`read`.
            ValueError: it is not JSON.
        """
        return json.loads(self.read(name))

    def size(self, name: str) -> int | None:
        """Of a file, in bytes; None where there is no such file."""
        try:
            if self.local is not None:
                status = (self.local / name).stat()
                return status.st_size if S_ISREG(status.st_mode) else None
            info = remote.look_at(self.locate(name))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return int(info["size"]) if info["type"] == "file" else None

    def exists(self, name: str = "") -> bool:
        """Whether there is a file or folder of that name; of the store itself by default."""
        if self.local is None:
            return remote.exists(self.locate(name))
        return os.path.exists(self.local / name)  # noqa: PTH110 (what cannot be looked at is not)

    def names(self, folder: str = "", pattern: str = "*") -> list[str]:
        """The names of the files and folders that match directly in a folder, sorted.

        Names that start with a dot match only a pattern that does. Without the folder there
        are none.
        """
        if self.local is None:
            bare = remote.children(self.locate(folder))
        else:
            try:
                bare = iter(os.listdir(self.local / folder))  # noqa: PTH208
            except (FileNotFoundError, NotADirectoryError):
                return []
        hidden = pattern.startswith(".")
        prefix = f"{folder}/" if folder else ""
        return sorted(
            prefix + name
            for name in bare
            if name and fnmatchcase(name, pattern) and name.startswith(".") == hidden
        )

    def shards(self, kind: ShardedFile, shards: int | None = None) -> list[str]:
        """The names of the files of one kind that there are, in the order of their shards.

        Args:
            kind: what files.
            shards: of so many shards only; None: of however many. A file that somebody else
                has put beside them may look like one of another number.
        """
        named = self.names(kind.folder, kind.name_pattern)
        of = {name: kind.shards_of(name) for name in named}
        return [name for name in named if of[name] is not None and of[name] == (shards or of[name])]

    def walk(self, folder: str) -> list[str]:
        """The names of all files and links below a folder, hidden ones too; links lead nowhere."""
        if self.local is None:
            below = remote.entries(self.locate(folder))
            return sorted(f"{folder}/{found.name}" for found in below)
        root = self.local / folder
        if root.is_symlink():
            return []
        found = (Path(at) / name for at, _, files in os.walk(root) for name in files)
        return sorted(path.relative_to(self.local).as_posix() for path in found)

    # --- Writing --------------------------------------------------------------------------

    def write(self, name: str, data: bytes, *, synced: bool = True) -> None:
        """Write a whole file, replacing an older one of that name.

        Args:
            name: of the file.
            data: what it holds.
            synced: False where :meth:`sync` will be called for many files at once.
        """
        if self.local is None:
            with self._remotely(name, "written") as (files, path):
                files.pipe_file(path, data)
        elif synced:
            write_atomically(self.local / name, data)
        else:
            write_one_of_many(self.locate(name), data)

    def sync(self) -> None:
        """Bring what was written without that to the disk; a store elsewhere has it already."""
        if self.local is not None:
            os.sync()

    def create(self, name: str, data: bytes) -> bool:
        """Write a file of a store that is not on this machine, unless there is one of that name.

        The store decides, so of several at once one succeeds; where it knows no such condition,
        all may.

        Returns:
            Whether it was written.
        """
        assert self.local is None
        try:
            with self._remotely(name, "written") as (files, path):
                files.pipe_file(path, data, mode="create")
        except FileExistsError:
            return False
        return True

    def write_json(self, name: str, value: Any) -> None:
        """Write JSON for people and programs."""
        self.write(name, as_json(value))

    def stage(self, name: str) -> Path:
        """Where a file is written before it is whole: a local path that nothing else uses."""
        temporary = temporary_name(name.rpartition("/")[2])
        if self.local is None:
            return Path(tempfile.gettempdir()) / f"freqsan{temporary}"
        folder = (self.local / name).parent
        folder.mkdir(parents=True, exist_ok=True)
        return folder / temporary

    def publish(self, staged: Path, name: str) -> None:
        """Give a staged file its name, replacing an older one."""
        if self.local is not None:
            publish(staged, self.local / name)
        else:
            with self._remotely(name, "written") as (files, path):
                files.put_file(str(staged), path)
            staged.unlink()

    def move(self, name: str, to: str) -> None:
        """Give a file another name, replacing an older one of that name."""
        if self.local is not None:
            (self.local / to).parent.mkdir(parents=True, exist_ok=True)
            publish(self.local / name, self.local / to)
            return
        with self._remotely(name, "moved") as (files, path), self._remotely(to, "moved") as there:
            files.cp_file(path, there[1])
        self.remove(name)

    def remove(self, name: str) -> None:
        """Remove a file, a link, or a folder with all that is in it; missing is fine."""
        if self.local is not None:
            path = self.local / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        else:
            # File by file: fsspec's own recursive removal takes ``*`` in a name for a pattern.
            below = [f"{name}/{found.name}" for found in remote.entries(self.locate(name))]
            for each in below or [name]:
                with (
                    contextlib.suppress(FileNotFoundError),
                    self._remotely(each, "removed") as (files, at),
                ):
                    files.rm_file(at)

    def remove_empty(self, folder: str) -> None:
        """Remove a folder that nothing is in; only on this machine there are such."""
        if self.local is not None:
            with contextlib.suppress(OSError):  # it holds something, or is not there
                (self.local / folder).rmdir()

    def remove_leftovers(self) -> None:
        """Remove what killed workers left half written beside its place."""
        if self.local is not None:
            for leftover in self.local.rglob(f"{TEMPORARY_PREFIX}*"):
                if is_temporary(leftover.name) and not leftover.is_dir():
                    leftover.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _remotely(self, name: str, doing: str) -> Iterator[tuple[Any, str]]:
        """The file system of a store that is not on this machine, and the path of a file in it."""
        with remote.asking(self.locate(name), doing):
            files, path = remote.filesystem(self.address)
            yield files, f"{path}/{name}"


def is_of_this_process(address: str) -> bool:
    """Whether other processes do not see what is there.

    >>> is_of_this_process("memory://images"), is_of_this_process("s3://bucket/images")
    (True, False)
    """
    return address.startswith("memory://")


def as_json(value: Any) -> bytes:
    """JSON for people and programs."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "surrogatepass")
