"""What a proof says: a verdict in words, and its tables, from the rows of its runs.

A run is a JSON-able dict:

- ``seed``;
- ``victims``: for each of ``STAGES`` a dict with ``trained_on``, the number of images, and the
  figures ``accuracy``, ``asr``, ``accuracy_rejecting``, ``asr_rejecting``: on clean and on
  triggered test images, without rejection and with it; and ``history``, an entry with
  ``accuracy`` and ``asr``, plain shares, for each epoch;
- ``detection``: from :func:`sanitizer.detection.detection`;
- ``largest_class``: the share of the test images that are of their most frequent class;
- ``rejection``: the figures ``clean`` and ``triggered``, shares of test images rejected.

A figure is a dict with ``value`` and ``interval``, from :mod:`sanitizer.metrics`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sanitizer.metrics import pooled

Run = Mapping[str, Any]

#: The victims of a run: trained on the set without poison, with it, and after cleaning.
STAGES = ("reference", "before", "after")

#: What is drawn and tabled: title, victim, and the ending of its figures' names.
COLUMNS = (
    ("without poison", "reference", ""),
    ("poisoned", "before", ""),
    ("cleaned", "after", ""),
    ("poisoned, with rejection", "before", "_rejecting"),
)

#: An attack that raises the ASR by less does not work.
LEAST_GAIN = 0.1

#: An attack fails when so much of what poison added to the ASR is left, or less; up to the
#: second share it is weakened.
FAILS, WEAKENED = 0.1, 0.5

#: A detector that flags a smaller share of the poisoned images has not found the trigger.
FOUND = 0.5


def figure(runs: Sequence[Run], *path: str) -> dict[str, Any]:
    """A figure over all runs, as :func:`sanitizer.metrics.pooled`; ``path`` leads to it."""
    return pooled([_at(run, path) for run in runs])


def verdict(runs: Sequence[Run]) -> str:
    """In plain words, whether the attack works and whether cleaning stops it."""
    asr = {title: figure(runs, "victims", s, f"asr{end}")["value"] for title, s, end in COLUMNS}
    base, poisoned = asr["without poison"], asr["poisoned"]
    removed = (
        f"{_percent(figure(runs, 'detection', 'bdr')['value'])} of the poisoned images and "
        f"{_percent(figure(runs, 'detection', 'fpr')['value'])} of the clean ones"
    )
    learnt_nothing = [run for run in runs if not _learnt(run)]
    if learnt_nothing:
        return f"{_untaught(learnt_nothing[0])} freqsan removed {removed}."
    if poisoned - base < LEAST_GAIN:
        return (
            f"The attack does not work on this victim: ASR {_percent(poisoned)}, and "
            f"{_percent(base)} without poison, so there is nothing to prove. "
            f"freqsan removed {removed}."
        )

    def fate(title: str) -> str:
        left = (asr[title] - base) / (poisoned - base)
        words = "fails" if left <= FAILS else "is weakened" if left <= WEAKENED else "still works"
        return f"{words} (ASR {_percent(asr[title])})"

    works = "works" if poisoned >= FOUND else "works in part"
    found = figure(runs, "detection", "bdr")["value"] or 0
    missed = "" if found >= FOUND else "did not find this trigger: it "
    accuracy = {s: figure(runs, "victims", s, "accuracy")["value"] for s in STAGES}
    return (
        f"The attack {works} (ASR {_percent(poisoned)}, {_percent(base)} without poison). "
        f"freqsan {missed}removed {removed}; after cleaning the attack {fate('cleaned')}, at a "
        f"clean accuracy of {_percent(accuracy['after'])} ({_percent(accuracy['reference'])} "
        "without poison). With rejection before the poisoned model it "
        f"{fate('poisoned, with rejection')}."
    )


def _learnt(run: Run) -> bool:
    """Whether the victim without poison does better than one that knows a single class."""
    return bool(run["victims"]["reference"]["accuracy"]["interval"][0] > run["largest_class"])


def _untaught(run: Run) -> str:
    reference = run["victims"]["reference"]
    return (
        f"The victim has learned nothing from its {reference['trained_on']:,} images without "
        f"poison: clean accuracy {_said(reference['accuracy'])}, and "
        f"{_percent(run['largest_class'])} of the test images are of one class. So the proof says "
        "nothing about the attack; give more images or --victim standard."
    )


def tables(runs: Sequence[Run]) -> str:
    """What became of the attack, and how well it was detected; Markdown that reads as text."""
    found = [_victims(runs), _detection(runs)]
    if len(runs) > 1:
        found.append(_by_run(runs))
    return "\n".join(found)


def markdown(proof: Mapping[str, Any], figure_name: str) -> str:
    """The whole proof as a page.

    Args:
        proof: ``title``, ``verdict``, ``runs``, and ``notes``, a list of sentences.
        figure_name: of the picture beside the page.
    """
    notes = "\n".join(f"- {note}" for note in proof["notes"])
    return (
        f"# {proof['title']}\n\n{proof['verdict']}\n\n{tables(proof['runs'])}\n{notes}\n\n"
        f"![accuracy and attack success before and after cleaning]({figure_name})\n"
    )


def _victims(runs: Sequence[Run]) -> str:
    rows = [
        [words, *(_said(figure(runs, "victims", s, f"{name}{end}")) for _, s, end in COLUMNS)]
        for words, name in (("clean accuracy", "accuracy"), ("attack success (ASR)", "asr"))
    ]
    counts = (sum(run["victims"][s]["trained_on"] for run in runs) for _, s, _ in COLUMNS)
    rows.append(["trained on images", *(f"{n / len(runs):,.0f}" for n in counts)])
    return _table(["victim", *(title for title, _, _ in COLUMNS)], rows)


def _detection(runs: Sequence[Run]) -> str:
    lines = {
        "poisoned images removed (BDR)": ("detection", "bdr"),
        "clean images removed (FPR)": ("detection", "fpr"),
        "cover images removed": ("detection", "cover"),
        "BDR at 1 % FPR": ("detection", "bdr_at_fpr", "0.01"),
        "BDR at 0.1 % FPR": ("detection", "bdr_at_fpr", "0.001"),
        "AUROC": ("detection", "auroc"),
        "triggered test images rejected": ("rejection", "triggered"),
        "clean test images rejected": ("rejection", "clean"),
    }
    rows = []
    for words, path in lines.items():
        found = figure(runs, *path)
        if found["value"] is not None:
            counts = [_at(run, path) for run in runs]
            number = _said(found, scale=1) if words == "AUROC" else _said(found)
            rows.append([words, number, _counted(counts)])
    return _table(["detection", "share [95 % interval]", "images"], rows)


def _by_run(runs: Sequence[Run]) -> str:
    paths = {
        f"{words}, {title}": ("victims", stage, f"{name}{ending}")
        for words, name in (("accuracy", "accuracy"), ("ASR", "asr"))
        for title, stage, ending in COLUMNS
    } | {"BDR": ("detection", "bdr"), "FPR": ("detection", "fpr")}
    rows = [
        [words, *(_percent(_at(run, path)["value"]) for run in runs)]
        for words, path in paths.items()
    ]
    return _table(["run", *(f"seed {run['seed']}" for run in runs)], rows)


def _at(run: Run, path: Sequence[str]) -> dict[str, Any]:
    found: Any = run
    for key in path:
        found = found[key] if found is not None else None
    return dict(found) if found is not None else {"value": None, "interval": None}


def _percent(value: float | None) -> str:
    return "none" if value is None else f"{100 * value:.1f} %"


def _said(found: Mapping[str, Any], scale: int = 100) -> str:
    digits, unit = (1, " %") if scale == 100 else (3, "")
    low, high = (f"{scale * end:.{digits}f}" for end in found["interval"])
    return f"{scale * found['value']:.{digits}f}{unit} [{low}, {high}]"


def _counted(figures: Sequence[Mapping[str, Any]]) -> str:
    """How many of how many, all runs together."""
    if "of" not in figures[0]:
        return ""
    count, n = (sum(one[key] for one in figures) for key in ("count", "of"))
    return f"{count:,} of {n:,}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = [heads, ["-" * width for width in widths], *rows]
    return "".join(
        f"| {' | '.join(cell.ljust(w) for cell, w in zip(line, widths, strict=True))} |\n"
        for line in lines
    )
