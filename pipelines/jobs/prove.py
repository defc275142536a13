"""``prove``: show that an attack which worked before cleaning fails after, or that it does not."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from attacks import Attack
from attacks.victims.settings import VictimSettings
from attacks.victims.training import VICTIMS
from pipelines.jobs.poison import check_rates
from pipelines.judging.calibration import DEFAULT_DETECTOR, load_detector
from pipelines.judging.options import calibrate_apart, judging_options
from pipelines.poisoning.encoding import Encoding
from pipelines.poisoning.labels import Aim, Label, Labels, read_labels
from pipelines.poisoning.poison import poisoned_schema
from pipelines.poisoning.triggers import fingerprint, load_attack, settings_of
from pipelines.proof.figure import draw
from pipelines.proof.run import Plan, run
from pipelines.proof.sets import Sets
from pipelines.proof.tables import markdown, verdict
from pipelines.proof.trial import AtTest, Trial, load_trial
from pipelines.proof.views import Views, victim_size
from pipelines.proof.words import notes, title
from pipelines.runs.guards import check_output
from pipelines.runs.job import Settings
from pipelines.runs.output import Output, make_plan
from pipelines.runs.progress import Progress
from pipelines.runs.shards import write_json
from pipelines.runs.threads import share_cores
from pipelines.sources.base import Source
from sanitizer.errors import InputError, RunError

#: What lies in OUTPUT: the result, its page, its picture, and all that the runs wrote.
RESULT, PAGE, PICTURE, WORK = "proof.json", "proof.md", "proof.png", "proof"

#: Fewer images than this tell nothing about a victim.
MIN_TEST = 20

#: Test images that are drawn before and after the trigger.
DRAWN = 8


def prove(
    input: str | Path,
    *,
    attack: str,
    rate: float = 0.1,
    target_label: Label | None = None,
    seed: int = 0,
    clean_label: bool | None = None,
    all_to_all: bool = False,
    encode: str = "keep",
    attack_settings: Mapping[str, Any] | None = None,
    victim: str = "quick",
    runs: int = 1,
    test: str | Path | None = None,
    flip: bool = True,
    detector: str = DEFAULT_DETECTOR,
    max_clean_loss: float = 0.01,
    trusted: str | Path | None = None,
    output: str | Path = "freqsan-proof",
    **settings: Any,
) -> dict[str, Any]:
    """Attack a classifier trained on a set, clean the set, attack again.

    In each run the part of the set that is trained on is poisoned and cleaned, and a victim is
    trained on it without poison, with poison, and after cleaning.

    Args:
        input: an image set with labels, any kind of input that ``clean`` reads.
        attack, rate, target_label, clean_label, all_to_all, encode, attack_settings: as for
            ``poison``.
        seed: of the first run; the next has the next.
        victim: name of a classifier in ``attacks.victims.training.VICTIMS``.
        runs: each chooses other images to poison and starts from another victim.
        test: a set of the same classes to test on; None: a fifth of ``input``.
        flip: whether victims are trained on mirrored images too; not where left and right
            differ in meaning.
        detector, max_clean_loss, trusted: as for ``clean``.
        output: a new or empty directory, or one that holds an unfinished proof of the same.
        settings: as in :class:`pipelines.runs.job.Settings`.

    Returns:
        The proof, as written to ``output/proof.json``: ``title``, ``verdict``, ``notes``,
        ``attack``, ``victim``, ``detector``, and ``runs``, see :mod:`pipelines.proof.tables`.

    Raises:
        InputError: bad usage or input.
        RunError: a run failed; what was finished is kept for the next call.
    """
    chosen, folder = Settings(**settings), Path(output)
    trigger = load_attack(attack, attack_settings)
    check_rates(rate, trigger)
    aim = Aim(target_label, trigger.clean_label if clean_label is None else clean_label, all_to_all)
    encoding, network = Encoding(encode), replace(_network(victim), flip=flip)
    if runs < 1:
        raise InputError(f"runs: expected 1 or more, got {runs}")
    if seed < 0:
        raise InputError(f"seed: expected 0 or more, got {seed}")
    loaded = load_detector(detector)
    check_output(folder)
    sets = Sets.open(input, test, folder, chosen)
    labels = read_labels(sets.source, quiet=chosen.quiet)
    sets.check_classes(labels)
    if len(labels.values) < 2:
        raise InputError(f"{sets.source.location} has a single class, expected two or more")
    calibration = calibrate_apart(loaded, max_clean_loss, trusted, folder, chosen)
    poisoning = {
        "attack": attack,
        "attack_settings": settings_of(trigger),
        "rate": rate,
        "target_label": aim.target(labels, trigger),
        "clean_label": aim.clean_label,
        "all_to_all": all_to_all,
        "encode": encode,
    }
    task = _Task(
        sets=sets,
        poisoning=poisoning,
        attack=trigger,
        encoding=encoding,
        victim=network,
        judging={"detector": detector, "max_clean_loss": max_clean_loss, "trusted": trusted},
        seeds=range(seed, seed + runs),
        identity=loaded.identity,
        calibration=calibration.words,
    )
    options = {
        **poisoning,
        "attack_sha256": fingerprint(trigger),
        "seed": seed,
        "runs": runs,
        "victim": asdict(network),
        **sets.described(),
        **judging_options(loaded.identity, max_clean_loss, trusted, calibration),
    }
    return _written(task, Output(folder, make_plan("prove", sets.source, options)))


@dataclass(frozen=True)
class _Task:
    """What is asked for, checked."""

    sets: Sets
    poisoning: dict[str, Any]  #: arguments of ``poison`` beside the seed
    attack: Attack
    encoding: Encoding
    victim: VictimSettings
    judging: Mapping[str, Any]  #: arguments of ``clean`` and of ``reject``
    seeds: range
    identity: str  #: of the detector
    calibration: str  #: what calibrates it, in words

    def prove(self, folder: Path) -> None:
        """Do all runs and write what came out."""
        train, test = self.sets.select(folder / WORK, self.victim.max_images)
        labels = read_labels(train.source, quiet=self.sets.settings.quiet)
        views = Views(
            victim_size([*train.sizes, *test.sizes]),
            labels.values,
            train.source.image_column,
            str(train.source.label_column),
        )
        trial = self._trial(test.source, labels, views)
        plan = Plan(
            folder=folder / WORK,
            poisoning=self.poisoning,
            judging=self.judging,
            victim=self.victim,
            views=views,
            trial=trial,
            settings=self.sets.within(self.sets.source),
        )
        runs = [run(plan, seed) for seed in self.seeds]
        proof = self._described(runs, views) | {
            "notes": [
                *notes(self.poisoning, labels, self.victim, views, trial, len(runs)),
                self.calibration,
            ]
        }
        write_json(folder / RESULT, proof)
        (folder / PAGE).write_text(markdown(proof, PICTURE), encoding="utf-8")
        draw(runs, trial.pictures(DRAWN), proof["title"], folder / PICTURE)

    def _described(self, runs: list[dict[str, Any]], views: Views) -> dict[str, Any]:
        about = {"title": self.attack.title, "source": self.attack.source}
        seen = {"size": list(views.size), "resized": views.resized}
        return {
            "title": title(self.attack, self.poisoning, self.sets.source),
            "verdict": verdict(runs),
            "attack": about | self.poisoning,
            "victim": asdict(self.victim) | seen,
            "detector": self.identity,
            "runs": runs,
        }

    def _trial(self, source: Source, labels: Labels, views: Views) -> Trial:
        """Test images with and without the trigger.

        Raises:
            InputError: there are too few.
        """
        settings = self.sets.settings
        plan = AtTest(
            name=self.poisoning["attack"],
            attack=self.attack,
            rate=1.0,
            seed=0,
            labels=frozenset(labels.values),
            new_label=self._misled(labels),
            encoding=self.encoding,
            image_column=source.image_column,
            label_column=str(source.label_column),
            schema=poisoned_schema(source),
        )
        share_cores(settings.workers)
        own = replace(views, image_column=plan.image_column, label_column=plan.label_column)
        trial = load_trial(
            source, own, plan, self.judging, workers=settings.workers, quiet=settings.quiet
        )
        found = len(trial.triggered.answers)
        if found < MIN_TEST:
            raise InputError(
                f"{found:,} test images can be triggered: they decode and have a label of the "
                f"training images that is not the target; expected at least {MIN_TEST}"
            )
        return trial

    def _misled(self, labels: Labels) -> dict[Label, Label]:
        """What the attacker wants test images to be called, by their label."""
        target = self.poisoning["target_label"]
        aim = Aim(target, clean_label=False, all_to_all=self.poisoning["all_to_all"])
        return {old: new for old, new in aim.new_labels(labels, target).items() if old != new}


def _network(name: str) -> VictimSettings:
    if name not in VICTIMS:
        raise InputError(f"no victim {name!r}, known: {', '.join(VICTIMS)}")
    return VICTIMS[name]


def _written(task: _Task, output: Output) -> dict[str, Any]:
    """Prove into OUTPUT, or return what it holds already."""
    settings, folder = task.sets.settings, output.path
    try:
        if output.open(overwrite=settings.overwrite):
            task.prove(folder)
            output.commit(_manifest(task, output.plan))
        else:
            Progress("proving", quiet=settings.quiet).say(
                f"{folder} already holds this very proof, finished: nothing to do"
            )
        return dict(json.loads((folder / RESULT).read_text(encoding="utf-8")))
    except OSError as error:
        raise RunError(
            f"{error.strerror or error} ({error.filename or folder}); what was finished is kept: "
            "mend that and run the same command again to go on"
        ) from error
    finally:
        output.close()


def _manifest(task: _Task, plan: dict[str, Any]) -> dict[str, Any]:
    source = task.sets.source
    return {
        "freqsan": plan["versions"]["freqsan"],
        "job": "prove",
        "input": {
            "location": source.location,
            "kind": source.kind,
            "notes": list(source.notes),
        },
        "options": plan["options"],
        "versions": plan["versions"],
        "plan": plan,
    }
