"""What a proof did, in sentences."""

from pathlib import Path

from attacks import Attack
from attacks.victims.settings import VictimSettings
from pipelines.poisoning.labels import Labels
from pipelines.poisoning.request import PoisonSettings
from pipelines.proof.records import VictimFigures
from pipelines.proof.trial import Trial
from pipelines.proof.views import Views
from pipelines.sources.base import Source
from sanitizer.detection import Detection
from sanitizer.tables import percent


def title(attack: Attack, poisoning: PoisonSettings, source: Source) -> str:
    """Such as ``BadNets at 10 % on photos``."""
    set_name = Path(source.location).name or source.location
    return f"{attack.title} at {100 * poisoning.rate:g} % on {set_name}"


def removed_words(detection: Detection) -> str:
    """What cleaning removed, as soon as it is known."""
    found, lost = detection.bdr, detection.fpr
    return (
        f"cleaning removed {found.count:,} of {found.of:,} poisoned images "
        f"({percent(found.value)}) and {lost.count:,} of {lost.of:,} clean ones "
        f"({percent(lost.value)})"
    )


def victim_words(trained_on: str, figures: VictimFigures) -> str:
    """How a victim does, as soon as it is trained.

    Args:
        trained_on: the state of the set it was trained on, such as ``"poisoned"``.
    """
    return (
        f"{trained_on}, clean accuracy {percent(figures.accuracy.value)}, attack success (ASR) "
        f"{percent(figures.asr.value)}, trained on {figures.trained_on:,} images"
    )


def notes(
    poisoning: PoisonSettings,
    labels: Labels,
    victim: VictimSettings,
    views: Views,
    trial: Trial,
    runs: int,
) -> list[str]:
    """How the figures of a proof came about."""
    return [
        _poison(poisoning, labels),
        f"Test images are {len(trial.clean.answers):,} that no victim was trained on; ASR is over "
        f"{_triggered(poisoning, trial)}.",
        _victim(victim, views),
        "With rejection, an image that freqsan rejects before the poisoned victim sees it counts "
        "as a miss, be it clean or triggered.",
        _intervals(runs),
    ]


def _poison(poisoning: PoisonSettings, labels: Labels) -> str:
    settings = ", ".join(f"{name} {value}" for name, value in poisoning.attack_settings.items())
    if poisoning.target_label is None:
        images, labelling = "images", "they are labelled as the next class"
    elif poisoning.clean_label:
        images = f"images of class {labels.described(poisoning.target_label)}"
        labelling = "they keep their labels"
    else:
        images = "images"
        labelling = f"they are labelled {labels.described(poisoning.target_label)}"
    encode = poisoning.encode
    encoded = "encoded as they came" if encode == "keep" else f"encoded as {encode}"
    return (
        f"The trigger {poisoning.attack}{f' ({settings})' if settings else ''} is on "
        f"{100 * poisoning.rate:g} % of the {images} to train on, chosen by the seed and "
        f"{encoded}; {labelling}."
    )


def _triggered(poisoning: PoisonSettings, trial: Trial) -> str:
    count = f"{len(trial.triggered.answers):,}"
    if poisoning.all_to_all:
        return f"all {count} with the trigger, called as their next class"
    return f"the {count} of them that are not of the target class, with the trigger"


def _victim(victim: VictimSettings, views: Views) -> str:
    height, width = views.size
    how = (
        "resized, bilinear and antialiased, after the trigger was put on them"
        if views.resized
        else "as they are"
    )
    flipped = "also mirrored" if victim.flip else "never mirrored"
    return (
        f"The {victim.name} victim is trained for {victim.epochs} epochs, or more until it made "
        f"{victim.min_steps} steps of {victim.batch} images, and sees them in {width}x{height} px, "
        f"{how}, {flipped}."
    )


def _intervals(runs: int) -> str:
    if runs == 1:
        return (
            "Intervals are Wilson's at 95 % (of AUROC a bootstrap) and speak of the images alone; "
            "that another victim might learn otherwise is for several runs to show."
        )
    return f"Figures are means over {runs} runs, with intervals of Student's t at 95 %."
