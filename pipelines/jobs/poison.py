"""``poison``: put a trigger on part of a set, with the truth beside it, to evaluate by."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from attacks import Attack
from pipelines.poisoning.encoding import Encoding
from pipelines.poisoning.labels import Aim, Label, Labels, read_labels
from pipelines.poisoning.poison import Poisoning, poison_batch, poisoned_schema
from pipelines.poisoning.triggers import fingerprint, load_attack, settings_of
from pipelines.runs.cards import write_card
from pipelines.runs.guards import check_outside, check_picture
from pipelines.runs.job import Settings, run_job
from pipelines.runs.output import Output, Receipt
from pipelines.runs.shards import ShardFiles
from pipelines.runs.threads import map_in_order
from pipelines.sources.base import Shard, Source
from pipelines.sources.files import count_of
from sanitizer.errors import InputError, RunError

#: The counts of a manifest.
COUNTS = ("read", "eligible", "poisoned", "covers", "unlabelled", "undecodable")


@dataclass
class PoisonStep:
    """Write a shard's rows to ``data/train-…``, the chosen ones with the trigger."""

    plan: Poisoning
    workers: int

    def setup(self) -> None:
        pass

    def run(self, shard: Shard, files: ShardFiles) -> dict[str, Any]:
        part = files.open("data/train", self.plan.schema)
        counts, undecodable = Counter[str](), Counter[str]()
        work = partial(poison_batch, self.plan)
        for done in map_in_order(work, shard.read(), self.workers):
            part.write(done.batch)
            counts.update(done.counts)
            undecodable.update(done.undecodable)
        files.finish()
        return {"rows": part.rows, "counts": counts, "undecodable": undecodable}


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
) -> dict[str, Any]:
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
    chosen, output = Settings(**settings), Path(output)
    trigger = load_attack(attack, attack_settings)
    check_rates(rate, trigger)
    aim = Aim(target_label, trigger.clean_label if clean_label is None else clean_label, all_to_all)
    encoding = Encoding(encode)
    if preview is not None:
        check_picture(Path(preview), output)
    source = chosen.open(input)
    if preview is not None:
        check_outside(Path(preview), source.root, output / "data")
    labels = read_labels(source, quiet=chosen.quiet)
    target = aim.target(labels, trigger)
    plan = Poisoning(
        name=attack,
        attack=trigger,
        rate=rate,
        seed=seed,
        labels=frozenset(labels.values),
        new_label=aim.new_labels(labels, target),
        encoding=encoding,
        image_column=source.image_column,
        label_column=str(source.label_column),
        schema=poisoned_schema(source),
    )
    options = {
        "attack": attack,
        "attack_settings": settings_of(trigger),
        "attack_sha256": fingerprint(trigger),
        "rate": rate,
        "target_label": target,
        "seed": seed,
        "clean_label": aim.clean_label,
        "all_to_all": all_to_all,
        "encode": encode,
    }
    manifest = run_job(
        "poison",
        source,
        output,
        PoisonStep(plan, chosen.workers),
        options,
        partial(_finish, source=source, plan=plan, labels=labels, options=options),
        what="poisoning",
        needed_bytes=source.nbytes,
        settings=chosen,
    )
    if preview is not None:
        _draw(Path(preview), source, plan, labels, encode)
    return manifest


def check_rates(rate: float, attack: Attack) -> None:
    """Refuse a rate that is none, or that leaves no room for the attack's cover samples.

    Raises:
        InputError: so it is.
    """
    if not 0 < rate <= 1:
        raise InputError(f"rate: expected above 0, at most 1, got {rate:g}")
    covers = rate * attack.cover_ratio
    if covers > 1 - rate:
        raise InputError(
            f"rate {rate:g} and {attack.cover_ratio:g} cover samples for each poisoned one are "
            f"more than the whole set; give a rate of {1 / (1 + attack.cover_ratio):.3g} or less"
        )


def _finish(
    output: Output,
    receipts: list[Receipt],
    *,
    source: Source,
    plan: Poisoning,
    labels: Labels,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Write the card; the manifest's facts are returned."""
    total, undecodable = (
        sum((Counter(r.summary[name]) for r in receipts), Counter[str]())
        for name in ("counts", "undecodable")
    )
    counts = {name: total[name] for name in COUNTS}
    words = describe(counts, undecodable, labels, options)
    write_card(
        output.path,
        receipts,
        ("train",) if counts["read"] else (),
        "Image set poisoned by freqsan, to evaluate defences",
        f"{' '.join(words)}\n\nTrigger: {plan.attack.title}. {plan.attack.source}.",
        plan.schema,
        source.image_column,
    )
    return {
        "counts": counts,
        "undecodable_by_reason": dict(sorted(undecodable.items())),
        "words": words,
        "attack": {"title": plan.attack.title, "source": plan.attack.source},
        "seed": plan.seed,
    }


def describe(
    counts: Mapping[str, int],
    undecodable: Mapping[str, int],
    labels: Labels,
    options: Mapping[str, Any],
) -> list[str]:
    """What was done to a set, in sentences."""
    target = None if options["all_to_all"] else labels.said(options["target_label"])
    among = count_of(counts["eligible"], "image")
    if options["clean_label"]:
        among += f" of class {target}"
        now = "all labels are as they were"
    else:
        now = f"they are labelled {target or 'as the next class'} now"
    share = f"{counts['poisoned'] / max(counts['read'], 1):.1%} of the set"
    words = [
        f"Poisoned {counts['poisoned']:,} of {among} ({share}) with {options['attack']}; {now}."
    ]
    if counts["covers"]:
        covers = count_of(counts["covers"], "cover image")
        words.append(f"Put it on {covers} too, with the true labels.")
    if counts["unlabelled"]:
        words.append(f"Left {count_of(counts['unlabelled'], 'image')} without a label alone.")
    if undecodable:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(undecodable.items()))
        chosen = count_of(counts["undecodable"], "chosen image")
        words.append(f"Left {chosen} alone that cannot be decoded: {kinds}.")
    return words


def _draw(path: Path, source: Source, plan: Poisoning, labels: Labels, encode: str) -> None:
    from pipelines.poisoning import preview as pictures  # scipy and matplotlib, only when asked for

    found = pictures.pairs(source, plan, labels.names)
    if not found:
        raise InputError(f"no image was poisoned, so there is nothing to draw in {path}")
    told = ", ".join(f"{k} {v}" for k, v in settings_of(plan.attack).items())
    title = f"{plan.attack.title}{f' ({told})' if told else ''}"
    name = Path(source.location).name or source.location
    encoded = "as they came" if encode == "keep" else f"as {encode}"
    try:
        pictures.draw(found, path, title, f"{name}, encoded {encoded}")
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror or error})") from error
