"""``demo``: the main job on a bundled sample of real images, nothing to download."""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from pipelines.jobs.clean import CleanManifest, clean
from pipelines.runs import layout
from pipelines.runs.public import public
from pipelines.runs.shards import read_rows
from pipelines.runs.store import Store
from sanitizer.record import Record

#: 1,000 real images, some with a trigger; see pipelines/sample/README.md.
SAMPLE = resources.files("pipelines") / "sample" / "caltech101_random_patch.parquet"


@dataclass(frozen=True)
class Truth(Record):
    """How the verdicts compare with what is known of the sample."""

    triggers: int  #: images that carry the trigger
    found: int  #: of them, removed
    innocent: int  #: images without it
    lost: int  #: of them, removed


@public
def demo(
    output: str | Path = "freqsan-demo", *, overwrite: bool = False, quiet: bool = False
) -> tuple[CleanManifest, Truth]:
    """Clean the bundled sample.

    Args:
        output: as for ``clean``.
        overwrite, quiet: as in :class:`pipelines.runs.job.Settings`.

    Returns:
        The manifest of ``clean``, and how its verdicts compare with the truth.

    Raises:
        InputError, RunError: as ``clean``.
    """
    manifest = clean(str(SAMPLE), output, overwrite=overwrite, quiet=quiet)
    store = Store.at(output)
    removed, kept = (
        read_rows(store, split, ["is_poisoned"], len(manifest.shards))["is_poisoned"].to_pylist()
        for split in (layout.POISONED, layout.CLEAN)
    )
    truth = Truth(
        triggers=sum(removed) + sum(kept),
        found=sum(removed),
        innocent=len(removed) + len(kept) - sum(removed) - sum(kept),
        lost=len(removed) - sum(removed),
    )
    return manifest, truth
