"""The scan of a set in memory, by the functions of the passes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipelines.evaluation.looked import Looked
from pipelines.judging.classes import sampling_key
from pipelines.judging.decided import Scanned
from pipelines.judging.scan import ClassSearch, finding_of, looked_at
from pipelines.judging.split import Carried, strongest
from sanitizer.scan.finding import Finding
from sanitizer.scan.population import SAMPLED, Population
from sanitizer.summary import in_order, label_key


@dataclass(frozen=True)
class SetScan:
    """What the scan says of a set."""

    scanned: Scanned  #: without the files of the findings
    carried: dict[int, Carried]  #: of each image of a class that it searched, by row
    members: dict[str, np.ndarray]  #: by finding, the rows that carry it


def scan_set(looked: Looked, class_names: Sequence[str] | None) -> SetScan:
    """Search all classes of a set, each as the pass of ``clean`` does.

    Args:
        looked: at its images.
        class_names: of the set, where it has some.
    """
    keys = np.array([label_key(sample.label) for sample in looked.samples])
    ids = [sample.sample_id for sample in looked.samples]
    rows = np.flatnonzero(looked.seen)
    labels = sorted(set(keys[rows]), key=in_order)
    numbers = {label: number for number, label in enumerate(labels)}
    classes = [rows[keys[rows] == label] for label in labels]
    why_not: dict[str, str] = {}
    findings: list[Finding] = []
    carried: dict[int, Carried] = {}
    members: dict[str, np.ndarray] = {}
    population = None
    if len(labels) > 1:
        sample = sorted(rows.tolist(), key=lambda row: sampling_key(ids[row]))[:SAMPLED]
        of_sample = np.array([numbers[keys[row]] for row in sample])
        population = Population.of(
            looked.images[np.array(sample)], of_sample, np.random.default_rng(0)
        )
    for number, own in enumerate(classes):
        images = looked.images[own]
        found = []
        searched_rows = np.flatnonzero(looked_at(len(own)))
        sample_of_class = images[searched_rows]
        search = ClassSearch.of(population, number, sample_of_class)
        why_not[labels[number]] = search.why_not
        if search.why_not:
            continue
        for one in search.triggers:
            log_odds = one.log_odds_of(images, searched_rows)
            of_class = [ids[row] for row in own]
            finding = replace(
                finding_of(one, labels[number], class_names, log_odds, of_class),
                name=f"finding-{len(findings) + 1}",
            )
            findings.append(finding)
            found.append((finding, log_odds))
            members[finding.name] = own[log_odds > 0]
        carried |= zip(own.tolist(), strongest(len(own), found, searched=True), strict=True)
    return SetScan(Scanned(tuple(findings), why_not=why_not), carried, members)
