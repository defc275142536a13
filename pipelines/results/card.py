"""What a notebook shows of a run: a card in HTML that needs nothing else.

It has no script, no address to load and no colour of a page: it takes the notebook's own letters
and paper, light or dark. What comes from the data is escaped.
"""

from collections.abc import Sequence
from html import escape
from typing import Protocol

from pipelines.report.words import Carrying, Judged, carriers, headline, scan_lines, warnings
from pipelines.runs import layout
from sanitizer.errors import one_line, shortened
from sanitizer.summary import Counts

#: Reasons of a rejection, and lines of the scan, that are listed.
LISTED = 5

#: The colours of the verdicts, which can be told apart on white and on black.
_COLOURS = {"clean": "#3f88c5", "poisoned": "#d1495b", "rejected": "#b08900"}


class Result(Judged, Carrying, Protocol):
    """What a card is made of."""


def notebook_card(run: Result, address: str, gone: str = "") -> str:
    """The card of a run of ``clean``.

    Args:
        run: its manifest.
        address: of OUTPUT.
        gone: why OUTPUT no longer has it, in words; empty where it does.
    """
    counts, wrong = run.counts, run.fit.wrong
    shared, known = carriers(run)
    notes = [gone] if gone else []
    notes += warnings(run)
    lines = scan_lines(run.scan) if run.scan else []
    parts = [
        f"<strong>{_text(headline(counts, carriers=shared, known=known, wrong=wrong))}</strong>",
        *(f"<div>⚠ {_text(note)}</div>" for note in notes),
        _bar(counts),
        _table(counts, address),
        _list([f"{count:,} rejected: {kind}" for kind, count in run.rejected_by_reason.items()]),
        _list(lines),
        f"<div>report: <code>{_text(f'{address}/{layout.PAGE}')}</code></div>",
    ]
    return (
        '<div class="freqsan" style="max-width:44em;padding:.8em 1em;border:1px solid #8888;'
        'border-radius:6px;line-height:1.5;overflow-wrap:anywhere">' + "".join(parts) + "</div>"
    )


def _text(words: str) -> str:
    return escape(one_line(words))


def _bar(counts: Counts) -> str:
    """How the set is divided, for the eye; the table has the numbers."""
    pieces = "".join(
        f'<span style="flex:{getattr(counts, verdict)};min-width:3px;background:{colour}"></span>'
        for verdict, colour in _COLOURS.items()
        if getattr(counts, verdict)
    )
    return (
        '<div aria-hidden="true" style="display:flex;gap:2px;height:8px;margin:.6em 0">'
        f"{pieces}</div>"
    )


def _table(counts: Counts, address: str) -> str:
    places = {
        "clean": layout.CLEAN.pattern,
        "poisoned": layout.POISONED.pattern,
        "rejected": layout.REJECTED.pattern,
    }
    cell = 'style="text-align:left;background:none"'
    rows = "".join(
        f'<tr style="background:none"><td {cell}><span aria-hidden="true" style="color:{colour}">■'
        f'</span> {verdict}</td><td style="text-align:right">{getattr(counts, verdict):,}</td>'
        f"<td {cell}><code>{_text(f'{address}/{places[verdict]}')}</code></td></tr>"
        for verdict, colour in _COLOURS.items()
    )
    return f'<table style="margin:0;color:inherit;font:inherit">{rows}</table>'


def _list(lines: Sequence[str]) -> str:
    """The first lines, and how many more there are."""
    if not lines:
        return ""
    shown = [shortened(line, 300) for line in lines[:LISTED]]
    if len(lines) > LISTED:
        shown.append(f"and {len(lines) - LISTED:,} more")
    items = "".join(f"<li>{_text(line)}</li>" for line in shown)
    return f'<ul style="margin:.4em 0">{items}</ul>'
