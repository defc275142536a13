"""What workers on other machines are to do: a file of OUTPUT, which each of them reads once.

What is done with a shard may hold megabytes, such as the clean scores of a detector, and some
runners send it anew for every shard. So it lies in a file, and what travels is the file's name and
checksum: whoever else can write to OUTPUT cannot have a worker run something.

The file is there as long as the run waits for its workers. One that was given up, as it hung or
its machine was cut off, may come back when another run has the OUTPUT: it finds that its order
stands no longer, and leaves nothing.
"""

import dataclasses
import functools
import hashlib
import pickle
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import apache_beam as beam

from pipelines.runs import layout
from pipelines.runs.store import Store
from sanitizer.errors import RunError


@dataclasses.dataclass(frozen=True)
class Order:
    """A pass that is under way."""

    store: Store
    name: str  #: of the file; used once

    def stands(self) -> bool:
        """Whether the run still waits for it."""
        return self.store.exists(self.name)

    def check(self) -> None:
        """Refuse to leave anything for a run that has ended.

        Raises:
            RunError: so it is.
        """
        if not self.stands():
            raise self.missing()

    def missing(self) -> RunError:
        """That the file is not there, in words."""
        return RunError(
            f"the worker on {socket.gethostname()} does not find {self.store.locate(self.name)}: "
            "either the run has ended, or OUTPUT is not where all workers see it; put it on a "
            "shared file system or an object store, under one address"
        )


class Ordered(Protocol):
    """What is done with each shard, by whoever is told."""

    order: Order | None
    store: Store
    pass_name: str

    def setup(self) -> None:
        """Load what is too big to travel."""

    def process(self, element: tuple[int, Any]) -> Iterator[int]:
        """Do a shard."""


class CarryOut(beam.DoFn):
    """Does what an order says."""

    def __init__(self, order: Order, sha256: str):
        self.order, self.sha256 = order, sha256

    def setup(self) -> None:
        _read(self.order, self.sha256).setup()

    # Beam reads this annotation, so it is of plain types.
    def process(self, element: tuple[int, Any]) -> Iterator[int]:
        yield from _read(self.order, self.sha256).process(element)


@functools.lru_cache(maxsize=2)
def _read(order: Order, sha256: str) -> Ordered:
    try:
        data = order.store.read(order.name)
    except OSError as error:
        raise order.missing() from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise RunError(f"{order.store.locate(order.name)} is not what this run has written")
    ordered: Ordered = pickle.loads(data)
    return ordered


@contextmanager
def ordered(do_fn: Ordered) -> Iterator[CarryOut]:
    """What to send to the workers instead; the order stands until the end of the block."""
    order = Order(do_fn.store, f"{layout.ORDERS}/{do_fn.pass_name}-{uuid.uuid4().hex}")
    do_fn.order = order
    data = pickle.dumps(do_fn)
    order.store.write(order.name, data)
    try:
        yield CarryOut(order, hashlib.sha256(data).hexdigest())
    finally:
        order.store.remove(order.name)
