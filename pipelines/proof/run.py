"""One run of a proof: poison, clean, and train a victim on each of three sets.

Every part is saved when it is finished, so that a run that was stopped goes on after it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from attacks.victims.settings import VictimSettings
from attacks.victims.training import train
from pipelines.jobs.clean import clean
from pipelines.jobs.poison import poison
from pipelines.poisoning.poison import ATTACK, IS_POISONED
from pipelines.proof.tables import STAGES
from pipelines.proof.trial import Trial
from pipelines.proof.views import Views
from pipelines.runs.following import follow
from pipelines.runs.job import Settings
from pipelines.runs.shards import write_json
from pipelines.runs.threads import share_cores
from pipelines.sources.base import Source
from pipelines.sources.columns import SAMPLE_ID
from sanitizer.detection import detection
from sanitizer.errors import InputError
from sanitizer.records import CLEAN, POISONED

#: Fewer images than this are no training set.
MIN_TRAIN = 100

#: What a victim is trained on, by its stage, for people.
_WORDS = {"reference": "without poison", "before": "poisoned", "after": "cleaned"}


@dataclass(frozen=True)
class Plan:
    """What all runs of a proof share."""

    folder: Path  #: of all that the runs write; the images to train on are in ``train/data``
    poisoning: Mapping[str, Any]  #: arguments of ``poison`` beside the seed
    judging: Mapping[str, Any]  #: arguments of ``clean`` and of ``reject``
    victim: VictimSettings
    views: Views
    trial: Trial
    settings: Settings  #: of the jobs within


def run(plan: Plan, seed: int) -> dict[str, Any]:
    """One row of a proof, as :mod:`pipelines.proof.tables` describes it, and ``counts``.

    Raises:
        InputError: nothing was poisoned, or too little is left to train on.
        RunError: a job within failed.
    """
    base, folder = plan.folder / "train" / "data", plan.folder / f"seed-{seed}"
    poisoned, cleaned = folder / "poisoned", folder / "cleaned"
    options = vars(plan.settings)
    put = poison(base, poisoned, seed=seed, **plan.poisoning, **options)
    if not put["counts"]["poisoned"]:
        raise InputError("not one image was poisoned; give a higher rate")
    found = clean(poisoned / "data", cleaned, **plan.judging, **options)
    _check_enough(found["counts"][CLEAN], f"left by freqsan ({_fates(found)})")
    sets = {
        "reference": plan.settings.open(base),
        "before": plan.settings.open(poisoned / "data"),
        "after": replace(plan.settings, split=CLEAN).open(cleaned / "data"),
    }
    return {
        "seed": seed,
        "counts": {"poison": put["counts"], "clean": found["counts"]},
        "victims": {
            stage: _saved(
                folder / f"{stage}.json", partial(_victim, plan, sets[stage], seed, stage)
            )
            for stage in STAGES
        },
        "detection": _saved(
            folder / "detection.json", partial(_detection, poisoned / "data", cleaned / "scores")
        ),
        "largest_class": plan.trial.largest_class(),
        "rejection": plan.trial.rejection(),
    }


def _check_enough(images: int, words: str) -> None:
    """Refuse a training set that is none.

    Raises:
        InputError: fewer than ``MIN_TRAIN`` images.
    """
    if images < MIN_TRAIN:
        raise InputError(
            f"{images:,} images to train on are {words}, expected at least {MIN_TRAIN}"
        )


def _fates(manifest: Mapping[str, Any]) -> str:
    kinds = ", ".join(f"{n:,} {kind}" for kind, n in manifest["rejected_by_reason"].items())
    removed = f"{manifest['counts'][POISONED]:,} removed"
    return f"{removed}, not judged: {kinds}" if kinds else removed


def _saved(file: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What an earlier run left in ``file``; else it is made and left there."""
    if not file.exists():
        write_json(file, make())
    return dict(json.loads(file.read_text(encoding="utf-8")))


def _victim(plan: Plan, source: Source, seed: int, stage: str) -> dict[str, Any]:
    """Train a victim on a set and test it."""
    settings = plan.settings
    images, classes = plan.views.load(source, workers=settings.workers, quiet=settings.quiet)
    _check_enough(len(images), "with a label and can be decoded")
    number = f"{STAGES.index(stage) + 1} of {len(STAGES)}"
    share_cores(1)  # the jobs within left torch a part of them
    trained = train(
        images,
        classes,
        len(plan.views.classes),
        plan.victim,
        seed=seed,
        watch=plan.trial.watch(),
        observer=follow(
            f"victim {number}, {_WORDS[stage]}, seed {seed}",
            quiet=settings.quiet,
            names={"asr": "ASR"},
        ),
    )
    most = plan.victim.max_images or len(images)
    return {
        "trained_on": min(most, len(images)),
        **plan.trial.figures(trained.victim),
        "history": trained.history,
    }


def _detection(poisoned: Path, scores: Path) -> dict[str, Any]:
    """The verdicts on a poisoned set against its truth."""
    truth = pq.read_table(poisoned, columns=[SAMPLE_ID, IS_POISONED, ATTACK])
    found = truth.join(pq.read_table(scores, columns=[SAMPLE_ID, "score", "verdict"]), SAMPLE_ID)
    bears = pc.is_valid(found[ATTACK]).to_numpy()
    kinds = np.where(found[IS_POISONED].to_numpy(), "poisoned", np.where(bears, "cover", "clean"))
    return detection(
        kinds, found["score"].to_numpy(), pc.equal(found["verdict"], POISONED).to_numpy()
    )
