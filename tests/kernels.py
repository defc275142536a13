"""A real IPython kernel, as a notebook has it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager, start_new_kernel

ROOT = Path(__file__).resolve().parents[1]

#: Seconds to wait for the next thing that a kernel says.
PATIENCE = 120


@dataclass
class Shown:
    """What a cell shows."""

    result: str = ""  #: the last expression, as text
    forms: dict[str, Any] = field(default_factory=dict)  #: the same in all forms, by MIME type
    displayed: list[dict[str, Any]] = field(default_factory=list)  #: what was drawn on the way
    error: str = ""  #: name of an exception
    streams: dict[str, str] = field(default_factory=lambda: {"stdout": "", "stderr": ""})


@dataclass
class Kernel:
    """Runs cells, one after the other."""

    manager: KernelManager
    client: BlockingKernelClient

    def run(self, cell: str, interrupt_at: str | None = None) -> Shown:
        """Run a cell to its end.

        Args:
            cell: its text.
            interrupt_at: when this is printed, the kernel is interrupted as by its button.
        """
        sent, shown = self.client.execute(cell), Shown()
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE)
            content: dict[str, Any] = message["content"]
            if message["parent_header"].get("msg_id") != sent:
                continue
            match message["msg_type"]:
                case "stream":
                    shown.streams[content["name"]] += content["text"]
                    if interrupt_at and interrupt_at in content["text"]:
                        self.manager.interrupt_kernel()
                case "execute_result":
                    shown.result = content["data"]["text/plain"]
                    shown.forms = content["data"]
                case "display_data":
                    shown.displayed.append(content["data"])
                case "error":
                    shown.error = content["ename"]
                case "status" if content["execution_state"] == "idle":
                    return shown


@contextmanager
def kernel(directory: Path) -> Iterator[Kernel]:
    """A kernel that works in a directory, keeps temporary files in its ``tmp``, and has freqsan.

    What is downloaded or cached goes there, too.
    """
    (directory / "tmp").mkdir()
    temporary = str(directory / "tmp")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": temporary, "HF_HOME": temporary}
    manager, client = start_new_kernel(cwd=str(directory), env=environment)
    try:
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
