"""The tables of an evaluation: Markdown that reads as text."""

from collections.abc import Sequence

from pipelines.evaluation.figures import WEAK, AttackFigures, Evaluation, Section, Verdicts
from pipelines.evaluation.records import JUDGES, Cell
from sanitizer.detection import Flagged
from sanitizer.metrics import Estimate, Share
from sanitizer.tables import number, percent, table, with_interval

#: Who judged, for people.
_WHO = {"both": "scores and scan together", "scan": "scan alone", "score": "scores alone"}

#: FPRs are small, and the third decimal is where they differ.
_FPR_DECIMALS = 3

#: How the tables are read.
_READING = (
    "TPR (BDR): of the poisoned images that were judged, those that are flagged. FPR: of the clean "
    "images that were judged, of all classes, those that are flagged. All classes are scanned that "
    "have enough different pictures; images of others are not judged by the scan.",
    "The share of poison is that of all images, or for clean-label attacks of those of the target "
    "class.",
    "Intervals are at 95 %: Wilson's of a single draw, Student's over several, and of the mean "
    "Student's over the attacks.",
)


def in_brief(cell: Cell) -> str:
    """A cell on a line."""
    found = (f"{judge} {_both(cell.by(judge))}" for judge in JUDGES if cell.by(judge))
    return f"{cell.plan.words}: {', '.join(found)}"


def page(evaluation: Evaluation) -> str:
    """The whole evaluation."""
    notes = "".join(f"- {note}\n" for note in (*_READING, *evaluation.notes))
    sections = "\n".join(map(_section, evaluation.sections))
    return f"# Evaluation\n\n{notes}\n{sections}"


def overview(evaluation: Evaluation) -> str:
    """The tables of TPR and FPR alone, for a terminal."""
    parts = [part for s in evaluation.sections for part in (_title(s), *_verdicts(s), _clean(s))]
    return "\n".join(filter(None, parts))


def _section(section: Section) -> str:
    parts = [_title(section), *_verdicts(section), _clean(section), _details(section)]
    return "\n".join(filter(None, parts))


def _title(section: Section) -> str:
    encoding = "as it came" if section.encoding == "keep" else section.encoding
    words = [f"## {section.set.name}, {encoding}: {section.images:,} images\n"]
    if section.judging is not None:
        judging = section.judging
        settings = [f"policy {judging.policy}", f"clean loss {judging.max_clean_loss:g} at most"]
        settings += [] if judging.fdr is None else [f"FDR {judging.fdr:g}"]
        settings += [f"calibrated on {judging.trusted}"] if judging.trusted else []
        words.append(f"{judging.detector} on {judging.device}: {', '.join(settings)}.\n")
    return "\n".join(words)


def _verdicts(section: Section) -> list[str]:
    return [_verdicts_of(section, judge) for judge in section.judges] if section.attacks else []


def _verdicts_of(section: Section, judge: str) -> str:
    """Attacks by rates, their mean, and the weak ones."""
    rates = [one.rate for one in section.rates]
    cells = {(row.attack, row.rate): row.verdicts[judge] for row in section.attacks}
    names = list(dict.fromkeys(row.attack for row in section.attacks))
    rows = [[name, *(_both(cells.get((name, rate))) for rate in rates)] for name in names]
    if len(names) > 1:
        of_rates = section.rates
        rows += [
            ["mean", *(_tpr_and_fpr(one.bdr[judge], one.fpr[judge]) for one in of_rates)],
            ["its TPR, interval", *(_interval(one.bdr[judge]) for one in of_rates)],
            ["its FPR, interval", *(_interval(one.fpr[judge]) for one in of_rates)],
        ]
    if judge == "scan":
        counts = (f"{one.wrongly.count:,} of {one.wrongly.of:,}" for one in section.rates)
        rows.append(["classes wrongly called", *counts])
    judged = [one.judged[judge] for one in section.rates]
    if any(share.count < share.of for share in judged):
        rows.append(["images judged", *(f"{s.count:,} of {s.of:,}" for s in judged)])
    heads = ["TPR / FPR, %", *(f"{100 * rate:g} % poison" for rate in rates)]
    weak = [
        f"Below {100 * WEAK:g} % at {100 * one.rate:g} % poison: "
        + ", ".join(f"{name} {_found(cells[name, one.rate])}" for name in one.weak[judge])
        + ".\n"
        for one in section.rates
        if one.weak[judge]
    ]
    return "\n".join([f"### {_WHO[judge].capitalize()}\n", table(heads, rows), *weak])


def _both(verdicts: Verdicts | Flagged | None) -> str:
    return "" if verdicts is None else _tpr_and_fpr(verdicts.bdr, verdicts.fpr)


def _tpr_and_fpr(bdr: Estimate, fpr: Estimate) -> str:
    return f"{_plain(bdr.value, 1)} / {_plain(fpr.value, _FPR_DECIMALS)}"


def _plain(share: float | None, decimals: int) -> str:
    """In percent, without the sign; a dash where there is nothing to measure."""
    return "-" if share is None else f"{100 * share:.{decimals}f}"


def _found(verdicts: Verdicts) -> str:
    share = verdicts.bdr.value
    return "not judged" if share is None else _plain(share, 1)


def _interval(figure: Estimate) -> str:
    if figure.interval is None:
        return "-"
    return "[{:.2f}, {:.2f}]".format(*(100 * bound for bound in figure.interval))


def _clean(section: Section) -> str:
    """False alarms in the clean set."""
    clean = section.clean
    if clean is None:
        return ""
    rows = [
        [f"images flagged by {_WHO[judge]}", *_counted(share, _FPR_DECIMALS)]
        for judge, share in clean.fpr.items()
    ]
    if clean.called.of:
        rows.append(["classes called infected", *_counted(clean.called, 1)])
    return f"### Without poison\n\n{table(['false alarms', 'share [95 %]', 'of'], rows)}"


def _counted(share: Share, decimals: int) -> tuple[str, str]:
    return with_interval(share, decimals), f"{share.count:,} of {share.of:,}"


def _details(section: Section) -> str:
    """Every figure of every attack and rate, with its interval."""
    if not section.attacks:
        return ""
    rows = [
        cells
        for row in sorted(section.attacks, key=lambda row: (-row.rate, row.attack))
        for cells in _rows_of(row, section.judges)
    ]
    heads = ["attack", "poison", "draws", "judge", "ACC", "BDR", "FPR", "cover samples flagged"]
    heads += [
        "AUROC",
        "BDR at 1 % FPR",
        "BDR at 0.1 % FPR",
        "classes wrongly called",
        "CPU seconds",
    ]
    return f"### All figures\n\n{table(heads, rows)}"


def _rows_of(row: AttackFigures, judges: Sequence[str]) -> list[list[str]]:
    rows = []
    for judge in judges:
        verdicts = row.verdicts[judge]
        cells = [row.attack, f"{100 * row.rate:g} %", str(row.draws), _WHO[judge]]
        cells += [with_interval(verdicts.accuracy), with_interval(verdicts.bdr)]
        cells += [with_interval(verdicts.fpr, _FPR_DECIMALS)]
        cells += ["" if verdicts.cover.value is None else percent(verdicts.cover.value)]
        scored = judge == "score" and row.auroc is not None and row.bdr_at_fpr is not None
        if scored and row.auroc is not None and row.bdr_at_fpr is not None:
            cells += [number(row.auroc), *(with_interval(e) for e in row.bdr_at_fpr.values())]
        else:
            cells += [""] * 3
        wrongly = f"{row.wrongly.count:,} of {row.wrongly.of:,}" if judge == "scan" else ""
        seconds = row.cpu_seconds.get(judge)
        cells += [wrongly, "" if seconds is None else f"{seconds:.1f}"]
        rows.append(cells)
    return rows
