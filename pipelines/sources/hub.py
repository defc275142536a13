"""A data set on the Hugging Face Hub: its Parquet files, pinned to one revision."""

import re
from dataclasses import replace
from urllib.parse import unquote

from pipelines.sources import files, parquet
from pipelines.sources.base import Reading, Source
from pipelines.sources.files import Listing
from sanitizer.errors import InputError

#: Where the Hub keeps its own conversion of a set that is not in Parquet.
CONVERTED = "refs/convert/parquet"

#: Seconds to wait for the Hub to answer.
TIMEOUT = 20

_ADDRESS = re.compile(
    r"(hf://datasets/)?(?P<id>[\w][\w.-]*/[\w][\w.-]*)(@(?P<revision>[^/]+))?(/(?P<path>.+))?"
)


def is_hub(location: str) -> bool:
    """Whether this may be a set on the Hub: ``org/name``, or an ``hf://datasets/`` address."""
    match = _ADDRESS.fullmatch(location.rstrip("/"))
    return match is not None and bool(match[1] or not match["path"])


def resolve(location: str, reading: Reading) -> Source:
    """The Parquet files of a set on the Hub, or of the Hub's conversion of it, as a source.

    The revision is looked up once, so that all workers, and a run that is taken up again,
    read the same files. Sample ids are relative to the repository.

    Args:
        location: ``org/name``, or ``hf://datasets/org/name[@revision][/path]`` with a path
            that is a file, a folder or a glob.
        reading: as for Parquet.

    Raises:
        InputError: no such set, or no access to it; the Hub cannot be reached; no Parquet
            files, or several configurations; and whatever Parquet files may raise.
    """
    from huggingface_hub import errors  # slow to import

    address = _ADDRESS.fullmatch(location.rstrip("/"))
    if address is None:
        raise InputError(f"{location}: expected hf://datasets/<org>/<name>[@revision][/path]")
    set_id, path = address["id"], address["path"] or ""
    revision = unquote(address["revision"]) if address["revision"] else None
    try:
        listing = _pinned(set_id, revision, path)
        if not any(map(parquet.is_parquet, listing.names)) and revision is None:
            listing = _pinned(set_id, CONVERTED, path)
    except (errors.HTTPError, errors.HFValidationError, OSError) as error:
        raise InputError(f"{location}: {_reason(error)}") from error
    if not any(map(parquet.is_parquet, listing.names)):
        raise InputError(f"{location}: found no Parquet files in the set on the Hub")
    _check_one_configuration(location, listing)
    return replace(parquet.resolve(replace(listing, location=location), reading), kind="hub")


def _pinned(set_id: str, revision: str | None, path: str) -> Listing:
    """The files below ``path`` at the commit that ``revision`` stands for now."""
    from huggingface_hub import HfApi

    commit = HfApi().dataset_info(set_id, revision=revision, timeout=TIMEOUT).sha
    root = f"hf://datasets/{set_id}@{commit}"
    listing = files.list_files(f"{root}/{path}".rstrip("/"))
    if listing is None:
        return Listing(root, root, ())
    folder = listing.root[len(root) + 1 :]
    names = tuple(f"{folder}/{name}" if folder else name for name in listing.names)
    return Listing(root, root, names)


def _reason(error: Exception) -> str:
    """What went wrong at the Hub, in words."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return "the set is gated; ask for access on its page and run `hf auth login`"
    if isinstance(error, errors.RepositoryNotFoundError | errors.HFValidationError):
        return "no such file or folder here, and no public set of that name on the Hub"
    if isinstance(error, errors.RevisionNotFoundError):
        return "found no such revision on the Hub, or no Parquet files and no conversion to them"
    reason = str(error).strip().partition("\n")[0]
    return f"no such file or folder here, and the Hub cannot be reached ({reason})"


def _check_one_configuration(location: str, listing: Listing) -> None:
    """Parquet files of several folders that are not splits would be a mixture of sets."""
    folders = (name.rpartition("/")[0] for name in filter(parquet.is_parquet, listing.names))
    parents = {re.sub(r"(^|/)[^/]*$", "", f) if _is_split(f) else f for f in folders}
    if len(parents) > 1:
        names = ", ".join(sorted(folder or "the root" for folder in parents))
        raise InputError(
            f"{location}: found Parquet files in several folders ({names}); choose one with "
            "hf://datasets/<org>/<name>/<folder>"
        )


def _is_split(folder: str) -> bool:
    return folder.rpartition("/")[2].lower() in files.SPLIT_NAMES
