"""What a run is: the plan that decides its result, and the manifest that commits it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from importlib import metadata
from typing import Any, Self

from pipelines.runs.checksums import Checksum
from pipelines.sources.base import Source
from sanitizer.errors import shortened
from sanitizer.record import Record

#: Packages whose version may change a result.
VERSIONED = ("freqsan", "apache-beam", "numpy", "pillow", "pyarrow", "scipy", "torch")

#: What fields of a plan are called in messages, where their names do not say it.
_WORDS = {
    "source_sha256": "the input's files",
    "input": "INPUT",
    "shards": "the number of shards",
    "verify_hashes": "whether hashes are verified",
    "device": "the device that scores (a CPU or a GPU)",
}


@dataclass(frozen=True)
class Plan(Record):
    """What decides the result of a run, and nothing else (not the number of workers).

    A run that was stopped goes on if the plan is the same.
    """

    job: str  #: the command's name
    input: str  #: as the user gave it
    shards: int  #: numbers the output files
    shard_rows: int  #: about so many samples in each
    source_sha256: str  #: of the resolved input
    options: dict[str, Any]  #: what the user chose, as JSON
    versions: dict[str, str]  #: of packages that may change the result

    @classmethod
    def of(cls, job: str, source: Source, shard_rows: int, options: Record) -> Self:
        """The plan of a job on a resolved input."""
        versions = {name: metadata.version(name) for name in VERSIONED}
        shards = len(source.shards)
        chosen = options.to_json()
        if source.hash_column is not None:
            chosen["verify_hashes"] = source.hash_column
        return cls(job, source.location, shards, shard_rows, source.digest(), chosen, versions)

    def differences(self, other: "Plan") -> str:
        """In what another plan differs; in words."""
        before, after = _flat(other.to_json()), _flat(self.to_json())
        names = [k for k in {**before, **after} if before.get(k) != after.get(k)]
        if "input" in names:  # of another input the files, and how many shards, are others too
            names = [name for name in names if name not in ("source_sha256", "shards")]
        words = ", ".join(_WORDS.get(name, name) for name in names)
        return f"{words} (it was {shortened(other.input)})" if "input" in names else words


def _flat(nested: Mapping[str, Any]) -> dict[str, Any]:
    """The innermost values by their own names."""
    flat: dict[str, Any] = {}
    pending = [nested]
    for mapping in pending:  # not by recursion: what was read may be nested however deep
        for name, value in mapping.items():
            if isinstance(value, Mapping):
                pending.append(value)
            else:
                flat[name] = value
    return flat


@dataclass(frozen=True)
class StoredPlan(Record):
    """The plan of a run under way, as it is written before anything else is touched."""

    plan: Plan
    #: Files of the run before that are still to be removed; None when they are gone.
    replaces: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class FileFacts(Checksum):
    """A Parquet file of an output."""

    rows: int


@dataclass(frozen=True)
class ShardFacts(Record):
    """The files that one shard of the input became."""

    index: int
    files: dict[str, FileFacts]  #: by name, relative to OUTPUT


@dataclass(frozen=True)
class InputFacts(Record):
    """What was read."""

    location: str  #: as the user gave it
    kind: str  #: such as "image folder"
    notes: tuple[str, ...] = ()  #: what the user should know, one line each


@dataclass(frozen=True)
class Manifest(Record):
    """What is true of every finished run. Each job has a subclass with facts of its own."""

    freqsan: str  #: the version that made it
    job: str  #: the command's name
    input: InputFacts
    # Not shown where Python shows the manifest, such as in a notebook: thousands of lines.
    shards: tuple[ShardFacts, ...] = field(repr=False)  #: in order
    options: dict[str, Any]  #: what the user chose
    versions: dict[str, str] = field(repr=False)  #: of packages that may change the result
    plan: Plan = field(repr=False)
    #: Files beside those of the shards, by name; not those that ``freqsan report`` makes anew.
    files: dict[str, Checksum] = field(default_factory=dict, repr=False)
    sha256: str = ""  #: of all the other fields, see :func:`pipelines.runs.checksums.seal`

    def results(self) -> dict[str, Checksum]:
        """Every file of the result, by name."""
        return {name: f for shard in self.shards for name, f in shard.files.items()} | self.files

    @classmethod
    def of(cls, common: "Manifest", **own: Any) -> Self:
        """The manifest of a job: what is common to all, and its own facts."""
        return cls(**{f.name: getattr(common, f.name) for f in fields(Manifest)}, **own)


def common_manifest(plan: Plan, source: Source, shards: Iterable[ShardFacts]) -> Manifest:
    """What the manifests of all jobs say."""
    return Manifest(
        freqsan=plan.versions["freqsan"],
        job=plan.job,
        input=InputFacts(source.location, source.kind, source.notes),
        shards=tuple(shards),
        options=plan.options,
        versions=plan.versions,
        plan=plan,
    )
