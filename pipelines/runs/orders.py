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
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.runs import layout
from pipelines.runs.work import Order, PassWork
from sanitizer.errors import RunError


@functools.lru_cache(maxsize=2)
def read_order(order: Order, sha256: str) -> PassWork:
    """What is to be done; read once in a process.

    Raises:
        RunError: the order stands no longer, or is not what its run has written.
    """
    try:
        data = order.store.read(order.name)
    except OSError as error:
        raise order.missing() from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise RunError(f"{order.store.locate(order.name)} is not what this run has written")
    work: PassWork = pickle.loads(data)
    return work


@contextmanager
def ordered(work: PassWork) -> Iterator[tuple[Order, str]]:
    """An order, and its SHA-256, which workers are sent; it stands until the end of the block."""
    order = Order(work.store, f"{layout.ORDERS}/{work.pass_name}-{uuid.uuid4().hex}")
    data = pickle.dumps(dataclasses.replace(work, order=order))
    order.store.write(order.name, data)
    try:
        yield order, hashlib.sha256(data).hexdigest()
    finally:
        order.store.remove(order.name)
