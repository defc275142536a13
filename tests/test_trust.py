"""What ``docs/trust.md`` says of the network: freqsan asks nobody, and answers nobody."""

import ipaddress
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from freqsan import ingest
from pipelines.jobs.demo import SAMPLE
from pipelines.jobs.ingest import CopyStep, CopyTally
from pipelines.runs.shards import ShardTask

ROOT = Path(__file__).resolve().parents[1]

#: State of a socket that listens, in the kernel's tables.
LISTENING = "0A"

#: What an IPv4 address begins with where it is written as one of IPv6.
MAPPED = bytes(10) + b"\xff\xff"

#: Cleans a set and validates it again in this process, and prints whom that asked.
ASKS = """
import sys

def hook(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        print(event, arguments[1:], flush=True)

sys.addaudithook(hook)
from freqsan import clean, report
clean(sys.argv[1], sys.argv[2], quiet=True)
report(sys.argv[2])
"""


#: Judges an image, and prints what of the environment is another afterwards.
JUDGES = """
import os, sys
before = dict(os.environ)
from freqsan import judge
judge([open(sys.argv[1], "rb").read()])
print(set(before.items()) ^ set(os.environ.items()))
"""


def test_no_library_keeps_or_reports_who_uses_it(tmp_path: Path, real_images: list[bytes]) -> None:
    """ONNX Runtime would; under ``CI`` it does not, so that is taken away here."""
    (tmp_path / "image.png").write_bytes(real_images[0])
    home = tmp_path / "home"
    home.mkdir()
    around = {
        key: value for key, value in os.environ.items() if key not in ("CI", "XDG_CACHE_HOME")
    }
    run = [sys.executable, "-c", JUDGES, str(tmp_path / "image.png")]
    done = subprocess.run(
        run, cwd=ROOT, env=around | {"HOME": str(home)}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_a_local_run_asks_nobody(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASKS, str(SAMPLE), str(tmp_path / "out")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's tables are Linux's")
def test_a_local_run_listens_to_this_machine_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, str] = {}
    step = CopyStep.run

    def run(self: CopyStep, task: ShardTask) -> tuple[int, CopyTally]:
        seen.update(listening_addresses())
        return step(self, task)

    before = listening_addresses()
    monkeypatch.setattr(CopyStep, "run", run)
    # So few shards are done by threads of this process.
    ingest(SAMPLE, tmp_path / "out", workers=4, shard_rows=400, quiet=True)
    listens = {address for socket, address in seen.items() if socket not in before}
    assert listens, "several shards are under way only by Beam's servers"
    assert all(ipaddress.ip_address(address).is_loopback for address in listens), listens


def listening_addresses() -> dict[str, str]:
    """Addresses that this process listens on, by the number that the kernel gave the socket."""
    own = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            own |= set(re.findall(r"socket:\[(\d+)\]", str(descriptor.readlink())))
        except FileNotFoundError:  # closed meanwhile
            continue
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and fields[9] in own:
                words = bytes.fromhex(fields[1].partition(":")[0])
                # Words of four bytes, each in this machine's order, which is little-endian.
                packed = b"".join(words[i : i + 4][::-1] for i in range(0, len(words), 4))
                # IPv4 by way of IPv6 is IPv4.
                found[fields[9]] = str(ipaddress.ip_address(packed.removeprefix(MAPPED)))
    return found
