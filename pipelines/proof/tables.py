"""The tables and the page of a proof: Markdown that reads as text."""

from collections.abc import Sequence

from pipelines.proof.columns import COLUMNS, Figure, over
from pipelines.proof.records import Proof, Run
from sanitizer.metrics import Share
from sanitizer.tables import number, percent, table, with_interval

#: The rows of the table of detection.
DETECTION: tuple[tuple[str, Figure], ...] = (
    ("poisoned images removed (BDR)", lambda run: run.detection.bdr),
    ("clean images removed (FPR)", lambda run: run.detection.fpr),
    ("cover images removed", lambda run: run.detection.cover),
    ("BDR at 1 % FPR", lambda run: run.detection.bdr_at(0.01)),
    ("BDR at 0.1 % FPR", lambda run: run.detection.bdr_at(0.001)),
    ("AUROC", lambda run: run.detection.auroc),
    ("triggered test images rejected", lambda run: run.rejection.triggered),
    ("clean test images rejected", lambda run: run.rejection.clean),
)


def page(proof: Proof, picture: str) -> str:
    """The whole proof as Markdown.

    Args:
        picture: name of the drawing beside the page.
    """
    notes = "\n".join(f"- {note}" for note in proof.notes)
    return (
        f"# {proof.title}\n\n{proof.verdict}\n\n{tables(proof.runs)}\n{notes}\n\n"
        f"![accuracy and attack success before and after cleaning]({picture})\n"
    )


def tables(runs: Sequence[Run]) -> str:
    """What became of the attack, and how well it was detected."""
    parts = [_victims(runs), _detection(runs)]
    if len(runs) > 1:
        parts.append(_by_run(runs))
    return "\n".join(parts)


def _victims(runs: Sequence[Run]) -> str:
    trained_on = (
        sum(column.victim(run).trained_on for run in runs) / len(runs) for column in COLUMNS
    )
    rows = [
        ["clean accuracy", *(with_interval(over(runs, column.accuracy)) for column in COLUMNS)],
        ["attack success (ASR)", *(with_interval(over(runs, column.asr)) for column in COLUMNS)],
        ["trained on images", *(f"{images:,.0f}" for images in trained_on)],
    ]
    return table(["victim", *(column.title for column in COLUMNS)], rows)


def _detection(runs: Sequence[Run]) -> str:
    rows = []
    for words, figure in DETECTION:
        mean = over(runs, figure)
        if mean.value is None:
            continue
        shares = [share for share in map(figure, runs) if isinstance(share, Share)]
        if shares:
            count, of = sum(share.count for share in shares), sum(share.of for share in shares)
            rows.append([words, with_interval(mean), f"{count:,} of {of:,}"])
        else:
            rows.append([words, number(mean), ""])
    return table(["detection", "share [95 % interval]", "images"], rows)


def _by_run(runs: Sequence[Run]) -> str:
    figures: dict[str, Figure] = {
        **{f"accuracy, {column.title}": column.accuracy for column in COLUMNS},
        **{f"ASR, {column.title}": column.asr for column in COLUMNS},
        "BDR": lambda run: run.detection.bdr,
        "FPR": lambda run: run.detection.fpr,
    }
    rows = [
        [words, *(percent(over([run], figure).value) for run in runs)]
        for words, figure in figures.items()
    ]
    return table(["run", *(f"seed {run.seed}" for run in runs)], rows)
