"""Beam's in-process runner talks to this machine alone.

With several shards under way it starts servers for its own threads, on every network interface,
and they trust whoever connects: one of them reads any file out. They are for nobody else, so for
the time of a run they listen on the loopback interface.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import grpc
from apache_beam.runners.portability.fn_api_runner import worker_handlers

from pipelines.runs.guest import Shared


@contextmanager
def _listening_on_loopback() -> Iterator[None]:
    """Keep the servers that Beam starts meanwhile in this process off the network.

    Beam has no option for it. Its module makes the servers by ``grpc.server`` and has no other
    use for ``grpc``.
    """
    before = worker_handlers.grpc
    worker_handlers.grpc = SimpleNamespace(server=_loopback_server)
    try:
        yield
    finally:
        worker_handlers.grpc = before


#: For as long as any run lasts, see :func:`_listening_on_loopback`.
listening_on_loopback = Shared(_listening_on_loopback)


def _loopback_server(*arguments: Any, **options: Any) -> grpc.Server:
    server = grpc.server(*arguments, **options)
    add = server.add_insecure_port
    # One address: of two, a port that is free on the first may be taken on the second.
    server.add_insecure_port = lambda address: add(address.replace("[::]", "127.0.0.1"))
    return server
