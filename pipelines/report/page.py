"""The pages that show what was removed, and why: HTML files that load nothing else.

There is one for the run and one for each trigger that the scan has found. Styles, pictures and
drawings are inside the pages. The first holds one script, that of the review, and a policy by
which a browser runs no other. What comes from the data is hostile until proven otherwise: text is
escaped, and images are decoded and encoded again before they are shown. Memory stays bounded
however large the run, and what the page leaves out it says.
"""

import base64
import hashlib
import posixpath
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.report.before_after import BeforeAfter
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
from pipelines.report.plots import draw_histogram, draw_spectra
from pipelines.report.results import Validation
from pipelines.report.review.review import Locate, Review, Trigger
from pipelines.report.words import (
    carriers,
    headline,
    percent,
    removals,
    review_line,
    reviewed_headline,
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

TEMPLATES = Path(__file__).with_name("templates")

#: Classes, reasons and failed checks that are listed.
LISTED = 20

#: Images of each split whose mean spectrum is drawn.
SPECTRUM_IMAGES = 500


def write_pages(store: Store, summary: Summary, shards: int, locate: Locate | None = None) -> None:
    """Write the pages of a run of ``clean`` from its files and its summary.

    Args:
        store: OUTPUT, with its splits and score rows; its validation is shown if it is there.
        summary: of the run.
        shards: that it has.
        locate: tells the place in an image that speaks most for its score; None: nobody can.

    Raises:
        OSError, pyarrow.ArrowInvalid: a file of the run cannot be read.
        ValueError: what is stored of a finding is not what this version writes.
    """
    templates = _templates(pages=[finding.name for finding in summary.findings])
    shown = Exhibits.of(store, summary, shards)
    triggers = []
    for finding in summary.findings:
        portrait = portrait_of(store, finding)
        seen = Likenesses.of(portrait, finding)
        address = posixpath.relpath(
            layout.finding_page(finding.name), posixpath.dirname(layout.PAGE)
        )
        picture = seen.trigger if seen.has_trigger else ""
        triggers.append(Trigger.of(finding.name, address, picture, portrait))
        _write(
            *(store, templates, layout.finding_page(finding.name), "finding.html"),
            finding=finding,
            location=summary.source.location,
            innocents=at_most(finding.innocents),
            elsewhere=elsewhere(finding),
            expected=expected(finding),
            seen=seen,
            grounds=grounds(finding),
            screening=screened(finding),
            is_reviewed=summary.review is not None,
            separations=separations(finding),
            strongest=shown.of_ids(finding.strongest),
            weakest=shown.of_ids(finding.weakest),
            nearest=shown.of_ids(finding.nearest),
        )
    counts, wrong = summary.judged_counts, summary.fit.wrong
    removed, kept = _mean_spectra(store, summary.source.image_column, shards)
    review = Review.of(store, summary, shards, kept, triggers, locate)
    script = _script()
    shared, known = carriers(summary)
    found = headline(counts, carriers=shared, known=known, wrong=wrong)
    removed_by = removals(
        *(counts, summary.decision, summary.scan, summary.signatures), wrong=wrong
    )
    if summary.review:
        removed_by = f"Before the review: {found} {removed_by}"
        found = reviewed_headline(summary.counts)
    _write(
        *(store, templates, layout.PAGE, "report.html"),
        output=store.address if store.local is None else store.local.name,
        is_local=store.local is not None,
        headline=found,
        warnings=warnings(summary),
        removals=removed_by,
        summary=summary,
        counts=summary.counts,
        review=review,
        before_after=BeforeAfter.of(store, summary, shards),
        review_line=review_line(summary.review) if summary.review else "",
        output_word=shlex.quote(store.address if store.local is None else store.local.name),
        script=script,
        script_hash=_hash(script),
        judged=summary.decision.judged,
        findings=by_strength(summary.findings),
        scan_lines=scan_lines(summary.scan) if summary.scan else [],
        signature_lines=[signature_line(one) for one in summary.signatures],
        histogram=draw_histogram(summary.score_histogram, summary.calibration.thresholds),
        classes=rank_classes(
            *(summary.per_class, summary.decision.limit, summary.findings),
            accuse=not summary.fit.doubtful,
        ),
        spectra=draw_spectra(removed, kept) if removed.images and kept.images else None,
        validation=_validation(store),
        listed=LISTED,
    )


def _templates(pages: Sequence[str]) -> "jinja2.Environment":
    """The templates.

    Args:
        pages: names of the findings that have one.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
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
    environment.filters["about"] = _about
    return environment


def _shortened(text: str, most: int = 200) -> str:
    """A text as a page may show it, as :func:`sanitizer.errors.one_line` has it."""
    return one_line(shortened(text, most))


def _about(number: float) -> str:
    """A number that nobody has counted, as exactly as is worth it."""
    if 0 < number < 0.1:
        return "<0.1"
    return f"{number:,.0f}" if number >= 10 or number == 0 else f"{number:.1f}"


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


def _mean_spectra(
    store: Store, image_column: str, shards: int
) -> tuple[MeanSpectrum, MeanSpectrum]:
    """The mean spectra of a sample of the removed and of the kept images."""
    removed, kept = (
        MeanSpectrum.of(
            sampled_images(store, store.shards(split, shards), image_column, SPECTRUM_IMAGES)
        )
        for split in (layout.POISONED, layout.CLEAN)
    )
    return removed, kept


def _script() -> str:
    """What draws the review, in the browser."""
    return (TEMPLATES / "review.js").read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """By which a page's policy knows its own script from any other."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _validation(store: Store) -> Validation | None:
    if not store.exists(layout.VALIDATION):
        return None
    return Validation.from_json(store.read_json(layout.VALIDATION))
