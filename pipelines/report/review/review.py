"""The data of the review, as the page holds it: what a script in it draws when it is asked for."""

import base64
import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from pipelines.report.images import stored_images
from pipelines.report.plots import colours
from pipelines.report.review.cases import Cases, borderline, select_cases
from pipelines.report.review.neighbours import Neighbours, sample_neighbours
from pipelines.report.review.pictures import SHEET, SHEET_COLUMNS, Sheet, Sheets, large, thumbnail
from pipelines.runs import layout
from pipelines.runs.store import Store
from pipelines.runs.threads import map_in_order
from sanitizer.cores import available_cores
from sanitizer.images import ImageError, decode
from sanitizer.records import CLEAN, POISONED
from sanitizer.scan.portrait import Portrait
from sanitizer.spectrum import MeanSpectrum, block_spectrum
from sanitizer.summary import Summary, class_name, label_key

#: Bytes of all thumbnails, of the neighbours, and of the pictures that are looked at closely. In
#: the page each is four thirds of that.
THUMBNAIL_BYTES, NEIGHBOUR_BYTES, CLOSE_BYTES = 7_500_000, 1_000_000, 2_500_000

#: Images that are looked at closely at most, those nearest the line first; and bytes of one.
CLOSE, MOST_CLOSE_BYTES = 1_000, 40_000

#: Log-magnitude of a spectrum that is drawn brightest, as the 255 of a byte.
BRIGHTEST = 8.0

#: Longest texts that are embedded: of reasons, and of a reviewer's.
_LONGEST = 300

#: Where in an image, (left, top, width, height) in shares of its size, something is.
Place = tuple[float, float, float, float]

#: Where an image looks most manipulated, by its pixels; None where that is everywhere or unknown.
Locate = Callable[[np.ndarray], Place | None]

_FILES = {CLEAN: layout.CLEAN, POISONED: layout.POISONED}


@dataclass(frozen=True)
class Review:
    """What the page embeds; texts of letters that HTML leaves alone."""

    cases: str  #: compressed JSON: the columns of the table of images
    close: str  #: the same: what is shown of single images
    sheets: list[str]  #: thumbnails
    sides: list[int]  #: of a thumbnail's square on each, pixels
    images: int  #: that are shown
    removed: int  #: of them, that are removed
    kept: int  #: and the kept ones nearest to that
    left_out: int  #: removed images that are not
    looked_at: int  #: that have a spectrum and neighbours

    @classmethod
    def of(
        cls,
        store: Store,
        summary: Summary,
        shards: int,
        mean: MeanSpectrum,
        triggers: Sequence["Trigger"],
        locate: Locate | None,
    ) -> Self:
        """Gather it from a finished run.

        Args:
            store: OUTPUT.
            summary: of the run.
            shards: that it has.
            mean: spectrum of kept images.
            triggers: what the scan found.
            locate: tells the place that speaks most for a score; None: nobody can.
        """
        cases = select_cases(store, summary, shards)
        keys = [label_key(label) for label in cases.rows["label"].to_pylist()]
        close = set(np.argsort(np.abs(cases.sureness), kind="stable")[:CLOSE].tolist())
        image_column = summary.source.image_column
        common = [key for key, _ in Counter(keys[place] for place in close).most_common()]
        neighbours = sample_neighbours(store, shards, image_column, common)
        looked = _Looked(keys, close, neighbours, locate, _triggers_by_row(cases, triggers))
        sheets = Sheets(len(cases), THUMBNAIL_BYTES)
        found: dict[int, dict[str, Any]] = {}
        errors: dict[int, str] = {}
        images = _stored(store, cases, shards, image_column)
        for place, seen in enumerate(map_in_order(looked.at, images, available_cores())):
            sheets.add(seen.thumb)
            if seen.error:
                errors[place] = seen.error
            if seen.close is not None:
                found[place] = seen.close
        sheets.finish()
        columns = _columns(cases, keys, summary)
        table = _table(columns, summary, triggers, errors)
        verdicts = Counter(cases.rows["verdict"].to_pylist())
        return cls(
            cases=_packed(table),
            close=_packed(_close(found, neighbours, mean)),
            sheets=[_text(sheet.data) for sheet in sheets.sheets],
            sides=[sheet.side for sheet in sheets.sheets],
            images=len(cases),
            removed=verdicts[POISONED],
            kept=verdicts[CLEAN],
            left_out=cases.left_out,
            looked_at=len(found),
        )


@dataclass(frozen=True)
class Trigger:
    """A trigger that images share, as it is shown beside them."""

    name: str
    page: str | None  #: address of its page, relative to the report's
    picture: str  #: data URI; empty where there is nothing to see
    box: Place | None  #: what is covered by something opaque; None where nothing is

    @classmethod
    def of(cls, name: str, page: str, picture: str, portrait: Portrait) -> Self:
        rows, columns = np.nonzero(portrait.covered)
        if not len(rows):
            return cls(name, page, picture, None)
        height, width = portrait.covered.shape
        left, top = columns.min() / width, rows.min() / height
        box = (left, top, (columns.max() + 1) / width - left, (rows.max() + 1) / height - top)
        return cls(name, page, picture, tuple(round(float(v), 4) for v in box))  # type: ignore[arg-type]


def _triggers_by_row(cases: Cases, triggers: Sequence[Trigger]) -> dict[int, Trigger]:
    named = {trigger.name: trigger for trigger in triggers}
    findings = cases.rows["finding"].to_pylist()
    return {place: named[name] for place, name in enumerate(findings) if name in named}


@dataclass(frozen=True)
class _Seen:
    """An image, looked at."""

    thumb: np.ndarray
    close: dict[str, Any] | None = None
    error: str = ""


#: Stands in the place of an image that cannot be shown.
_BLANK = np.full((1, 1, 3), 128, np.uint8)


@dataclass(frozen=True)
class _Looked:
    """Looks at one image after the other; may be called by several threads."""

    keys: list[str]
    close: set[int]
    neighbours: Neighbours
    locate: Locate | None
    triggers: dict[int, Trigger]

    def at(self, image: tuple[int, bytes | None]) -> _Seen:
        place, data = image
        try:
            # The bytes come from strangers: only what was decoded and encoded again is shown.
            pixels = decode(data)
        except ImageError as error:
            return _Seen(_BLANK, error=str(error)[:_LONGEST])
        if place not in self.close:
            return _Seen(thumbnail(pixels))
        trigger = self.triggers.get(place)
        box = None if trigger is None else trigger.box
        if trigger is None and self.locate is not None:
            box = self.locate(pixels)
        most = min(MOST_CLOSE_BYTES, CLOSE_BYTES // max(1, len(self.close)))
        spectrum = block_spectrum(pixels) / BRIGHTEST
        return _Seen(
            thumbnail(pixels),
            {
                "picture": _text(large(pixels, most)),
                "spectrum": _text(_bytes(spectrum)),
                "box": None if box is None else [round(float(v), 4) for v in box],
                "near": self.neighbours.nearest(self.keys[place], pixels),
            },
        )


def _stored(
    store: Store, cases: Cases, shards: int, image_column: str
) -> Iterator[tuple[int, bytes | None]]:
    """The number of each case and its encoded image, in order; None where it is gone."""
    ids, verdicts = (cases.rows[name].to_pylist() for name in ("sample_id", "verdict"))
    for shard in np.unique(cases.shards).tolist():
        places = np.flatnonzero(cases.shards == shard).tolist()
        streams = {
            verdict: _of_ids(
                stored_images(store, kind.name(shard, shards), image_column),
                {ids[place] for place in places if verdicts[place] == verdict},
            )
            for verdict, kind in _FILES.items()
        }
        held: dict[str, bytes | None] = {}
        for place in places:
            stream = streams[verdicts[place]]
            while ids[place] not in held and (found := next(stream, None)) is not None:
                held[found[0]] = found[1]
            yield place, held.pop(ids[place], None)


def _of_ids(
    images: Iterator[tuple[str, bytes | None]], ids: set[str]
) -> Iterator[tuple[str, bytes | None]]:
    return (image for image in images if image[0] in ids) if ids else iter(())


def _columns(cases: Cases, keys: list[str], summary: Summary) -> dict[str, list[Any]]:
    """The table of images: a list for each column, numbers short."""
    rows = cases.rows
    names = {one.label: one.name for one in summary.per_class}
    classes = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    reasons = [str(reason)[:_LONGEST] for reason in rows["reason"].to_pylist()]
    pool = {reason: place for place, reason in enumerate(dict.fromkeys(reasons))}
    findings = rows["finding"].to_pylist()
    found = {name: place for place, name in enumerate(dict.fromkeys(filter(None, findings)))}
    before, verdicts = rows["verdict_before"].to_pylist(), rows["verdict"].to_pylist()
    return {
        "id": rows["sample_id"].to_pylist(),
        "class": [classes[key] for key in keys],
        "finding": [-1 if name is None else found[name] for name in findings],
        "reason": [pool[reason] for reason in reasons],
        "score": _short(rows["score"].to_pylist(), 4),
        "p": _short(rows["p_value"].to_pylist(), 6),
        "odds": _short(rows["scan_log_odds"].to_pylist(), 2),
        "sure": _short(cases.sureness.tolist(), 2),
        "width": rows["width"].to_pylist(),
        "height": rows["height"].to_pylist(),
        "removed": [int(verdict == POISONED) for verdict in verdicts],
        "before": [None if verdict is None else int(verdict == POISONED) for verdict in before],
        "why": [why and str(why)[:_LONGEST] for why in rows["decided_why"].to_pylist()],
        "classes": ["" if key == "null" else names.get(key, class_name(key)) for key in classes],
        "findings": list(found),
        "reasons": list(pool),
    }


def _short(values: Sequence[float | None], digits: int) -> list[float | None]:
    return [
        None if value is None or not np.isfinite(value) else round(value, digits)
        for value in values
    ]


def _table(
    columns: dict[str, list[Any]],
    summary: Summary,
    triggers: Sequence[Trigger],
    errors: dict[int, str],
) -> dict[str, Any]:
    described = json.dumps([columns["id"], columns["removed"], summary.source.location])
    return columns | {
        # By this a browser tells the marks of one run from those of another.
        "run": hashlib.sha256(described.encode()).hexdigest()[:32],
        "limit": borderline(summary),
        "byScore": summary.decision.limit,
        "sheet": SHEET,
        "sheetColumns": SHEET_COLUMNS,
        "errors": errors,
        "triggers": {
            one.name: {"page": one.page, "picture": one.picture, "box": one.box} for one in triggers
        },
    }


def _close(
    found: dict[int, dict[str, Any]], neighbours: Neighbours, mean: MeanSpectrum
) -> dict[str, Any]:
    """What is shown of single images, with the neighbours that any of them has."""
    used = sorted({place for one in found.values() for place in one["near"]})
    number = {place: at for at, place in enumerate(used)}
    for one in found.values():
        one["near"] = [number[place] for place in one["near"]]
    sheets = Sheets(len(used), NEIGHBOUR_BYTES)
    for place in used:
        sheets.add(neighbours.looked_at[place].thumb)
    sheets.finish()
    return {
        "images": found,
        "mean": _text(_bytes(mean.values / BRIGHTEST)),
        "meanOf": mean.images,
        "near": [_near(neighbours, place) for place in used],
        "nearSheets": [_sheet(sheet) for sheet in sheets.sheets],
        "magma": _text(colours("magma").astype(np.uint8).tobytes()),
        "diverging": _text(colours("RdBu_r").astype(np.uint8).tobytes()),
    }


def _near(neighbours: Neighbours, place: int) -> dict[str, Any]:
    one = neighbours.looked_at[place]
    height, width = one.thumb.shape[:2]
    return {"id": one.sample_id, "width": width, "height": height}


def _sheet(sheet: Sheet) -> dict[str, Any]:
    return {"data": _text(sheet.data), "side": sheet.side}


def _bytes(values: np.ndarray) -> bytes:
    """Values from 0 to 1 as a byte each."""
    return bytes((values.clip(0, 1) * 255).round().astype(np.uint8).tobytes())


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _packed(value: Any) -> str:
    """JSON, compressed, in letters that HTML leaves alone; always the same for the same value."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return _text(gzip.compress(text.encode("ascii"), mtime=0))
