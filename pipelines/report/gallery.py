"""The most suspicious of the removed images, each with its picture and its spectrum."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.report.images import stored_images
from pipelines.report.plots import colours, data_uri, heat_map
from pipelines.runs import layout
from pipelines.runs.store import Store
from sanitizer.images import ImageError, decode
from sanitizer.records import POISONED
from sanitizer.spectrum import block_spectrum, log_spectra
from sanitizer.summary import Summary, class_name, label_key

#: Removed images that are shown.
GALLERY = 60

#: Log-magnitude that is drawn brightest in the spectrum of one image. Triggers are faint
#: beside the lowest frequencies, which reach 9.
BRIGHTEST = 6.0

#: Images with a longer side than this are shown beside the mean spectrum of their blocks: the
#: spectrum of the whole would take much memory and show the same at the size of a thumbnail.
MAX_WHOLE = 256


@dataclass(frozen=True)
class Removed:
    """A score row of a removed image, as far as the gallery shows it."""

    sample_id: str
    label: Any  #: of the input's own type
    score: float | None  #: None where the detector could not judge it, like ``p_value``
    p_value: float | None
    scan_log_odds: float | None  #: None where it was not scanned
    reason: str
    width: int  #: pixels
    height: int
    file: str  #: that holds the image, relative to OUTPUT


@dataclass(frozen=True)
class Picture:
    """An image and its spectrum as data URIs, or why there are none."""

    image: str = ""
    spectrum: str = ""
    error: str = ""  #: empty if and only if there are pictures


@dataclass(frozen=True)
class Exhibit:
    """A removed image as the page shows it."""

    removed: Removed
    class_name: str | None  #: None where the image has no label
    picture: Picture


def exhibits(store: Store, summary: Summary, shards: int) -> list[Exhibit]:
    """The most suspicious removed images, the first of all first.

    Of the score rows only the most suspicious are kept while reading, of the images only
    those that are shown.
    """
    shown = heapq.nsmallest(GALLERY, _removed(store, shards), key=_rank)
    encoded = _encoded(store, shown, summary.source.image_column)
    magma = colours("magma")
    names = {one.label: one.name for one in summary.per_class}
    result = []
    for row in shown:
        key = label_key(row.label)
        name = None if key == "null" else names.get(key, class_name(key))
        result.append(Exhibit(row, name, _picture(encoded.get(row.sample_id), magma)))
    return result


def _rank(row: Removed) -> tuple[float, float, str]:
    """The most suspicious first: by the score, where there is one, then by the scan."""
    return -(row.score or 0), -(row.scan_log_odds or 0), row.sample_id


def _removed(store: Store, shards: int) -> Iterator[Removed]:
    columns = ["sample_id", "label", "score", "p_value", "scan_log_odds"]
    columns += ["reason", "width", "height"]
    for name in store.shards(layout.SCORES, shards):
        images = layout.POISONED.prefix + name.removeprefix(layout.SCORES.prefix)
        with store.open(name) as handle, pq.ParquetFile(handle) as scores:
            for batch in scores.iter_batches(10_000, columns=[*columns, "verdict"]):
                removed = batch.filter(pc.equal(batch["verdict"], POISONED)).select(columns)
                for row in removed.to_pylist():
                    yield Removed(**row, file=images)


def _encoded(store: Store, rows: Sequence[Removed], image_column: str) -> dict[str, bytes | None]:
    """The encoded images of some rows by ``sample_id``."""
    ids_by_file: dict[str, set[str]] = {}
    for row in rows:
        ids_by_file.setdefault(row.file, set()).add(row.sample_id)
    return {
        sample_id: data
        for file, ids in ids_by_file.items()
        for sample_id, data in stored_images(store, file, image_column)
        if sample_id in ids
    }


def _picture(data: bytes | None, magma: np.ndarray) -> Picture:
    # The bytes come from strangers: only what was decoded and encoded again is shown.
    try:
        pixels = decode(data)
    except ImageError as error:
        return Picture(error=str(error))
    whole = max(pixels.shape) <= MAX_WHOLE
    spectrum = log_spectra(pixels[None])[0] if whole else block_spectrum(pixels)
    return Picture(data_uri(pixels), data_uri(heat_map(spectrum / BRIGHTEST, magma)))
