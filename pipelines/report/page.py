"""The pages that show what was removed, and why: HTML files that load nothing else.

There is one for the run and one for each trigger that the scan has found. Styles, pictures and
drawings are inside the pages, and they hold no script. What comes from the
data is hostile until proven otherwise: text is escaped, and images are decoded and encoded
again before they are shown. Memory stays bounded however large the run, and what the page
leaves out it says.
"""

import posixpath
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.report.classes import rank_classes
from pipelines.report.findings import (
    Likenesses,
    by_strength,
    elsewhere,
    expected,
    grounds,
    portrait_of,
    screened,
    separations,
)
from pipelines.report.gallery import Exhibits
from pipelines.report.images import sampled_images
from pipelines.report.plots import SpectraDrawing, draw_histogram, draw_spectra
from pipelines.report.results import Validation
from pipelines.report.words import (
    carriers,
    headline,
    percent,
    removals,
    scan_lines,
    signature_line,
    warnings,
)
from pipelines.runs import layout
from pipelines.runs.store import Store
from sanitizer.errors import one_line, quoted, shortened
from sanitizer.policy import at_most
from sanitizer.spectrum import MeanSpectrum
from sanitizer.summary import Summary

if TYPE_CHECKING:
    import jinja2

#: Classes, reasons and failed checks that are listed.
LISTED = 20

#: Images of each split whose mean spectrum is drawn.
SPECTRUM_IMAGES = 500


def write_pages(store: Store, summary: Summary, shards: int) -> None:
    """Write the pages of a run of ``clean`` from its files and its summary.

    Args:
        store: OUTPUT, with its splits and score rows; its validation is shown if it is there.
        summary: of the run.
        shards: that it has.

    Raises:
        OSError, pyarrow.ArrowInvalid: a file of the run cannot be read.
        ValueError: what is stored of a finding is not what this version writes.
    """
    templates = _templates(pages=[finding.name for finding in summary.findings])
    shown = Exhibits.of(store, summary, shards)
    for finding in summary.findings:
        _write(
            *(store, templates, layout.finding_page(finding.name), "finding.html"),
            finding=finding,
            location=summary.source.location,
            innocents=at_most(finding.innocents),
            elsewhere=elsewhere(finding),
            expected=expected(finding),
            seen=Likenesses.of(portrait_of(store, finding), finding),
            grounds=grounds(finding),
            screening=screened(finding),
            separations=separations(finding),
            strongest=shown.of_ids(finding.strongest),
            weakest=shown.of_ids(finding.weakest),
            nearest=shown.of_ids(finding.nearest),
        )
    counts, wrong = summary.counts, summary.fit.wrong
    shared, known = carriers(summary)
    _write(
        *(store, templates, layout.PAGE, "report.html"),
        output=store.address if store.local is None else store.local.name,
        is_local=store.local is not None,
        headline=headline(counts, carriers=shared, known=known, wrong=wrong),
        warnings=warnings(summary),
        removals=removals(
            *(counts, summary.decision, summary.scan, summary.signatures), wrong=wrong
        ),
        summary=summary,
        counts=counts,
        judged=summary.decision.judged,
        findings=by_strength(summary.findings),
        scan_lines=scan_lines(summary.scan) if summary.scan else [],
        signature_lines=[signature_line(one) for one in summary.signatures],
        histogram=draw_histogram(summary.score_histogram, summary.calibration.thresholds),
        classes=rank_classes(
            *(summary.per_class, summary.decision.limit, summary.findings),
            accuse=not summary.fit.doubtful,
        ),
        gallery=shown.removed,
        spectra=_mean_spectra(store, summary.source.image_column, shards),
        validation=_validation(store),
        data_docs=[name for name in layout.DATA_DOCS_PAGES if store.exists(name)],
        listed=LISTED,
    )


def _templates(pages: Sequence[str]) -> "jinja2.Environment":
    """The templates.

    Args:
        pages: names of the findings that have one.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"layout": layout, "pages": pages}
    environment.filters["count"] = lambda number: f"{number:,}"
    environment.filters["percent"] = percent
    environment.filters["shortened"] = _shortened
    environment.filters["quoted"] = quoted
    environment.filters["tiny"] = lambda number: f"{number:.2g}"
    environment.filters["stem"] = lambda name: posixpath.splitext(posixpath.basename(name))[0]
    return environment


def _shortened(text: str, most: int = 200) -> str:
    """A text as a page may show it, as :func:`sanitizer.errors.one_line` has it."""
    return one_line(shortened(text, most))


def _write(
    store: Store, templates: "jinja2.Environment", page: str, template: str, **given: Any
) -> None:
    """Write a page.

    Args:
        page: name of its file.
        template: name of its template.
        given: what the template shows.
    """
    link = partial(posixpath.relpath, start=posixpath.dirname(page))
    html = templates.get_template(template).render(link=link, **given)
    # The bytes of a file name need not be text; what is not becomes a question mark.
    store.write(page, html.encode("utf-8", "replace"))


def _mean_spectra(store: Store, image_column: str, shards: int) -> SpectraDrawing | None:
    """The mean spectra of a sample of both splits; None where one has no image."""
    means = []
    for split in (layout.POISONED, layout.CLEAN):
        files = store.shards(split, shards)
        means.append(MeanSpectrum.of(sampled_images(store, files, image_column, SPECTRUM_IMAGES)))
        if not means[-1].images:
            return None
    return draw_spectra(*means)


def _validation(store: Store) -> Validation | None:
    if not store.exists(layout.VALIDATION):
        return None
    return Validation.from_json(store.read_json(layout.VALIDATION))
