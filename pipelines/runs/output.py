"""An output directory, from its plan to its manifest.

While a job runs, ``OUTPUT/.freqsan/`` holds the plan (what is being made, from what, with
which versions) and a receipt for every finished shard. A second run with the same plan goes
on at the shards without a receipt. The manifest is written last and is the commit; then
``.freqsan/`` goes.
"""

import hashlib
import json
import shutil
from collections.abc import Container
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pipelines.runs.guards import check_space
from pipelines.runs.shards import TEMPORARY_PREFIX, write_json
from pipelines.sources.base import Source
from sanitizer.errors import InputError, RunError

WORK = ".freqsan"
MANIFEST = "manifest.json"

#: What a job may write into OUTPUT, and so what ``--overwrite`` may remove.
OWN_ENTRIES = (
    MANIFEST,
    *("data", "rejected", "scores", "features", "report", "README.md"),
    *("proof", "proof.json", "proof.md", "proof.png"),
)

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
        # As it is when it is read back: a tuple would differ from the list that it becomes.
        "options": json.loads(json.dumps(options)),
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
        self._lock: FileLock | None = None

    def open(self, *, overwrite: bool, needed_bytes: int = 0) -> bool:
        """Make the directory ready and lock it; :meth:`close` it in the end.

        Returns:
            False, and nothing is done, if this very run is already complete there.

        Raises:
            InputError: the directory holds another run, without ``overwrite``; files that
                are not freqsan's; or a run that is at work right now.
            RunError: a new run would need more than the free space, ``needed_bytes``.
        """
        manifest, plan = read_manifest(self.path), _read_json(self.path / WORK / "plan.json")
        if not (_is_ours(manifest) or plan is not None) and self._holds_foreign_files():
            raise InputError(
                f"{self.path} is not empty and holds no freqsan run; nothing in it is touched, "
                "give an empty or new OUTPUT"
            )
        if not overwrite:
            if manifest is not None:
                return self._is_unfinished(manifest)
            if plan not in (None, self.plan):
                raise InputError(
                    f"{self.path} holds an unfinished run that differs in "
                    f"{_differences(plan or {}, self.plan)}; give --overwrite to start anew, or "
                    "the same settings and input to go on"
                )
            if plan is None:
                check_space(self.path, needed_bytes)
        self._acquire_lock()
        if overwrite:
            self._clear()
        for leftover in self.path.rglob(f"{TEMPORARY_PREFIX}*"):
            leftover.unlink()
        write_json(self.path / WORK / "plan.json", self.plan)
        return True

    def close(self) -> None:
        """Let others in."""
        if self._lock is not None:
            self._lock.release()

    def _holds_foreign_files(self) -> bool:
        return self.path.exists() and any(p.name != WORK for p in self.path.iterdir())

    def _is_unfinished(self, manifest: dict[str, Any]) -> bool:
        """False for a manifest of this very run."""
        if manifest["plan"] != self.plan:
            raise InputError(
                f"{self.path} holds a finished run that differs in "
                f"{_differences(manifest['plan'], self.plan)}; give --overwrite to replace it, "
                "or another OUTPUT"
            )
        # Left by a run that was killed right after its commit.
        shutil.rmtree(self.path / WORK, ignore_errors=True)
        return False

    def _acquire_lock(self) -> None:
        (self.path / WORK).mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / WORK / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise InputError(
                f"another freqsan run is writing to {self.path} right now; wait for it or give "
                "another OUTPUT"
            ) from error
        self._lock = lock

    def _clear(self) -> None:
        """Remove an earlier run, and only what is ours."""
        # A run killed from here on must neither look finished nor like somebody else's files.
        write_json(self.path / WORK / "plan.json", {"job": "overwritten"})
        for entry in (*(self.path / name for name in OWN_ENTRIES), *self._receipt_files()):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)

    def _receipt_files(self) -> list[Path]:
        return sorted((self.path / WORK).glob("shard-*.json"))

    def receipts(self, skip: Container[int] = ()) -> dict[int, Receipt]:
        """Receipts of the finished shards, by shard number, but those in ``skip``.

        A shard whose files are gone, or are not the size they had, is not finished.
        """
        found = {}
        for file in self._receipt_files():
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
        shutil.rmtree(self.path / WORK, ignore_errors=True)


def read_manifest(output: Path) -> dict[str, Any] | None:
    """The manifest of a finished run; None where there is none of freqsan's.

    Raises:
        InputError: there is one, but it is unreadable.
    """
    found = _read_json(output / MANIFEST)
    return found if _is_ours(found) else None


def _is_ours(manifest: dict[str, Any] | None) -> bool:
    """Whether a manifest.json is freqsan's own: other programs write files of that name too."""
    return manifest is not None and {"freqsan", "job", "plan"} <= manifest.keys()


def _read_json(file: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{file} is unreadable ({error}); remove it to go on") from error
    return found if isinstance(found, dict) else None


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


def _differences(old: dict[str, Any], new: dict[str, Any]) -> str:
    def flat(plan: dict[str, Any]) -> dict[str, Any]:
        rest = {k: v for k, v in plan.items() if k not in ("options", "versions")}
        return rest | plan.get("options", {}) | plan.get("versions", {})

    before, after = flat(old), flat(new)
    names = [k for k in {**before, **after} if before.get(k) != after.get(k)]
    words = {"source_sha256": "the input's files", "shards": "the number of shards"}
    return ", ".join(words.get(name, name) for name in names)
