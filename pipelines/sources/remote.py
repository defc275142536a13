"""Files behind an address, such as ``s3://bucket/photos``: how they are asked for, and what fails.

What a store does not give says nothing about the file: a cut connection, a refused key or an
answer that never came is no property of an image. So all that goes wrong on the way is an
:class:`Unreachable`, which no reader takes for damage. Only that there is no such file, or that
it is a folder, stays the ``OSError`` that it is.

Retries with growing pauses are the business of the libraries below, see docs/object-stores.md.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import fsspec

from sanitizer.errors import FreqsanError, InputError, RunError, one_line

#: What installs the file system of an address, by its scheme; of others fsspec knows.
_EXTRAS = {"s3": "freqsan[s3]", "s3a": "freqsan[s3]"}

#: Attempts at a request to S3 that was not answered or got a 5xx, with pauses that double up to
#: 20 s: half a minute in all, as a run of hours should not end for the sake of a few seconds.
_ATTEMPTS = {"retries": {"mode": "standard", "total_max_attempts": 6}}

#: How often s3fs asks again where an answer was cut or none came, twice over for a read: each time
#: with those attempts, so by more a store that never answers would be waited for for an hour.
_TIMES = 3

#: Bytes that are read of a file beyond what is asked for: fewer requests, more memory.
AHEAD = 16 << 20

#: What a store says of the address itself.
_OF_THE_ADDRESS = (FileNotFoundError, NotADirectoryError, IsADirectoryError, FileExistsError)

#: The code of a file that is another by now than when it was opened.
REPLACED = "FileExpired"

#: Codes of S3 and names of errors, and what to do about each. A store that refuses will refuse
#: again, so the user must mend something; of an answer to HEAD only the number is known.
_CURES = {
    **dict.fromkeys(
        ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"),
        "the credentials have expired: renew them and run the same command again",
    ),
    **dict.fromkeys(
        ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "401"),
        "the store does not know these credentials: give others and run the same command again",
    ),
    **dict.fromkeys(
        ("AccessDenied", "AllAccessDisabled", "AccountProblem", "403", "PermissionError"),
        "these credentials may not do that: permit it, or give others, and run the same command "
        "again",
    ),
    **dict.fromkeys(
        ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"),
        "give credentials, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE",
    ),
    **dict.fromkeys(
        (
            "ProfileNotFound",
            "TokenRetrievalError",
            "UnauthorizedSSOTokenError",
            "SSOTokenLoadError",
        ),
        "log in again, or give other credentials, and run the same command again",
    ),
    **dict.fromkeys(
        ("301", "PermanentRedirect", "AuthorizationHeaderMalformed", "NoRegionError"),
        "set AWS_DEFAULT_REGION to the region of the bucket",
    ),
    REPLACED: "leave the files alone while they are read, and start again with --overwrite",
    "400": "often the credentials have expired, or the bucket is in another region",
    "NoSuchBucket": "make the bucket, or correct the address",
    "RequestTimeTooSkewed": "set the clock of this machine",
    "ParamValidationError": "correct the address",
    "ValueError": "correct the address",
}


class Unreachable(FreqsanError):
    """A store gave no answer, not all of it, or a refusal; one line says what to do.

    Attributes:
        code: what the store calls it, such as ``"AccessDenied"``, or the name of the error.
    """

    def __init__(self, message: str, code: str = ""):
        super().__init__(message, code)  # both, so that it can be pickled
        self.code = code

    def __str__(self) -> str:
        return one_line(str(self.args[0]))


class Refused(Unreachable, InputError):
    """A store that refuses will refuse again: the user must mend something."""


class Unanswered(Unreachable, RunError):
    """A store that failed by itself, or a network: it may work again later."""


@contextmanager
def asking(address: str, doing: str = "read") -> Iterator[None]:
    """One line for whatever goes wrong between this machine and a store.

    Args:
        address: of what is asked for.
        doing: what cannot be done with it then, such as ``"listed"``.

    Raises:
        Unreachable: the store failed, or refused.
        OSError: there is no such file or folder, or it is of the other kind.
    """
    try:
        yield
    except (FreqsanError, MemoryError):
        raise
    except Exception as error:  # each library below has errors of its own
        code = _code(error)
        if isinstance(error, _OF_THE_ADDRESS) and code != "NoSuchBucket":
            raise
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        kind = Refused if code in _CURES else Unanswered
        if kind is Refused:
            _forget(address)
        cure = _CURES.get(code, "see that it can be reached and run the same command again")
        raise kind(f"{address}: cannot be {doing} ({reason}); {cure}", code) from error


def _code(error: BaseException) -> str:
    """What a store calls a failure; the name of the error where it did not say."""
    kind = type(error).__name__
    if kind in _CURES and kind not in ("PermissionError", "ValueError"):  # which say less
        return kind
    cause: BaseException | None = error
    while cause is not None:
        answer = getattr(cause, "response", None)
        if isinstance(answer, dict) and (code := answer.get("Error", {}).get("Code")):
            return str(code)
        cause = cause.__cause__
    return next((k.__name__ for k in (PermissionError, ValueError) if isinstance(error, k)), kind)


def is_remote(address: str) -> bool:
    """Whether an address is not a path on this machine."""
    return "://" in address


def filesystem(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it. Both are asked under :func:`asking`.

    It keeps no listings: others write too, and of a million files they are a gigabyte.

    Raises:
        InputError: nothing is installed for such an address.
    """
    scheme = address.partition("://")[0]
    options: dict[str, Any] = {}
    if scheme != "hf":  # which is pinned to a commit
        options["use_listings_cache"] = False
    chosen = fsspec.config.conf.get(scheme, {}), os.environ
    if scheme in _EXTRAS and not any({"config_kwargs", *_CHOICES} & each.keys() for each in chosen):
        options["config_kwargs"] = _ATTEMPTS
    try:
        opened, path = fsspec.core.url_to_fs(address, **options)
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        what = f"pip install '{extra}'" if extra else str(error).strip().partition("\n")[0]
        raise InputError(f"{address}: needs a library that is not installed: {what}") from error
    if scheme in _EXTRAS:
        opened.retries = min(opened.retries, _TIMES)
    return opened, str(path)


#: By what a user chooses the attempts; then those are left alone.
_CHOICES = ("AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE")


def _forget(address: str) -> None:
    """Have the file system of an address opened anew, with whatever credentials there are then."""
    with suppress(ImportError, ValueError):
        fsspec.get_filesystem_class(address.partition("://")[0]).clear_instance_cache()


class Entry(NamedTuple):
    """A file of a listing."""

    name: str  #: relative to the folder that was listed
    size: int | None  #: in bytes
    version: str | None  #: another one for another content: an etag, or when it was written


def entry(name: str, info: dict[str, Any]) -> Entry:
    """What a file system says of a file."""
    version = next((info[key] for key in ("ETag", "etag", "mtime") if info.get(key)), None)
    return Entry(name, info.get("size"), None if version is None else str(version).strip('"'))


def entries(address: str) -> Iterator[Entry]:
    """All files below a folder, one after the other as the store tells of them, in any order.

    Not by ``find`` or ``glob`` of fsspec: those hold a dictionary of each file, and pass over a
    folder that could not be listed as if it were empty.

    Raises:
        Unreachable: a page of the listing did not come.
    """
    with asking(address, "listed"):
        opened, folder = filesystem(address)
        if hasattr(opened, "call_s3"):
            yield from _entries_of_s3(opened, folder)
        else:
            yield from _entries_of_any(opened, folder)


def _entries_of_s3(opened: Any, folder: str) -> Iterator[Entry]:
    for prefix, page in _pages_of_s3(opened, folder):
        for found in page.get("Contents", ()):
            name = found["Key"][len(prefix) :]
            if name and not name.endswith("/"):  # what some tools leave in place of a folder
                yield Entry(name, found["Size"], found["ETag"].strip('"'))


def _pages_of_s3(opened: Any, folder: str, **how: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The prefix of a folder, and what is below it: a thousand keys a request, each retried."""
    bucket, key, _ = opened.split_path(folder)
    prefix = f"{key.rstrip('/')}/" if key else ""
    while True:
        page = opened.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, **how)
        yield prefix, page
        if not page.get("IsTruncated"):
            return
        how["ContinuationToken"] = page["NextContinuationToken"]


def _entries_of_any(opened: Any, folder: str) -> Iterator[Entry]:
    """Folder by folder."""
    root = folder.rstrip("/")
    pending = [root]
    while pending:
        here = pending.pop()
        try:
            infos = opened.ls(here, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            if here != root:
                raise
            return
        for info in infos:
            path = info["name"].rstrip("/")
            if path == here:  # the file or the folder itself
                continue
            if info["type"] == "directory":
                pending.append(path)
            else:
                yield entry(path[len(root) + 1 :], info)


def children(address: str) -> Iterator[str]:
    """The names of the files and folders directly in a folder; none where there is no folder.

    Raises:
        Unreachable: a page of the listing did not come.
    """
    with asking(address, "listed"):
        opened, folder = filesystem(address)
        if hasattr(opened, "call_s3"):  # whose ``ls`` lists the outer folder where there is none
            for prefix, page in _pages_of_s3(opened, folder, Delimiter="/"):
                folders = (found["Prefix"] for found in page.get("CommonPrefixes", ()))
                files = (found["Key"] for found in page.get("Contents", ()))
                yield from filter(None, (k[len(prefix) :].rstrip("/") for k in (*folders, *files)))
            return
        with suppress(FileNotFoundError, NotADirectoryError):
            for path in opened.ls(folder, detail=False):
                if str(path).rstrip("/") != folder.rstrip("/"):
                    yield str(path).rstrip("/").rpartition("/")[2]


def look_at(address: str) -> dict[str, Any]:
    """What a store says of one file or folder.

    Raises:
        FileNotFoundError: there is none.
        Unreachable: the store did not say.
    """
    with asking(address):
        opened, path = filesystem(address)
        info: dict[str, Any] = opened.info(path)
        return info


def exists(address: str) -> bool:
    """Whether there is a file or folder.

    Raises:
        Unreachable: the store did not say.
    """
    try:
        look_at(address)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


class RemoteFile(io.RawIOBase):
    """A file of a store, open for reading; what fails on the way is :class:`Unreachable`.

    On S3 each read asks for the very object that was there when the file was opened.

    Args:
        address: of the file.
        ahead: bytes that are read beyond what is asked for, as they may be asked for next.

    Raises:
        FileNotFoundError: there is none.
        Unreachable: the store did not give it.
    """

    def __init__(self, address: str, ahead: int = AHEAD):
        super().__init__()
        self.address = address
        with asking(address):
            opened, path = filesystem(address)
            self._file = opened.open(path, "rb", block_size=ahead)
            details = getattr(self._file, "details", None)
            #: what was opened
            self.entry = entry(address, opened.info(path) if details is None else details)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        with asking(self.address):
            start = self._file.tell()
            count = int(self._file.readinto(view))
            whole = self.entry.size
            if whole is not None and count < min(len(view), whole - start):
                raise ConnectionError(f"the answer ended at byte {start + count:,} of {whole:,}")
        return count

    def readall(self) -> bytes:
        size = self.entry.size
        return super().readall() if size is None else self.read(max(0, size - self.tell())) or b""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        if not self.closed and hasattr(self, "_file"):  # else the store did not give it
            self._file.close()
        super().close()
