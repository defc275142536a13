"""What is refused before a job writes anything."""

import os
import shutil
from pathlib import Path, PurePath, PurePosixPath

from pipelines.runs import layout
from pipelines.runs.store import Store
from pipelines.sources.base import Source
from sanitizer.errors import InputError, RunError
from sanitizer.files import check_writable


def check_output(store: Store, what: str = "OUTPUT") -> None:
    """Refuse an OUTPUT that cannot become a directory of ours.

    Args:
        store: the OUTPUT.
        what: it is called in messages.

    Raises:
        InputError: its name is not UTF-8; or, on this machine, it is a file or a dangling link,
            or cannot be written to; or its store refuses to be looked at.
        Unreachable: its store does not answer.
    """
    try:
        store.address.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{store.address!a}: the name is not UTF-8, and Arrow writes no such file; give "
            f"another {what}"
        ) from error
    folder = store.local
    if folder is None:
        store.names()
        return
    _check_name(folder, what)
    if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
        found = "file" if folder.exists() else "broken link"
        raise InputError(
            f"{folder} is a {found}; {what} must be a directory, or what does not exist yet"
        )
    parent = _existing(folder)
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"{parent} cannot be written to; give another {what}")


def _check_name(path: Path, what: str) -> None:
    """Refuse what no system can look for, such as a name that is too long.

    Raises:
        InputError: so it is.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give another {what}") from error


def check_folders(store: Store) -> None:
    """Refuse links in place of the folders of an OUTPUT: who follows one leaves OUTPUT.

    Raises:
        InputError: there is one.
    """
    if store.local is None:
        return
    # Files that are links are replaced; in place of the folder of a pass a link would be followed.
    of_passes = [name for name in store.names(layout.WORK) if not (store.local / name).is_file()]
    for folder in (*layout.FOLDERS, *of_passes):
        if (store.local / folder).is_symlink():
            raise InputError(
                f"{store.locate(folder)} is a link, and freqsan writes to plain folders only; "
                "remove it, or give another OUTPUT"
            )


def check_picture(path: Path, output: Store | None = None) -> None:
    """Refuse a name under which no PNG can be written; as :func:`check_file`."""
    check_file(path, ".png", "a PNG", output)


def check_file(path: Path, suffix: str, what: str, output: Store | None = None) -> None:
    """Refuse a name under which no file of a kind can be written.

    Args:
        path: of the file to be.
        suffix: that it must have.
        what: the kind, in words.
        output: an OUTPUT that will be there by then, if any.

    Raises:
        InputError: another extension, the name of a directory, no directory to be in, or one that
            cannot be written to.
    """
    if path.suffix.lower() != suffix:
        raise InputError(f"{path}: expected the name of {what}, ending in {suffix}")
    _check_name(path, "name")
    if path.is_dir():
        raise InputError(f"{path} is a directory; give the name of {what}")
    parent = path.absolute().parent
    if not parent.is_dir():
        if output is not None and parent == output.local:
            return  # :func:`check_output` looks where it will be
        raise InputError(f"{parent} is no directory; give a path inside one")
    try:
        check_writable(path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); give a path elsewhere"
        ) from error


def check_outside(path: Path, *folders: str | Path | None) -> None:
    """Refuse a file that would lie among images, where it would be one of them or replace one.

    Args:
        path: of the file to be.
        folders: what images lie in, or a file of them; None where that is not local.

    Raises:
        InputError: it lies in one of them.
    """
    for folder in folders:
        if folder is not None and path.resolve().is_relative_to(Path(folder).resolve()):
            raise InputError(f"{path} lies in {folder}, among the images; give a path outside it")


def check_apart(
    root: str | None, given: str, location: str, store: Store, what: str = "OUTPUT"
) -> None:
    """Refuse an output inside an input, or the other way round.

    Args:
        root: what the input's files lie in, a local path; None where it is not local.
        given: the input in the user's words.
        location: of the input, a path or URL.
        store: the output.
        what: it is called in messages.

    Raises:
        InputError: one lies within the other.
    """
    folder = store.local
    there: PurePath
    here: PurePath
    if root is not None and folder is not None:
        there, here = Path(root).resolve(), folder.resolve()
    elif root is None and folder is None:
        there, here = PurePosixPath(location), PurePosixPath(store.address)
    else:
        return
    if here.is_relative_to(there) or there.is_relative_to(here):
        raise InputError(
            f"{what} {store.address} and {given} lie within each other; give another {what}, "
            "apart from it"
        )


def check_places(source: Source, store: Store) -> None:
    """Refuse an OUTPUT that cannot be, or that is not apart from INPUT.

    Raises:
        InputError: so it is.
    """
    check_output(store)
    check_apart(source.root, f"INPUT {source.location}", source.location, store)


def check_space(store: Store, needed: int) -> None:
    """Refuse to start what cannot end; only this machine tells how much is free.

    Raises:
        RunError: the file system of the output has fewer than ``needed`` bytes free.
    """
    free = free_space(store)
    if free is not None and free < needed:
        raise RunError(
            f"no space left for {store.address}: {free / 1e6:,.0f} MB free, about "
            f"{needed / 1e6:,.0f} MB needed; free some or give another OUTPUT"
        )


def free_space(store: Store) -> int | None:
    """Bytes that are free where an output is, or will be; None where nobody knows."""
    return None if store.local is None else shutil.disk_usage(_existing(store.local)).free


def _existing(path: Path) -> Path:
    """The nearest of a path and its parents that exists."""
    path = path.absolute()
    return next(p for p in (path, *path.parents) if p.exists())
