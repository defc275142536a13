"""``prove``: show that an attack which worked before cleaning fails after, or that it does not."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from attacks.victims.network import VictimSettings
from attacks.victims.training import VICTIMS
from pipelines.jobs.clean import clean
from pipelines.jobs.poison import poison
from pipelines.judging.calibration import DEFAULT_DETECTOR, load_detector
from pipelines.judging.options import calibrate_apart, judging_options
from pipelines.judging.serving import reject
from pipelines.poisoning.facts import PoisonCounts
from pipelines.poisoning.labels import Label
from pipelines.poisoning.request import PoisonRequest, PoisonSettings
from pipelines.poisoning.triggers import fingerprint
from pipelines.proof.drawing import draw
from pipelines.proof.records import Proof
from pipelines.proof.sets import Sets
from pipelines.proof.tables import page
from pipelines.proof.task import ProofTask
from pipelines.proof.tools import Cleaned, Tools
from pipelines.runs.guards import check_output
from pipelines.runs.job import Settings
from pipelines.runs.output import Output, make_plan
from pipelines.runs.progress import Progress
from pipelines.runs.shards import write_json
from sanitizer.errors import InputError, RunError
from sanitizer.files import write_atomically

#: What lies in OUTPUT: the result, its page, its picture, and all that the runs wrote.
RESULT, PAGE, PICTURE, WORK = "proof.json", "proof.md", "proof.png", "proof"


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
) -> Proof:
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
        The proof, as written to ``output/proof.json``.

    Raises:
        InputError: bad usage or input.
        RunError: a run failed; what was finished is kept for the next call.
    """
    chosen, folder = Settings(**settings), Path(output)
    request = PoisonRequest.checked(
        attack=attack,
        attack_settings=attack_settings,
        rate=rate,
        target_label=target_label,
        clean_label=clean_label,
        all_to_all=all_to_all,
        encode=encode,
    )
    network, seeds = replace(_victim(victim), flip=flip), _seeds(seed, runs)
    loaded = load_detector(detector)
    check_output(folder)
    sets = Sets.open(input, test, folder, chosen)
    poisoning = request.settled(sets.labels())
    calibration = calibrate_apart(loaded, max_clean_loss, trusted, folder, chosen)
    judging = {"detector": detector, "max_clean_loss": max_clean_loss, "trusted": trusted}
    task = ProofTask(
        sets=sets,
        request=request,
        poisoning=poisoning,
        victim=network,
        tools=_tools(poisoning, judging, sets.within(sets.source)),
        seeds=seeds,
        detector=loaded.identity,
        calibration=calibration.words,
    )
    options = {
        **poisoning.to_json(),
        "attack_sha256": fingerprint(request.attack),
        "seed": seed,
        "runs": runs,
        "victim": asdict(network),
        **sets.test_options(),
        **judging_options(loaded.identity, max_clean_loss, trusted, calibration),
    }
    return _proved(task, Output(folder, make_plan("prove", sets.source, options)))


def _victim(name: str) -> VictimSettings:
    if name not in VICTIMS:
        raise InputError(f"no victim {name!r}, known: {', '.join(VICTIMS)}")
    return VICTIMS[name]


def _seeds(first: int, runs: int) -> range:
    if runs < 1:
        raise InputError(f"runs: expected 1 or more, got {runs}")
    if first < 0:
        raise InputError(f"seed: expected 0 or more, got {first}")
    return range(first, first + runs)


def _tools(poisoning: PoisonSettings, judging: Mapping[str, Any], settings: Settings) -> Tools:
    """The jobs within a proof.

    Args:
        poisoning: of every run.
        judging: arguments of ``clean`` and of ``reject``.
        settings: of the jobs.
    """

    def poisoned(images: Path, output: Path, seed: int) -> PoisonCounts:
        manifest = poison(images, output, seed=seed, **vars(poisoning), **vars(settings))
        return PoisonCounts.from_json(manifest["counts"])

    def cleaned(images: Path, output: Path) -> Cleaned:
        return Cleaned.from_json(clean(images, output, **judging, **vars(settings)))

    return Tools(poisoned, cleaned, partial(reject, **judging))


def _proved(task: ProofTask, output: Output) -> Proof:
    """Prove into OUTPUT, or return what it holds already."""
    settings, folder = task.sets.settings, output.path
    try:
        if output.open(overwrite=settings.overwrite):
            _write(task, folder)
            output.commit(_manifest(task, output.plan))
        else:
            Progress("proving", quiet=settings.quiet).say(
                f"{folder} already holds this very proof, finished: nothing to do"
            )
        return Proof.from_json(json.loads((folder / RESULT).read_text(encoding="utf-8")))
    except OSError as error:
        raise RunError(
            f"{error.strerror or error} ({error.filename or folder}); what was finished is kept: "
            "mend that and run the same command again to go on"
        ) from error
    finally:
        output.close()


def _write(task: ProofTask, folder: Path) -> None:
    """Do all runs and write what came out."""
    proof, pictures = task.prove(folder / WORK)
    write_json(folder / RESULT, proof.to_json())
    write_atomically(folder / PAGE, page(proof, PICTURE).encode())
    write_atomically(folder / PICTURE, draw(proof.runs, pictures, proof.title))


def _manifest(task: ProofTask, plan: dict[str, Any]) -> dict[str, Any]:
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
