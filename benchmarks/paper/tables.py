"""The paper's tables, its figures beside ours."""

from collections.abc import Iterable, Sequence

from benchmarks.paper.experiments import Row

#: ACC and BDR in percent, in the order of the paper's triggers, by experiment, detector, domain.
PAPERS: dict[tuple[str, str, str], tuple[Sequence[float], Sequence[float]]] = {
    ("table 1", "cifar10", "frequency"): (
        (94.10, 98.85, 98.76, 98.66, 97.00, 98.85, 98.86),
        (90.50, 99.99, 99.82, 99.61, 96.30, 99.99, 100),
    ),
    ("table 1", "cifar10", "image"): (
        (49.76, 85.17, 55.37, 54.19, 64.52, 77.31, 49.08),
        (1.38, 72.19, 12.59, 10.24, 30.90, 56.46, 0.00),
    ),
    ("table 1", "gtsrb", "frequency"): (
        (90.23, 93.96, 93.93, 91.46, 93.67, 93.96, 93.93),
        (92.55, 100, 99.94, 95.00, 99.43, 100, 99.94),
    ),
    ("table 1", "gtsrb", "image"): (
        (48.92, 57.43, 48.61, 49.35, 80.63, 89.53, 48.40),
        (17.42, 31.51, 16.92, 18.15, 69.91, 84.65, 16.57),
    ),
    ("table 2", "cifar10", "frequency"): (
        (68.23, 68.42, 68.40, 67.79, 66.51, 68.40, 68.41),
        (99.61, 99.99, 99.96, 98.75, 96.18, 99.95, 99.98),
    ),
    ("table 2", "cifar10, tuned", "frequency"): (
        (89.44, 91.47, 91.44, 94.03, 64.49, 91.45, 91.46),
        (95.95, 100, 99.95, 97.08, 45.67, 99.97, 99.99),
    ),
    ("table 3", "gtsrb", "frequency"): (
        (57.99, 64.57, 64.57, 60.09, 59.04),
        (86.83, 100, 100, 91.03, 88.94),
    ),
    ("table 3", "gtsrb, tuned", "frequency"): (
        (77.01, 83.46, 83.46, 83.11, 82.92),
        (87.10, 100, 100, 99.29, 98.92),
    ),
    ("table 3", "cifar10", "frequency"): (
        (61.17, 62.16, 62.16, 59.30, 55.37),
        (98.01, 100, 99.95, 94.28, 86.41),
    ),
    ("table 3", "cifar10, tuned", "frequency"): (
        (82.53, 87.10, 87.58, 79.61, 83.62),
        (89.83, 98.97, 99.93, 83.98, 92.01),
    ),
    ("table 4", "cifar10+gtsrb", "frequency"): (
        (64.28, 69.34, 69.34, 64.67, 64.18),
        (89.88, 100, 100, 90.66, 89.68),
    ),
    ("table 4", "cifar10+gtsrb, tuned", "frequency"): (
        (80.28, 85.28, 85.36, 83.29, 84.61),
        (89.80, 99.80, 99.95, 95.82, 98.45),
    ),
}

#: The experiment of the paper's Figure 4, of which distances are told.
DISTANCES = "section 5"


def tables(rows: Iterable[Row]) -> str:
    """One Markdown table for each experiment that there are rows of."""
    by_experiment: dict[str, list[Row]] = {}
    for row in rows:
        by_experiment.setdefault(row.experiment, []).append(row)
    return "\n\n".join(_table(experiment, some) for experiment, some in by_experiment.items())


def _table(experiment: str, rows: Sequence[Row]) -> str:
    """A line of BDR for each detector, and where the paper has figures or distances, of these."""
    triggers = list(dict.fromkeys(row.trigger for row in rows))
    heads = ["detector", "domain", "on", "epoch", "FPR", "", *triggers]
    lines = [f"**{experiment}**", "", _line(heads), _line(["---"] * len(heads))]
    tests: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        tests.setdefault((row.detector, row.domain, row.data, str(row.epoch)), []).append(row)
    for of, tested in tests.items():
        by_trigger = {row.trigger: row for row in tested}
        found = [by_trigger[trigger] for trigger in triggers if trigger in by_trigger]
        lines.append(
            _line(
                [*of, _percent(found[0].fpr.value), "BDR", *(_percent(r.bdr.value) for r in found)]
            )
        )
        rest = [""] * (len(of) + 1)
        accuracies, rates = PAPERS.get((experiment, *of[:2]), ((), ()))
        if rates:
            told = {
                "the paper's": [f"{rate:.1f}" for rate in rates],
                "ACC": [_percent(row.accuracy) for row in found],
                "the paper's ACC": [f"{accuracy:.1f}" for accuracy in accuracies],
            }
            # The paper has fewer triggers in some tables.
            lines += [
                _line([*rest, name, *cells, *[""] * (len(triggers) - len(cells))])
                for name, cells in told.items()
            ]
        elif experiment == DISTANCES:
            distances = [f"{row.distance:.1f}" for row in found]
            lines.append(_line([*rest, "distance", *distances]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"
