"""Views of many images, kept in a file: of each class its own are looked at once."""

import os
import tempfile
import weakref
from collections.abc import Iterator, Sequence

import numpy as np

#: Rows that are read at a time.
ROWS = 1024


class Kept:
    """Rows of several views, in a file without a name that goes with the process."""

    def __init__(self, features: Sequence[int]):
        """Args: features: numbers in a row of each view."""
        self._ends = np.cumsum(features)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  (closed when nobody needs it)
        weakref.finalize(self, self._file.close)

    def add(self, views: Sequence[np.ndarray]) -> None:
        """Keep the next rows. Args: views: (k, d) float16, of each view."""
        self._file.write(np.concatenate(views, 1).data)
        self._file.flush()

    def read(self, rows: np.ndarray) -> Iterator[list[np.ndarray]]:
        """Some rows, at most ``ROWS`` at a time: (k, d) float16 of each view."""
        nbytes = 2 * int(self._ends[-1])
        for start in range(0, len(rows), ROWS):
            some = rows[start : start + ROWS].tolist()
            # At a place of their own: threads that read at once share the file.
            data = b"".join(os.pread(self._file.fileno(), nbytes, row * nbytes) for row in some)
            values = np.frombuffer(data, np.float16).reshape(len(some), -1)
            yield np.split(values, self._ends[:-1], 1)
