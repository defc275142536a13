"""``craft``: optimise a trigger against a classifier, for attacks whose trigger is optimised."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from attacks.tools.artefacts import SUFFIX
from attacks.tools.provenance import Provenance
from attacks.victims.settings import VICTIMS
from pipelines.poisoning.labels import read_labels
from pipelines.proof.selection import HashRange, image_sizes
from pipelines.proof.views import Views, victim_size
from pipelines.runs.following import follow
from pipelines.runs.guards import check_file, check_outside
from pipelines.runs.job import Settings
from pipelines.runs.progress import Progress
from pipelines.runs.public import public
from pipelines.sources.base import Source
from pipelines.sources.columns import encoded_images, sample_ids
from sanitizer.errors import InputError

if TYPE_CHECKING:
    from attacks.crafting import Progress as CraftingProgress
    from attacks.victims.model import Victim

#: About so many images are used at most, chosen by a hash of their ids.
MAX_IMAGES = 20_000


@public
def craft(
    attack: str,
    input: str | Path,
    output: str | Path,
    *,
    classifier: str | Path | None = None,
    seed: int = 0,
    flip: bool = True,
    split: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    follow_links: bool = False,
    quiet: bool = False,
) -> Provenance:
    """Optimise the trigger of an attack on an image set.

    Args:
        attack: one whose trigger is optimised.
        input: clean images with labels, any kind of input that ``clean`` reads; those of more
            than one size, or over 64 px, are resized to 64x64.
        output: the ``.safetensors`` file to write; attacks take it as their ``trigger``.
        classifier: a classifier that ships, by name, or the file of one; None: the quick
            victim is trained on ``input`` first.
        seed: of the search and of a classifier that is trained.
        flip: whether such a classifier is trained on mirrored images too.
        split, image_column, label_column, follow_links, quiet: as in
            :class:`pipelines.runs.job.Settings`.

    Returns:
        The provenance, as in the file.

    Raises:
        InputError: bad usage or input.
    """
    path = Path(output)
    chosen = Settings(
        split=split,
        image_column=image_column,
        label_column=label_column,
        follow_links=follow_links,
        quiet=quiet,
    )
    check_file(path, SUFFIX, "a trigger")
    source = chosen.open(input)
    check_outside(path, source.root)
    # A second to load, after all that can be refused without them.
    from attacks import crafting
    from attacks.victims.training import train

    victim = _load_classifier(attack, None if classifier is None else str(classifier))
    labels = read_labels(source, quiet=chosen.quiet)
    if victim is not None and victim.classes != len(labels.values):
        raise InputError(
            f"the classifier {classifier} tells {victim.classes} classes apart, {input} has "
            f"{len(labels.values)}; give another one, or none to have one trained"
        )
    # Twice, as encoded photographs would not fit in memory; these show their size at once.
    size = _size(source, quiet=chosen.quiet)
    views = Views(size, labels.values, source.image_column, str(source.label_column))
    progress = Progress("reading", quiet=chosen.quiet)
    images, classes = views.gather(_some_rows(source, progress), workers=chosen.workers)
    progress.finish()
    if len(images) < 2:
        raise InputError(
            f"{input}: found {len(images)} images that decode and have a label, expected at least 2"
        )
    if victim is None:
        quick = replace(VICTIMS["quick"], flip=flip)
        observer = follow("the quick victim", quiet=chosen.quiet)
        victim = train(
            images, classes, len(labels.values), quick, seed=seed, observer=observer
        ).victim
    try:
        return crafting.craft(
            attack,
            images,
            classes,
            victim,
            path,
            seed=seed,
            data=str(input),
            command=f"freqsan craft {attack} INPUT --output FILE",
            progress=_show_steps(attack, chosen.quiet),
        )
    except ValueError as error:
        raise InputError(f"{attack}: {error}") from error


def _load_classifier(attack: str, classifier: str | None) -> "Victim | None":
    """The classifier, if one is named; unknown names are refused before anything is read."""
    from attacks import crafting
    from attacks.victims.model import load

    try:
        crafting.check(attack)
        return None if classifier is None else load(classifier)
    except ValueError as error:
        raise InputError(str(error)) from error


def _size(source: Source, *, quiet: bool) -> tuple[int, int] | None:
    """:func:`victim_size` of the images that are used; reads until it is known."""
    sizes: set[tuple[int, int]] = set()
    progress = Progress("looking at sizes", quiet=quiet)
    for batch in _some_rows(source, progress):
        sizes |= set(image_sizes(encoded_images(batch, source.image_column)))
        if sizes and victim_size(sorted(sizes)) is None:
            break
    progress.finish()
    return victim_size(sorted(sizes))


def _some_rows(source: Source, progress: Progress) -> Iterator[pa.RecordBatch]:
    """About ``MAX_IMAGES`` rows of a set at most, still encoded."""
    selected = HashRange(0.0, 1.0 if source.rows is None else min(1.0, MAX_IMAGES / source.rows))
    progress.start(total=source.rows)
    taken = 0
    for samples in source.samples():
        picked = [sample_id in selected for sample_id in sample_ids(samples.batch)]
        kept = samples.batch.filter(pa.array(picked, pa.bool_()))
        progress.advance(len(samples))
        taken += kept.num_rows
        yield kept
        if taken >= MAX_IMAGES and source.rows is None:
            progress.say(f"{progress.what}: the first {taken:,} images are enough")
            return


def _show_steps(attack: str, quiet: bool) -> "CraftingProgress":
    """Shows how far crafting is, anew for each thing that it does."""
    progress = Progress(f"crafting {attack}", unit="steps", quiet=quiet)
    shown, current = 0, ""

    def show(what: str, done: int, total: int) -> None:
        nonlocal shown, current
        if what != current:
            shown, current = 0, what
            progress.what = f"crafting {attack}, {what}"
            progress.start(total=total)
        progress.advance(done - shown)
        shown = done

    return show
