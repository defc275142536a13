"""What was done to a set that was poisoned, in sentences."""

from pipelines.poisoning.facts import PoisonTally
from pipelines.poisoning.labels import Labels
from pipelines.poisoning.request import PoisonSettings
from pipelines.sources.files import plural


def describe(tally: PoisonTally, labels: Labels, settings: PoisonSettings) -> list[str]:
    """Sentences on what was done to a set.

    Args:
        tally: of all its samples.
        labels: of the set.
        settings: that it was poisoned with.
    """
    counts = tally.counts
    target = None if settings.target_label is None else labels.described(settings.target_label)
    among = plural(counts.eligible, "image")
    if settings.clean_label:
        among += f" of class {target}"
        relabelling = "all labels are as they were"
    else:
        relabelling = f"they are labelled {target or 'as the next class'} now"
    share = f"{counts.poisoned / max(counts.read, 1):.1%} of the set"
    words = [
        f"Poisoned {counts.poisoned:,} of {among} ({share}) with {settings.attack}; {relabelling}."
    ]
    if counts.covers:
        covers = plural(counts.covers, "cover image")
        words.append(f"Put it on {covers} too, with the true labels.")
    if counts.unlabelled:
        words.append(f"Left {plural(counts.unlabelled, 'image')} without a label alone.")
    if tally.undecodable:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(tally.undecodable.items()))
        chosen = plural(counts.undecodable, "chosen image")
        words.append(f"Left {chosen} alone that cannot be decoded: {kinds}.")
    return words
