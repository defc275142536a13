"""``prove``: show that an attack which worked before cleaning fails after, or that it does not."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attacks.victims.settings import VICTIMS, VictimSettings
from detector.bundled import DEFAULT_DETECTOR
from pipelines.jobs.clean import clean
from pipelines.jobs.poison import poison
from pipelines.judging.options import JudgingOptions
from pipelines.judging.policies import (
    DEFAULT_POLICY,
    choose_policy,
    find_detector,
    open_trusted,
)
from pipelines.poisoning.facts import PoisonCounts
from pipelines.poisoning.labels import Label
from pipelines.poisoning.request import PoisonRequest, PoisonSettings
from pipelines.poisoning.triggers import fingerprint
from pipelines.proof.records import Proof
from pipelines.proof.sets import Sets
from pipelines.proof.tools import Cleaned, Tools
from pipelines.runs import layout
from pipelines.runs.guards import check_output
from pipelines.runs.job import NOTHING_TO_DO, Settings
from pipelines.runs.manifest import Plan, common_manifest
from pipelines.runs.output import Output
from pipelines.runs.progress import Progress
from pipelines.runs.public import public
from pipelines.runs.store import Store
from sanitizer.errors import InputError, RunError
from sanitizer.record import Record

if TYPE_CHECKING:
    from pipelines.proof.task import ProofTask


@dataclass(frozen=True)
class ProofOptions(Record):
    """What decides the result of a proof."""

    poisoning: PoisonSettings
    attack_sha256: str  #: of what the attack does, as its artefacts may be other files
    seed: int
    runs: int
    victim: VictimSettings
    test: str | None  #: the set that is tested on, where it is another one
    test_sha256: str | None
    judging: JudgingOptions


@public
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
    detector: str | Path = DEFAULT_DETECTOR,
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
        victim: name of a classifier in ``attacks.victims.settings.VICTIMS``.
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
    chosen, store = Settings(**settings), Store.at(output)
    if chosen.verify_hashes:
        raise InputError(
            "verify hashes: a proof rejects no image before it trains; verify INPUT with freqsan "
            "clean or ingest, and leave it out here"
        )
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
    policy = choose_policy(DEFAULT_POLICY, max_clean_loss)
    address = find_detector(detector)
    check_output(store)
    sets = Sets.open(input, test, store, chosen)
    poisoning = request.settled(sets.labels())
    known_good = open_trusted(trusted, store, chosen)
    # Seconds to load, after all that can be refused without them.
    from pipelines.judging.judging import Judging
    from pipelines.proof.task import ProofTask

    judging = Judging.begin(address, policy, known_good, chosen, scan=True)
    arguments = {"detector": address, "max_clean_loss": max_clean_loss, "trusted": trusted}
    task = ProofTask(
        sets=sets,
        request=request,
        poisoning=poisoning,
        victim=network,
        tools=_tools(poisoning, arguments, sets.within(sets.source)),
        seeds=seeds,
        detector=judging.detector.identity,
        calibration=judging.calibration.words,
    )
    options = ProofOptions(
        poisoning=poisoning,
        attack_sha256=fingerprint(request.attack),
        seed=seed,
        runs=runs,
        victim=network,
        **vars(sets.test_facts()),
        judging=judging.options(),
    )
    plan = Plan.of("prove", sets.source, chosen.shard_rows, options)
    return _proved(task, Output(store, plan))


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
    from pipelines.judging.serving import reject

    def poisoned(images: str, output: Store, seed: int) -> PoisonCounts:
        own = vars(poisoning) | vars(settings)
        return poison(images, output.address, seed=seed, **own).counts

    def cleaned(images: str, output: Store) -> Cleaned:
        # A proof tells by itself how many images it had, and fails where they are too few.
        own = {"allow_unjudged": True, **judging, **vars(settings)}
        manifest = clean(images, output.address, **own)
        return Cleaned(manifest.counts, manifest.rejected_by_reason)

    return Tools(poisoned, cleaned, partial(reject, **judging))


def _proved(task: "ProofTask", output: Output) -> Proof:
    """Prove into OUTPUT, or return what it holds already."""
    settings, store = task.sets.settings, output.store
    try:
        if output.open(overwrite=settings.overwrite):
            _write(task, output)
            output.commit(common_manifest(output.plan, task.sets.source, ()))
        else:
            Progress("proving", quiet=settings.quiet).say(f"{store.address} {NOTHING_TO_DO}")
        return Proof.from_json(store.read_json(layout.PROOF))
    except OSError as error:
        raise RunError(
            f"{error.strerror or error} ({error.filename or store.address}); what was finished is "
            "kept: mend that and run the same command again to go on"
        ) from error
    finally:
        output.close()


def _write(task: "ProofTask", output: Output) -> None:
    """Do all runs and write what came out."""
    from pipelines.proof.drawing import draw
    from pipelines.proof.tables import page

    proof, pictures = task.prove(output.store.within(layout.PROOF_WORK))
    output.write_json(layout.PROOF, proof.to_json())
    output.write(layout.PROOF_PAGE, page(proof, layout.PROOF_PICTURE).encode())
    output.write(layout.PROOF_PICTURE, draw(proof.runs, pictures, proof.title))
