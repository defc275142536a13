"""The page that shows what was removed, and why: one HTML file that loads nothing else.

Styles, pictures and drawings are inside the page, and it holds no script. What comes from the
data is hostile until proven otherwise: text is escaped, and images are decoded and encoded
again before they are shown. Memory stays bounded however large the run, and what the page
leaves out it says.
"""

import posixpath
from pathlib import Path

from pipelines.report.classes import rank_classes
from pipelines.report.gallery import exhibits
from pipelines.report.images import sampled_images
from pipelines.report.plots import SpectraDrawing, draw_histogram, draw_spectra
from pipelines.report.results import Validation
from pipelines.report.words import headline, innocents, percent, warnings
from pipelines.runs import layout
from pipelines.runs.store import Store
from pipelines.sources.files import shortened
from sanitizer.spectrum import MeanSpectrum
from sanitizer.summary import Summary

#: Classes, reasons and failed checks that are listed.
LISTED = 20

#: Images of each split whose mean spectrum is drawn.
SPECTRUM_IMAGES = 500


def write_page(store: Store, summary: Summary, shards: int) -> None:
    """Write the page of a run of ``clean`` from its files and its summary.

    Args:
        store: OUTPUT, with its splits and score rows; its validation is shown if it is there.
        summary: of the run.
        shards: that it has.

    Raises:
        OSError, pyarrow.ArrowInvalid: a file of the run cannot be read.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = lambda number: f"{number:,}"
    environment.filters["percent"] = percent
    environment.filters["shortened"] = shortened
    environment.filters["tiny"] = lambda number: f"{number:.2g}"
    environment.filters["from_page"] = lambda name: posixpath.relpath(
        name, posixpath.dirname(layout.PAGE)
    )
    environment.filters["stem"] = lambda name: posixpath.splitext(posixpath.basename(name))[0]
    page = environment.get_template("report.html").render(
        output=store.address if store.local is None else store.local.name,
        is_local=store.local is not None,
        layout=layout,
        headline=headline(summary.counts, wrong=summary.fit.wrong),
        warnings=warnings(summary),
        innocents=innocents(summary.decision),
        summary=summary,
        counts=summary.counts,
        judged=summary.decision.judged,
        histogram=draw_histogram(summary.score_histogram, summary.calibration.thresholds),
        classes=rank_classes(
            summary.per_class, summary.decision.limit, accuse=not summary.fit.doubtful
        ),
        gallery=exhibits(store, summary, shards),
        spectra=_mean_spectra(store, summary.source.image_column, shards),
        validation=_validation(store),
        data_docs=[name for name in layout.DATA_DOCS_PAGES if store.exists(name)],
        listed=LISTED,
    )
    # The bytes of a file name need not be text; what is not becomes a question mark.
    store.write(layout.PAGE, page.encode("utf-8", "replace"))


def _mean_spectra(store: Store, image_column: str, shards: int) -> SpectraDrawing | None:
    """The mean spectra of a sample of both splits; None where one has no image."""
    removed, kept = (
        MeanSpectrum.of(sampled_images(store, files, image_column, SPECTRUM_IMAGES))
        for files in (store.shards(split, shards) for split in (layout.POISONED, layout.CLEAN))
    )
    return draw_spectra(removed, kept) if removed.images and kept.images else None


def _validation(store: Store) -> Validation | None:
    if not store.exists(layout.VALIDATION):
        return None
    return Validation.from_json(store.read_json(layout.VALIDATION))
