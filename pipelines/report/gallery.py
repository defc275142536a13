"""The images that the pages of findings show, each beside its spectrum."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.report.images import stored_images
from pipelines.report.plots import colours, data_uri, heat_map
from pipelines.runs import layout
from pipelines.runs.store import Store
from sanitizer.images import ImageError, decode
from sanitizer.records import CLEAN, POISONED
from sanitizer.spectrum import block_spectrum, log_spectra
from sanitizer.summary import Summary, class_name, label_key

#: Log-magnitude that is drawn brightest in the spectrum of one image. Triggers are faint
#: beside the lowest frequencies, which reach 9.
BRIGHTEST = 6.0

#: Images with a longer side than this are shown beside the mean spectrum of their blocks: the
#: spectrum of the whole would take much memory and show the same at the size of a thumbnail.
MAX_WHOLE = 256

#: The files of each verdict that hold images.
SPLITS = {CLEAN: layout.CLEAN, POISONED: layout.POISONED}


@dataclass(frozen=True)
class Shown:
    """A score row of an image, as far as a report shows it."""

    sample_id: str
    label: Any  #: of the input's own type
    score: float | None  #: None where the detector could not judge it, like ``p_value``
    p_value: float | None
    scan_log_odds: float | None  #: None where it was not scanned
    finding: str | None  #: the surest that it carries
    verdict: str  #: clean or poisoned
    reason: str
    width: int  #: pixels
    height: int
    file: str  #: that holds the image, relative to OUTPUT

    @property
    def posterior(self) -> float:
        """The probability that it carries a trigger; 0 where none was looked for."""
        return 0.0 if self.scan_log_odds is None else 1 / (1 + math.exp(-self.scan_log_odds))


@dataclass(frozen=True)
class Picture:
    """An image and its spectrum as data URIs, or why there are none."""

    image: str = ""
    spectrum: str = ""
    error: str = ""  #: empty if and only if there are pictures


#: Of an image that is not in the file that it should be in.
GONE = Picture(error="it is no longer where it was written")


@dataclass(frozen=True)
class Exhibit:
    """An image as a page shows it."""

    row: Shown
    class_name: str | None  #: None where the image has no label
    picture: Picture


@dataclass(frozen=True)
class Exhibits:
    """All images that the pages of findings show."""

    by_id: dict[str, Exhibit]

    @classmethod
    def of(cls, store: Store, summary: Summary, shards: int) -> Self:
        """Look for them in one pass over the score rows, and one over the files that hold them.

        Of the score rows only those that are shown are kept, of the images their thumbnails.
        """
        named = {i for f in summary.findings for i in (*f.strongest, *f.weakest, *f.nearest)}
        shown = {row.sample_id: row for row in _rows(store, shards, named)}
        pictures = _pictures(store, shown, summary.source.image_column)
        names = {one.label: one.name for one in summary.per_class}
        by_id = {}
        for sample_id, row in shown.items():
            key = label_key(row.label)
            name = None if key == "null" else names.get(key, class_name(key))
            by_id[sample_id] = Exhibit(row, name, pictures.get(sample_id, GONE))
        return cls(by_id)

    def of_ids(self, ids: Sequence[str]) -> list[Exhibit]:
        """Those of some images, but for any that is in no split."""
        return [self.by_id[sample_id] for sample_id in ids if sample_id in self.by_id]


def _rows(store: Store, shards: int, ids: Collection[str]) -> Iterator[Shown]:
    """The score rows of some images that are in a split."""
    if not ids:
        return
    columns = ["sample_id", "label", "score", "p_value", "scan_log_odds", "finding"]
    columns += ["verdict", "reason", "width", "height"]
    wanted = pa.array(sorted(ids), pa.string())
    for name in store.shards(layout.SCORES, shards):
        end = name.removeprefix(layout.SCORES.prefix)
        with store.open(name) as handle, pq.ParquetFile(handle) as scores:
            for batch in scores.iter_batches(10_000, columns=columns):
                asked = pc.is_in(batch["sample_id"], value_set=wanted)
                for row in batch.filter(asked).to_pylist():
                    if split := SPLITS.get(row["verdict"]):
                        yield Shown(**row, file=split.prefix + end)


def _pictures(store: Store, rows: dict[str, Shown], image_column: str) -> dict[str, Picture]:
    """The pictures of some rows by ``sample_id``, one image in memory at a time."""
    if not rows:
        return {}
    ids_by_file: dict[str, set[str]] = {}
    for row in rows.values():
        ids_by_file.setdefault(row.file, set()).add(row.sample_id)
    magma = colours("magma")
    return {
        sample_id: _picture(data, magma)
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
