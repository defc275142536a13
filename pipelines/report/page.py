"""The page that shows what was removed, and why: one HTML file that asks nobody for anything.

Styles, pictures and drawings are inside the page, and it holds no script. What comes from
the data is hostile until proven otherwise: text is escaped, and images are decoded and
encoded again before they are shown. Memory stays bounded however large the run: of the score
rows only the most suspicious are kept while reading, of the images only a sample is averaged,
and what the page leaves out it says.
"""

import base64
import heapq
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image
from scipy import special

from sanitizer.images import ImageError, decode
from sanitizer.records import CLEAN, POISONED, REJECTED
from sanitizer.spectrum import BLOCK, log_spectra, mean_spectrum, spectrum_blocks
from sanitizer.summary import class_name, label_key

#: Removed images that are shown.
GALLERY = 60

#: Classes, reasons and failed checks that are listed.
LISTED = 20

#: Images of each split whose mean spectrum is drawn.
SPECTRUM_IMAGES = 500

#: Longest side of a picture in the page, in pixels.
THUMBNAIL = 96

#: Log-magnitude that is drawn brightest in the spectrum of one image. Triggers are faint
#: beside the lowest frequencies, which reach 9.
BRIGHTEST = 6.0

#: A class stands out if chance would remove as many of its images less often than this,
#: divided by the number of classes.
SIGNIFICANCE = 0.01

#: Rows of images that are in memory at a time.
IMAGE_ROWS = 64


def write_report(output: Path, summary: Mapping[str, Any]) -> Path:
    """Write ``output/report/index.html`` from the files of a run and its summary.

    Args:
        output: the run's directory, with ``data/`` and ``scores/``; ``report/validation.json``
            is shown if it is there.
        summary: from :func:`sanitizer.summary.finish_summary`, with ``max_clean_loss``,
            ``calibration`` (``words``, ``thresholds``, ``groups``), ``detector``, ``source``
            (``location``, ``kind``, ``notes``; ``image_column`` where the schema of the data
            does not tell) and ``versions``.

    Returns:
        The path of the page.

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
    environment.filters["share"] = _percent
    environment.filters["tiny"] = lambda number: f"{number:.2g}"
    page = environment.get_template("report.html").render(
        name=output.resolve().name,
        headline=headline(summary["counts"]),
        summary=summary,
        counts=summary["counts"],
        chance=_expected_by_chance(summary),
        histogram=_histogram(summary),
        classes=rank_classes(summary["per_class"], summary["max_clean_loss"]),
        gallery=_gallery(output, summary),
        spectra=_mean_spectra(output, summary),
        validation=_validation(output),
        listed=LISTED,
    )
    path = output / "report" / "index.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    # The bytes of a file name need not be text; what is not becomes a question mark.
    path.write_text(page, encoding="utf-8", errors="replace")
    return path


# --- Words and numbers --------------------------------------------------------------------


def headline(counts: Mapping[str, int]) -> str:
    """What happened, in one sentence."""
    read, removed, rejected = counts["read"], counts[POISONED], counts[REJECTED]
    if not read:
        return "There were no images to judge."
    images = "image" if read == 1 else "images"
    start = (
        f"{removed:,} of {read:,} {images} removed" if removed else f"No image of {read:,} removed"
    )
    return f"{start}, {rejected:,} could not be judged." if rejected else f"{start}."


def _percent(share: float) -> str:
    """A share as a percentage; almost none never reads as none, nor almost all as all."""
    if 0 < share < 0.0001:
        return "<0.01%"
    if 0.9995 <= share < 1:
        return ">99.9%"
    return f"{share:.1%}" if 0.1 <= share < 1 else f"{100 * share:.3g}%"


def _expected_by_chance(summary: Mapping[str, Any]) -> int:
    """How many innocent images the accepted clean loss costs on average, at most."""
    counts = summary["counts"]
    return math.ceil(summary["max_clean_loss"] * (counts[CLEAN] + counts[POISONED]) - 1e-9)


def rank_classes(
    per_class: Sequence[Mapping[str, Any]], max_clean_loss: float
) -> list[dict[str, Any]]:
    """Classes by the share of their judged images that was removed, the largest first.

    A class ``stands_out`` if that share is at least twice that of all other classes together
    and of the accepted clean loss, and if so many removals by chance at that rate are unlikely
    even as the worst of all classes (binomial, Bonferroni).
    """
    removed = sum(c[POISONED] for c in per_class)
    judged = removed + sum(c[CLEAN] for c in per_class)
    ranked = []
    for one in per_class:
        mine = one[POISONED] + one[CLEAN]
        others = (removed - one[POISONED]) / max(judged - mine, 1)
        usual = max(others, max_clean_loss)
        share = one[POISONED] / max(mine, 1)
        by_chance = special.bdtrc(one[POISONED] - 1, mine, usual) if one[POISONED] else 1.0
        stands_out = share >= 2 * usual and by_chance < SIGNIFICANCE / len(per_class)
        ranked.append({**one, "share": share, "stands_out": bool(stands_out)})
    return sorted(ranked, key=lambda c: (-c["share"], -c[POISONED], c["label"]))


def _validation(output: Path) -> dict[str, Any] | None:
    path = output / "report" / "validation.json"
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    suites = list(dict.fromkeys(e["suite"] for e in found["expectations"]))
    return found | {
        "pages": [s for s in suites if (path.parent / "data_docs" / f"{s}.html").exists()]
    }


# --- The score histogram, as an SVG drawing -----------------------------------------------


def _histogram(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Bars, ticks and threshold lines in the coordinates of a 1000 x 300 drawing.

    Counts are on a logarithmic scale that starts at one half, so that one image is a bar.
    """
    left, right, top, bottom = 60, 990, 24, 260
    found = summary["score_histogram"]
    edges = found["edges"]
    highest = max(10, *found[CLEAN], *found[POISONED])
    decades = math.log10(highest * 1.2) - math.log10(0.5)

    def x(score: float) -> float:
        return round(left + (right - left) * score, 1)

    def y(count: float) -> float:
        return round(bottom - (bottom - top) * (math.log10(count) - math.log10(0.5)) / decades, 1)

    bars = [
        {
            "verdict": verdict,
            "x": x(edges[i]) + 0.5,
            "width": round(x(edges[i + 1]) - x(edges[i]) - 1, 1),
            "y": y(count),
            "height": round(bottom - y(count), 1),
            "words": f"score {edges[i]:.2f} to {edges[i + 1]:.2f}: {count:,} {name}",
            "count": count,
        }
        for verdict, name in ((CLEAN, "kept"), (POISONED, "removed"))
        for i, count in enumerate(found[verdict])
        if count
    ]
    thresholds = sorted(set(summary["calibration"]["thresholds"].values()))
    return {
        # The taller bar of a bin is drawn first, so that the shorter shows in front of it.
        "bars": sorted(bars, key=lambda bar: -bar["count"]),
        "x_ticks": [{"at": x(i / 10), "words": f"{i / 10:g}"} for i in range(11)],
        "y_ticks": [
            {"at": y(10**i), "words": f"{10**i:,}"} for i in range(int(math.log10(highest)) + 1)
        ],
        "thresholds": [{"at": x(t), "words": f"{t:.4g}"} for t in thresholds],
        "left": left,
        "right": right,
        "top": top,
        "bottom": bottom,
    }


# --- The gallery of removed images --------------------------------------------------------


def _gallery(output: Path, summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The most suspicious removed images, each with its picture and its spectrum."""
    names = {c["label"]: c["name"] for c in summary["per_class"]}
    rows = heapq.nsmallest(
        GALLERY, _removed_rows(output), key=lambda r: (-r["score"], r["p_value"], r["sample_id"])
    )
    wanted: dict[Path, set[str]] = {}
    for row in rows:
        wanted.setdefault(row["file"], set()).add(row["sample_id"])
    encoded = {
        sample_id: data
        for file, ids in wanted.items()
        for sample_id, data in _encoded_images(file, summary)
        if sample_id in ids
    }
    colours = _colours("magma")
    shown = []
    for row in rows:
        key = label_key(row["label"])
        item = row | {"class": names.get(key, class_name(key)), "labelled": key != "null"}
        try:
            pixels = decode(encoded.get(row["sample_id"]))
        except ImageError as error:
            shown.append(item | {"error": str(error)})
            continue
        spectrum = log_spectra(pixels[None])[0]
        item["image"] = _data_uri(Image.fromarray(pixels))
        item["spectrum"] = _data_uri(_heat_map(spectrum / BRIGHTEST, colours))
        shown.append(item)
    return shown


def _removed_rows(output: Path) -> Iterator[dict[str, Any]]:
    """Score rows of removed images, with the ``file`` that holds the image."""
    columns = ["sample_id", "label", "score", "p_value", "verdict", "reason", "width", "height"]
    for path in sorted((output / "scores").glob("part-*.parquet")):
        file = output / "data" / path.name.replace("part-", "poisoned-", 1)
        with pq.ParquetFile(path) as scores:
            for batch in scores.iter_batches(10_000, columns=columns):
                for row in batch.filter(pc.equal(batch["verdict"], POISONED)).to_pylist():
                    yield row | {"file": file}


def _encoded_images(file: Path, summary: Mapping[str, Any]) -> Iterator[tuple[str, bytes | None]]:
    """Ids and encoded images of a file of ``data/``, a few in memory at a time."""
    with pq.ParquetFile(file) as data:
        column = summary["source"].get("image_column") or _image_column(data.schema_arrow)
        for batch in data.iter_batches(IMAGE_ROWS, columns=["sample_id", column]):
            images = batch[column]
            if pa.types.is_struct(images.type):
                images = pc.struct_field(images, "bytes")
            yield from zip(batch["sample_id"].to_pylist(), images.to_pylist(), strict=True)


def _image_column(schema: pa.Schema) -> str:
    """The column that ``datasets`` would decode to an image, or else the first of bytes.

    Raises:
        ValueError: there is none.
    """
    known = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = known.get("info", {}).get("features", {})
    for name, feature in features.items():
        if isinstance(feature, dict) and feature.get("_type") == "Image":
            return str(name)
    for column in schema:
        if pa.types.is_struct(column.type) or pa.types.is_binary(column.type):
            return str(column.name)
    raise ValueError(f"expected a column of images, found {', '.join(schema.names)}")


# --- Spectra ------------------------------------------------------------------------------


def _mean_spectra(output: Path, summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """Mean spectra of removed and kept images and their difference; None without both."""
    found = [_mean_of_sample(output, verdict, summary) for verdict in (POISONED, CLEAN)]
    if not all(images for _, images in found):
        return None
    (removed, removed_images), (kept, kept_images) = found
    low, high = min(removed.min(), kept.min()), max(removed.max(), kept.max())
    difference = removed - kept
    # Where all is black, all is one colour.
    width, extreme = max(high - low, 1e-9), max(np.abs(difference).max(), 1e-9)
    magma, diverging = _colours("magma"), _colours("RdBu_r")
    return {
        "removed": _data_uri(_heat_map((removed - low) / width, magma)),
        "kept": _data_uri(_heat_map((kept - low) / width, magma)),
        "difference": _data_uri(_heat_map(0.5 + difference / extreme / 2, diverging)),
        "removed_images": removed_images,
        "kept_images": kept_images,
        "scale": _data_uri(_heat_map(np.linspace(0, 1, THUMBNAIL)[None], magma)),
        "low": float(low),
        "high": float(high),
        "difference_scale": _data_uri(_heat_map(np.linspace(0, 1, THUMBNAIL)[None], diverging)),
        "extreme": float(extreme),
    }


def _mean_of_sample(
    output: Path, verdict: str, summary: Mapping[str, Any]
) -> tuple[np.ndarray, int]:
    """The mean spectrum of the blocks of about ``SPECTRUM_IMAGES`` images, and their number.

    They are the first images of shards that lie evenly over the run: a few are decoded, and
    no more than that many files opened, however large the run.
    """
    files = sorted((output / "data").glob(f"{verdict}-*.parquet"))
    files = [file for file in files if pq.read_metadata(file).num_rows]
    step = max(1, math.ceil(len(files) / SPECTRUM_IMAGES))
    files = files[::step]
    spectra = []
    for file in files:
        for _, data in islice(
            _encoded_images(file, summary), math.ceil(SPECTRUM_IMAGES / len(files))
        ):
            with suppress(ImageError):  # only if the file is not what was judged
                spectra.append(mean_spectrum([spectrum_blocks(decode(data))]))
    return np.mean(spectra or [np.zeros((BLOCK, BLOCK))], axis=0), len(spectra)


# --- Pictures -----------------------------------------------------------------------------


def _colours(name: str) -> np.ndarray:
    """A colour map of matplotlib's as (256, 3) uint8."""
    from matplotlib import colormaps

    return np.asarray(colormaps[name](np.arange(256), bytes=True))[:, :3]


def _heat_map(values: np.ndarray, colours: np.ndarray) -> Image.Image:
    """(height, width) values as a picture; 0 is the first colour, 1 and above the last."""
    return Image.fromarray(colours[(values.clip(0, 1) * 255).round().astype(np.uint8)])


def _data_uri(image: Image.Image) -> str:
    """A picture of at most ``THUMBNAIL`` px a side, as a PNG inside the page."""
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
