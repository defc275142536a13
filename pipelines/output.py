"""An output directory, from its plan to its manifest.

While a job runs, ``OUTPUT/.freqsan/`` holds the plan (what is being made, from what, with
which versions) and a receipt for every finished shard. A second run with the same plan goes
on at the shards without a receipt. The manifest is written last and is the commit; then
``.freqsan/`` goes.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Container
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from pipelines.errors import InputError, RunError
from pipelines.shards import TEMPORARY_PREFIX, write_json
from pipelines.sources.base import Source

WORK = ".freqsan"
MANIFEST = "manifest.json"

#: What a job may write into OUTPUT, and so what ``--overwrite`` may remove.
OWN_ENTRIES = (MANIFEST, "data", "rejected", "scores", "features", "report", "README.md", WORK)

#: Packages whose version may change a result.
VERSIONED = ("freqsan", "apache-beam", "numpy", "pillow", "pyarrow", "scipy", "torch")


def versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in VERSIONED}


def make_plan(job: str, source: Source, options: dict[str, Any]) -> dict[str, Any]:
    """What decides the result of a job, and nothing else (not the number of workers).

    Args:
        job: the command's name.
        source: the resolved input; its shards are part of the plan, as a digest.
        options: JSON-able settings that change the result.
    """
    described = "\n".join(repr(shard) for shard in source.shards) + repr(source.schema)
    return {
        "job": job,
        "input": source.location,
        "shards": len(source.shards),
        "source_sha256": hashlib.sha256(described.encode("utf-8", "surrogatepass")).hexdigest(),
        "options": options,
        "versions": versions(),
    }


@dataclass(frozen=True)
class Receipt:
    """What a finished shard leaves behind."""

    index: int
    summary: dict[str, Any]  #: the step's own counts
    files: dict[str, dict[str, Any]]  #: rows, bytes and sha256 by relative path


class Output:
    """The directory a job writes to.

    Args:
        path: OUTPUT.
        plan: from :func:`make_plan`.
    """

    def __init__(self, path: Path, plan: dict[str, Any]):
        self.path = path
        self.plan = plan

    def open(self, *, overwrite: bool, needed_bytes: int = 0) -> bool:
        """Make the directory ready; returns False if this very run is already complete there.

        Raises:
            InputError: the directory holds another run or foreign files, without
                ``overwrite``.
            RunError: a new run would need more than the free space, ``needed_bytes``.
        """
        if overwrite:
            self._clear()
        manifest, plan = read_manifest(self.path), _read_json(self.path / WORK / "plan.json")
        if manifest is not None:
            if manifest.get("plan") == self.plan:
                return False
            raise InputError(
                f"{self.path} holds a finished run with other settings or input; "
                "give --overwrite to replace it, or another OUTPUT"
            )
        if plan is not None and plan != self.plan:
            differing = _differences(plan, self.plan)
            raise InputError(
                f"{self.path} holds an unfinished run that differs in {differing}; "
                "give --overwrite to start anew, or the same settings to go on"
            )
        if plan is None and not overwrite and self.path.exists() and any(self.path.iterdir()):
            raise InputError(
                f"{self.path} is not empty and holds no freqsan run; give an empty or new OUTPUT"
            )
        if plan is None:
            check_space(self.path, needed_bytes)
        for leftover in self.path.rglob(f"{TEMPORARY_PREFIX}*"):
            leftover.unlink()
        write_json(self.path / WORK / "plan.json", self.plan)
        return True

    def _clear(self) -> None:
        """Remove an earlier run, and only what is ours."""
        if not self.path.exists():
            return
        ours = (
            read_manifest(self.path) is not None
            or _read_json(self.path / WORK / "plan.json") is not None
        )
        if any(self.path.iterdir()) and not ours:
            raise InputError(
                f"{self.path} is not empty and holds no freqsan run; --overwrite replaces only "
                "freqsan's own output, so empty it yourself or give another OUTPUT"
            )
        # A run killed from here on must neither look finished nor like somebody else's files.
        write_json(self.path / WORK / "plan.json", {"job": "overwritten"})
        for name in OWN_ENTRIES:
            entry = self.path / name
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)

    def receipts(self, skip: Container[int] = ()) -> dict[int, Receipt]:
        """Receipts of the finished shards, by shard number, but those in ``skip``.

        A shard whose files are gone, or are not the size they had, is not finished.
        """
        found = {}
        for file in sorted((self.path / WORK).glob("shard-*.json")):
            index = int(file.stem.removeprefix("shard-"))
            if index not in skip:
                receipt = Receipt(**json.loads(file.read_text(encoding="utf-8")))
                if all(self._holds(name, told["bytes"]) for name, told in receipt.files.items()):
                    found[index] = receipt
        return found

    def _holds(self, name: str, size: int) -> bool:
        file = self.path / name
        return file.is_file() and file.stat().st_size == size

    def commit(self, manifest: dict[str, Any]) -> None:
        """Write the manifest, the act that makes the run a result, and tidy up."""
        write_json(self.path / MANIFEST, manifest)
        shutil.rmtree(self.path / WORK)


def read_manifest(output: Path) -> dict[str, Any] | None:
    """The manifest of a finished run; None where there is none.

    Raises:
        InputError: there is one, but it is unreadable.
    """
    return _read_json(output / MANIFEST)


def _read_json(file: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{file} is unreadable ({error}); remove it to go on") from error


def size_of(location: str) -> int:
    """Bytes of a local file or directory; 0 for what is not local."""
    path = Path(location)
    if path.is_file():
        return path.stat().st_size
    files = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    return sum(file.stat().st_size for file in files if file.is_file())


def write_receipt(output: Path, receipt: Receipt) -> None:
    write_json(output / WORK / f"shard-{receipt.index:05d}.json", vars(receipt))


def write_failure(output: Path, error: Exception) -> None:
    """Leave an expected failure where the driver finds it, whatever the runner does to it."""
    write_json(output / WORK / "failure.json", {"kind": type(error).__name__, "text": str(error)})


def take_failure(output: Path) -> Exception | None:
    """The failure that a worker left, if any; it is removed."""
    file = output / WORK / "failure.json"
    if not file.exists():
        return None
    found = json.loads(file.read_text(encoding="utf-8"))
    file.unlink()
    return {"InputError": InputError}.get(found["kind"], RunError)(found["text"])


def check_apart(input_path: str, output: Path) -> None:
    """Refuse an output inside the input, or the other way round.

    Raises:
        InputError: one lies within the other, or OUTPUT is a file or cannot be written to.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file; OUTPUT must be a directory")
    there, here = Path(input_path), output.resolve()
    if there.exists():
        there = there.resolve()
        if here == there or here.is_relative_to(there) or there.is_relative_to(here):
            raise InputError(
                f"OUTPUT {output} and INPUT {input_path} lie within each other; "
                "give an OUTPUT outside the input"
            )
    parent = next(p for p in (here, *here.parents) if p.exists())
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"{parent} cannot be written to; give another OUTPUT")


def check_space(output: Path, needed: int) -> None:
    """Refuse to start what cannot end.

    Raises:
        RunError: the file system of ``output`` has fewer than ``needed`` bytes free.
    """
    parent = next(p for p in (output, *output.parents) if p.exists())
    free = shutil.disk_usage(parent).free
    if free < needed:
        raise RunError(
            f"no space left for {output}: {free / 1e6:,.0f} MB free, about "
            f"{needed / 1e6:,.0f} MB needed; free some or give another OUTPUT"
        )


def _differences(old: dict[str, Any], new: dict[str, Any]) -> str:
    def flat(plan: dict[str, Any]) -> dict[str, Any]:
        rest = {k: v for k, v in plan.items() if k not in ("options", "versions")}
        return rest | plan.get("options", {}) | plan.get("versions", {})

    before, after = flat(old), flat(new)
    names = [k for k in {**before, **after} if before.get(k) != after.get(k)]
    return ", ".join(names)
