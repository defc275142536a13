"""``poison``: put a trigger on part of a set, with the truth beside it, to evaluate by."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from pipelines.poisoning.facts import AttackFacts, PoisonCounts, PoisonTally
from pipelines.poisoning.labels import Label, Labels, read_labels
from pipelines.poisoning.poison import PoisonedBatch, poison_batch
from pipelines.poisoning.recipe import Recipe
from pipelines.poisoning.request import PoisonRequest, PoisonSettings
from pipelines.poisoning.triggers import fingerprint
from pipelines.poisoning.words import describe
from pipelines.runs import layout
from pipelines.runs.cards import write_card
from pipelines.runs.guards import check_outside, check_picture
from pipelines.runs.job import Job, Settings
from pipelines.runs.manifest import Manifest
from pipelines.runs.output import Output
from pipelines.runs.passes import Finished, Pass, Step
from pipelines.runs.public import public
from pipelines.runs.shards import ShardTask
from pipelines.runs.store import Store
from pipelines.sources.base import Samples, Source
from sanitizer.errors import InputError, RunError
from sanitizer.files import write_atomically
from sanitizer.record import Record


@dataclass(frozen=True, kw_only=True)
class PoisonManifest(Manifest):
    """The manifest of ``poison``."""

    counts: PoisonCounts
    undecodable_by_reason: dict[str, int]
    words: list[str]  #: what was done, in sentences
    attack: AttackFacts
    seed: int


@dataclass(frozen=True)
class PoisonOptions(PoisonSettings):
    """What decides which samples are poisoned, and how."""

    attack_sha256: str  #: of what the attack does, as its artefacts may be other files
    seed: int


@dataclass
class PoisonStep(Step[PoisonTally]):
    """Write a shard's rows to ``data/train-…``, the chosen ones with the trigger."""

    recipe: Recipe

    def run(self, task: ShardTask) -> tuple[int, PoisonTally]:
        writer = task.open(layout.TRAIN, self.recipe.schema)
        tallies = []
        for poisoned in task.map(self.poison):
            writer.write(poisoned.batch)
            tallies.append(poisoned.tally)
        task.finish()
        return writer.rows, PoisonTally.total(tallies)

    def poison(self, samples: Samples) -> PoisonedBatch:
        return poison_batch(self.recipe, samples.batch, samples.unread)


@dataclass
class PoisonPass(Pass[None, PoisonTally, PoisonTally]):
    """Copy all rows, the chosen ones with the trigger."""

    name: ClassVar[str] = "poison"
    counts: ClassVar[type[Record]] = PoisonTally
    threads_a_shard: ClassVar[int] = 4

    recipe: Recipe
    doing: str = "poisoning"

    def step(self, given: None) -> Step[PoisonTally]:
        return PoisonStep(self.recipe)

    def merge(self, given: None, finished: Finished[PoisonTally]) -> PoisonTally:
        return PoisonTally.total(finished.counts)


@public
def poison(
    input: str | Path,
    output: str | Path,
    *,
    attack: str,
    rate: float = 0.1,
    target_label: Label | None = None,
    seed: int = 0,
    clean_label: bool | None = None,
    all_to_all: bool = False,
    encode: str = "keep",
    preview: str | Path | None = None,
    attack_settings: Mapping[str, Any] | None = None,
    **settings: Any,
) -> PoisonManifest:
    """Copy an image set to Parquet shards with a trigger on some of its images.

    All columns stay, and ``is_poisoned``, ``original_label`` and ``attack`` tell the truth.
    ``attack`` is also set for cover samples, which some attacks need: they bear the trigger,
    or the attack's form of it for covers, under their true label, and are not poisoned.

    Args:
        input: folder of images, Parquet, WebDataset tars, saved dataset or Hub id.
        output: a new or empty directory, or one that holds an unfinished run of the same.
        attack: its name; ``attacks()`` lists them.
        rate: share of the samples to poison, above 0, at most 1: of all that have a label, or
            for clean-label poison of those of the target class. Which ones follows from
            ``seed`` and ``sample_id`` alone.
        target_label: label, or class name, that poisoned samples get; None: the one that the
            trigger was optimised towards, else the first.
        seed: of the choice of samples; an attack's own chance is among its settings.
        clean_label: poison only samples of the target class and keep their labels; None: as
            the attack's source does.
        all_to_all: give poisoned samples the label after their own instead of one target.
        encode: how triggered images are encoded, see
            :class:`pipelines.poisoning.encoding.Encoding`.
        preview: a PNG to draw some poisoned images into, before and after.
        attack_settings: settings of the attack; text is parsed.
        settings: as in :class:`pipelines.runs.job.Settings`.

    Returns:
        The manifest, as written to ``output/manifest.json``.

    Raises:
        InputError: bad usage or input.
        RunError: the run failed; what was finished is kept for the next run.
    """
    chosen, store = Settings(**settings), Store.at(output)
    request = PoisonRequest.checked(
        attack=attack,
        attack_settings=attack_settings,
        rate=rate,
        target_label=target_label,
        clean_label=clean_label,
        all_to_all=all_to_all,
        encode=encode,
    )
    picture = None if preview is None else Path(preview)
    if picture is not None:
        check_picture(picture, store)
    source = chosen.open(input)
    if picture is not None:
        check_outside(picture, source.root, store.within("data").local)
    labels = read_labels(source, quiet=chosen.quiet)
    settled = request.settled(labels)
    recipe = request.recipe(source, labels, settled.target_label, seed)
    manifest = Job(
        name="poison",
        source=source,
        store=store,
        passes=[PoisonPass(recipe)],
        options=PoisonOptions(
            **vars(settled), attack_sha256=fingerprint(request.attack), seed=seed
        ),
        finish=partial(_finish, source=source, recipe=recipe, labels=labels, settled=settled),
        manifest=PoisonManifest,
        needed_bytes=source.nbytes,
    ).run(chosen)
    if picture is not None:
        _draw(picture, source, recipe, labels)
    return manifest


def _finish(
    output: Output,
    common: Manifest,
    tally: PoisonTally,
    *,
    source: Source,
    recipe: Recipe,
    labels: Labels,
    settled: PoisonSettings,
) -> PoisonManifest:
    """Write the card."""
    attack = AttackFacts(recipe.attack.title, recipe.attack.source)
    words = describe(tally, labels, settled)
    write_card(
        output,
        common.shards,
        {"train": layout.TRAIN} if tally.counts.read else {},
        "Image set poisoned by freqsan, to evaluate defences",
        f"{' '.join(words)}\n\nTrigger: {attack.title}. {attack.source}.",
        source,
        recipe.schema,
    )
    return PoisonManifest.of(
        common,
        counts=tally.counts,
        undecodable_by_reason=tally.undecodable,
        words=words,
        attack=attack,
        seed=recipe.seed,
    )


def _draw(picture: Path, source: Source, recipe: Recipe, labels: Labels) -> None:
    from pipelines.poisoning.preview import preview  # scipy and matplotlib, only when asked for

    png = preview(source, recipe, labels.names)
    if png is None:
        raise InputError(f"no image was poisoned, so there is nothing to draw in {picture}")
    try:
        write_atomically(picture, png)
    except OSError as error:
        raise RunError(f"{picture}: cannot be written ({error.strerror or error})") from error
