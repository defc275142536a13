"""A GPU that one process owns and others of this machine score on.

Each process that opens a GPU takes half a gigabyte of its memory before the first image, and they
wait for one another. So one process owns it; those that decode send it what is to be scored, and it
receives that in pinned memory, which the GPU reads by itself.
"""

import socket
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from detector.runtime import OnGpu
from sanitizer.errors import GO_ON, FreqsanError, RunError

#: Parts that are sent at a time, at most: 12 MiB of those of 32 px.
MOST_PARTS = 4096

#: Seconds without an answer after which the owner is taken for lost.
SILENT_SECONDS = 120.0


@dataclass(frozen=True)
class Lent:
    """A network on a device of another process, as it travels to those that score on it."""

    address: str  #: of a socket that only this user can open


class Borrowed:
    """A :class:`~detector.runtime.Runtime` that another process does the work of.

    Raises:
        RunError: that process does not answer.
    """

    def __init__(self, lent: Lent):
        # The answers to several threads would get mixed up.
        self._line, self._one_by_one = _connected(lent.address), threading.Lock()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        pieces = [images[i : i + MOST_PARTS] for i in range(0, len(images), MOST_PARTS)]
        with self._one_by_one:
            return np.concatenate([self._ask(np.ascontiguousarray(piece)) for piece in pieces])

    def _ask(self, images: np.ndarray) -> np.ndarray:
        try:
            self._line.send_bytes(images.data.cast("B"))
            if not self._line.poll(SILENT_SECONDS):
                raise _no_answer(f"was silent for {SILENT_SECONDS:.0f} s")
            answer = self._line.recv()
        except (EOFError, OSError) as error:
            raise _no_answer(f"has ended ({error or 'end of the line'})") from error
        if isinstance(answer, BaseException):
            raise answer
        logits: np.ndarray = answer
        return logits


def _connected(address: str) -> Connection:
    line = socket.socket(socket.AF_UNIX)
    try:
        line.connect(address)
    except OSError as error:
        line.close()
        raise _no_answer(f"is not there ({error})") from error
    return Connection(line.detach())


def _no_answer(how: str) -> RunError:
    return RunError(f"the process that has the GPU {how}; {GO_ON}")


@contextmanager
def lend(runtime: OnGpu, side: int) -> Iterator[Lent]:
    """Let other processes score on a device of this one, for as long as the context lasts.

    Args:
        runtime: of the network.
        side: of a part, in pixels.

    Raises:
        RunError: there can be no socket here.
    """
    with tempfile.TemporaryDirectory(prefix="freqsan-") as folder:  # that only its owner can read
        address = str(Path(folder, "gpu"))
        try:
            server = _Server(address, runtime, side)
        except OSError as error:
            raise RunError(f"the GPU cannot be shared: {error} ({address})") from error
        with server:
            thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
            thread.start()
            try:
                yield Lent(address)
            finally:
                server.shutdown()
                thread.join()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True  # each ends with the process that it answers

    def __init__(self, address: str, runtime: OnGpu, side: int):
        self.runtime, self.side = runtime, side
        super().__init__(address, _Handler)


class _Handler(socketserver.BaseRequestHandler):
    """Answers one process."""

    server: _Server

    def handle(self) -> None:
        line, side = Connection(self.request.detach()), self.server.side
        parts = self.server.runtime.pinned((MOST_PARTS, side, side, 3))
        with line:
            while True:
                try:
                    count = line.recv_bytes_into(parts.data.cast("B")) // parts[0].nbytes
                    line.send(self._answer(parts[:count]))
                except (EOFError, OSError):  # nobody is there any more
                    return

    def _answer(self, parts: np.ndarray) -> np.ndarray | Exception:
        try:
            return self.server.runtime(parts)
        except FreqsanError as error:
            return error
        except Exception as error:  # noqa: BLE001  (raised in the other process)
            # In words: not every error of torch's can travel.
            return RuntimeError(f"{type(error).__name__}: {error}")
