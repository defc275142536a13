"""Where images come from: folders, tables of paths, zips, Parquet, tars, saved sets, the Hub."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from pipelines.sources import (
    annotations,
    files,
    folder,
    hub,
    metadata,
    parquet,
    paths,
    saved,
    splits,
    unread,
    webdataset,
    zips,
)
from pipelines.sources.base import SHARD_ROWS, Reading, Source
from pipelines.sources.files import Found, Listing
from sanitizer.errors import InputError

__all__ = ["open_source"]


class _Kind(NamedTuple):
    """A kind of file that images come in."""

    name: str  #: for messages
    includes: Callable[[str], bool]  #: whether a file is of this kind, by its name
    resolve: Callable[[Listing, Reading], Source]


def _parquet(listing: Listing, reading: Reading) -> Source:
    """Parquet files of images, or of their paths."""
    holds_paths = paths.holds_paths(listing, reading)
    return (paths.resolve_parquet if holds_paths else parquet.resolve)(listing, reading)


_KINDS = (
    _Kind("Parquet files", parquet.is_parquet, _parquet),
    _Kind("tars", webdataset.is_tar, webdataset.resolve),
    _Kind("images", folder.is_image, folder.resolve),
)

#: Kinds that are only read where nothing of the others is there: beside images a zip holds most
#: often the same ones, and a table of text may be about anything, so it must be alone.
_KINDS_ALONE = (
    _Kind("zip archives", zips.is_zip, zips.resolve),
    _Kind("a table of paths", annotations.is_table, paths.resolve),
)


def open_source(
    location: str | os.PathLike[str],
    *,
    split: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    shard_rows: int = SHARD_ROWS,
    option: str | None = None,
    follow_links: bool = False,
    found: Found = lambda more: None,
) -> Source:
    """Resolve an input to a schema and shards, whatever its kind.

    Args:
        location: an image folder or one image; a Parquet file, a folder of them or a glob; the
            same of WebDataset tars and of zip archives; a CSV, TSV or JSON Lines file of paths
            beside it; a folder that ``datasets`` saved; a Hub id; or an fsspec URL. Each may name
            its split behind a colon, ``photos:train``, where nothing of the whole name exists.
        split: which split to read; where the input has several, it must be given here or in
            ``location``.
        image_column: column of the images; None to find it.
        label_column: column of the labels; None to find it, where there is one.
        shard_rows: rows of a shard, about; at least 1. It changes no row and no id.
        option: that ``location`` was given by, such as ``"--trusted"``, for messages; None
            where it is INPUT itself.
        follow_links: follow links in the input that lead out of it, too.
        found: is told how many more files were found, while many are listed.

    Raises:
        InputError: nothing there, nothing that can be read, or a choice is needed.
    """
    given = option or "INPUT"
    if not isinstance(location, str | os.PathLike):
        raise InputError(f"{given}: expected a path or an address, got {location!r:.200}")
    whole = os.fsdecode(location)
    if whole in ("", *files.LOCAL_SCHEMES):
        raise InputError(f"{given} is empty; name a file, a folder or a set")
    path, named = splits.parted(whole)
    if split is not None and named not in (None, split):
        raise InputError(f"{whole}: names the split {named!r}, and --split {split!r}; name one")
    reading = Reading(named or split, image_column, label_column, shard_rows)
    try:
        return _resolver(path, follow_links, found, whole)(reading)
    except InputError as error:
        if option is None:
            raise
        raise InputError(f"{option} {error}") from error


def _resolver(
    location: str, follow_links: bool, found: Found, whole: str
) -> Callable[[Reading], Source]:
    """The ``resolve`` of the kind of what lies at ``location``, which was given as ``whole``."""
    if saved.is_saved(location):
        return partial(saved.resolve, location, follow_links)
    if location.startswith("hf://datasets/"):
        return partial(hub.resolve, location)
    listing = files.list_files(location, follow_links, found)
    if listing is None and hub.is_hub(location):
        return partial(hub.resolve, location)
    if listing is None:
        split = f", nor a set {location} with such a split" if whole != location else ""
        raise InputError(f"{whole}: no such file or folder{split}{files.nearly(whole)}")
    images = any(map(folder.is_image, listing.names))
    # Beside images it says something of them; else it is a Parquet file as others are.
    others = [n for n in listing.names if not (images and metadata.is_metadata(n))]
    kinds = [kind for kind in _KINDS if any(map(kind.includes, others))]
    if not kinds and (any(map(zips.is_zip, others)) or len(others) == 1):
        kinds = [kind for kind in _KINDS_ALONE if any(map(kind.includes, others))]
    if not kinds:
        raise unread.refusal(listing)
    if len(kinds) > 1:
        names = " and ".join(kind.name for kind in kinds)
        example = next(filter(kinds[0].includes, listing.names))
        raise InputError(
            f"{location}: found both {names}; name those to read with a glob, as in "
            f"'{location.rstrip('/')}/**/*{files.suffix(example)}'"
        )
    if kinds[0].resolve is not folder.resolve:
        # One file is the user's own choice, link or not; what it names is not.
        listing = replace(listing, follow_links=follow_links)
    return partial(kinds[0].resolve, listing)
