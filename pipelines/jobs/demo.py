"""``demo``: the main job on a bundled sample of real images, nothing to download."""

from collections import Counter
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import attacks
from pipelines.jobs.clean import CleanManifest, clean
from pipelines.runs import layout
from pipelines.runs.public import public
from pipelines.runs.shards import read_rows
from pipelines.runs.store import Store
from sanitizer.record import Record

#: 1,000 real images, some with one of four triggers; see pipelines/sample/README.md.
SAMPLE = resources.files("pipelines") / "sample" / "caltech101_triggers.parquet"


@dataclass(frozen=True)
class Planted(Record):
    """What became of the images with one trigger."""

    attack: str
    title: str  #: of the attack, for people
    images: int
    found: int  #: of them, removed


@dataclass(frozen=True)
class Truth(Record):
    """How the verdicts compare with what is known of the sample."""

    triggers: int  #: images that carry a trigger
    found: int  #: of them, removed
    innocent: int  #: images without one
    lost: int  #: of them, removed
    planted: tuple[Planted, ...]  #: trigger by trigger


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
        Counter(read_rows(store, split, ["attack"], len(manifest.shards))["attack"].to_pylist())
        for split in (layout.POISONED, layout.CLEAN)
    )
    planted = tuple(
        Planted(attack, attacks.kind(attack).title, removed[attack] + kept[attack], removed[attack])
        for attack in sorted(name for name in removed | kept if name is not None)
    )
    truth = Truth(
        triggers=sum(of.images for of in planted),
        found=sum(of.found for of in planted),
        innocent=removed[None] + kept[None],
        lost=removed[None],
        planted=planted,
    )
    return manifest, truth
