"""What is not read, and what to do about it: a line for those who have such files."""

import re

from pipelines.sources import files
from pipelines.sources.files import Listing
from sanitizer.errors import InputError

#: Sets of other tools, by the end of their names, and how they become one that is read.
_OTHERS = (
    (
        re.compile(r"\.tfrecords?(-\d+-of-\d+)?(\.gz)?$|\.tfrec$", re.IGNORECASE),
        "TFRecord files are not read, as it takes TensorFlow and the set's own schema; write the "
        "encoded images with their labels to WebDataset tars or Parquet, or to a folder",
    ),
    (
        re.compile(r"\.(h5|hdf5|mat|npy|npz|pkl|pickle|pt|pth)$", re.IGNORECASE),
        "arrays of pixels are not read, nor is anything unpickled; save each image as PNG in a "
        "folder a class, or as a column of bytes in Parquet",
    ),
    (
        re.compile(r"\.(mdb|lmdb|rec|idx|beton)$", re.IGNORECASE),
        "databases of LMDB, MXNet and FFCV are not read; export the encoded images to a folder a "
        "class, or to WebDataset tars",
    ),
    (
        re.compile(r"\.(rar|7z|tar\.(xz|bz2|zst)|txz|tbz2?)$", re.IGNORECASE),
        "archives are read as zip, tar and tar.gz; unpack it and give the folder",
    ),
    (
        re.compile(r"\.(mp4|mov|avi|mkv|webm)$", re.IGNORECASE),
        "videos are not read; save their frames as images",
    ),
    (
        re.compile(r"\.(csv|tsv|jsonl)$", re.IGNORECASE),
        "a table of paths is read where it is given itself, such as photos/list.csv",
    ),
)


def refusal(listing: Listing) -> InputError:
    """Why nothing of an input is read, and what else to do."""
    left_out = listing.left_out()
    if not listing.names:
        names = "" if left_out else ": it is empty"
    elif listing.local == f"{listing.root}/{listing.names[0]}":  # INPUT is this very file
        names = f": {files.suffix(listing.names[0]) or 'a name without extension'} is none of them"
    else:
        names = f", only {files.some(listing.names)}"
    cures = [cure for ends, cure in _OTHERS if any(map(ends.search, listing.names))]
    found = "; ".join((names, *cures[:1], *left_out))
    return InputError(f"{listing.location}: found no images, Parquet files or tars{found}")
