"""A detector in a store: what reads detectors reads files of this machine."""

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from detector.storage import CARD, MAX_CARD, WEIGHTS, DetectorError
from detector.weights import MAX_FILE
from pipelines.sources import files
from pipelines.sources.remote import is_remote

#: The copies that this process has made, by address.
_copies: dict[str, Path] = {}


def fetch(address: str) -> Path:
    """Copy a detector to this machine, for as long as this process lives.

    Raises:
        DetectorError: there is none, or one of its files is too large.
        Unreachable: the store does not give it.
    """
    folder = Path(tempfile.mkdtemp(prefix="freqsan-detector-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name, most in ((CARD, MAX_CARD), (WEIGHTS, MAX_FILE)):
        try:
            with files.open_file(address, name) as file:
                data = file.read(most + 1)
        except (FileNotFoundError, IsADirectoryError) as error:
            raise DetectorError(f"{address} is no detector: {name} is missing") from error
        if len(data) > most:
            raise DetectorError(f"{address}/{name} is refused: it has more than {most:,} bytes")
        (folder / name).write_bytes(data)
    _copies[address] = folder
    return folder


@contextmanager
def on_this_machine(detector: str | Path) -> Iterator[str | Path]:
    """What finds a detector here: of one in a store a copy, of any other what was given.

    Raises:
        DetectorError: as :func:`fetch`; or what is wrong with the copy, by its address.
        Unreachable: as :func:`fetch`.
    """
    address = str(detector).rstrip("/")
    if not is_remote(address):
        yield detector
        return
    copy = _copies.get(address) or fetch(address)
    try:
        yield copy
    except DetectorError as error:
        raise DetectorError(str(error).replace(str(copy), address)) from error
