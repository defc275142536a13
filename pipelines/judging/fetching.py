"""A detector in a store: what reads detectors reads files of this machine."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from detector.storage import CARD, MAX_CARD, WEIGHTS, DetectorError
from detector.weights import MAX_FILE
from pipelines.sources import files


@dataclass(frozen=True, eq=False)
class Copy:
    """The files of a detector, in memory: a few hundred kilobytes."""

    address: str
    card: bytes
    weights: bytes

    @contextmanager
    def on_disk(self) -> Iterator[Path]:
        """The detector in a directory, for as long as it takes to load it.

        Raises:
            DetectorError: what is wrong with it, by its address.
        """
        with tempfile.TemporaryDirectory(prefix="freqsan-") as folder:
            directory = Path(folder, self.address.rpartition("/")[2])
            directory.mkdir()
            (directory / CARD).write_bytes(self.card)
            (directory / WEIGHTS).write_bytes(self.weights)
            try:
                yield directory
            except DetectorError as error:
                words = str(error).replace(str(directory), self.address)
                raise DetectorError(words) from error


#: What this process has fetched, by address.
_copies: dict[str, Copy] = {}


def fetch(address: str) -> Copy:
    """Copy a detector to this process, anew where it has been before.

    Raises:
        DetectorError: there is none, or one of its files is too large.
        Unreachable: the store does not give it.
    """
    card, weights = _content(address, CARD, MAX_CARD), _content(address, WEIGHTS, MAX_FILE)
    copy = Copy(address, card, weights)
    known = _copies.get(address)
    if known is not None and (known.card, known.weights) == (card, weights):
        return known  # so that it is not loaded anew
    _copies[address] = copy
    return copy


def fetched(address: str) -> Copy:
    """The copy that this process has, or a new one; as :func:`fetch`."""
    return _copies.get(address) or fetch(address)


def _content(address: str, name: str, most: int) -> bytes:
    try:
        with files.open_file(address, name) as file:
            data = file.read(most + 1)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise DetectorError(f"{address} is no detector: {name} is missing") from error
    if len(data) > most:
        raise DetectorError(f"{address}/{name} is refused: it has more than {most:,} bytes")
    return data
