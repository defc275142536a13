"""The report shows what was removed, stays small, and lets nothing hostile through."""

import base64
import dataclasses
import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.report import page as report
from pipelines.report.page import headline, rank_classes, write_report
from pipelines.report.validation import validate_run
from sanitizer.records import (
    CLEAN,
    POISONED,
    REJECT_SCHEMA,
    REJECTED,
    ScoreRow,
    score_batch,
    score_schema,
)
from sanitizer.summary import finish_summary, shard_summary

LIMIT = 0.01
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
DATA = Path(os.environ.get("FREQSAN_DATA", Path(__file__).parents[2] / "shared" / "data"))


def pictures(n: int) -> list[np.ndarray]:
    """(32, 32, 3) uint8 images: photographs where there are any, else smooth random fields."""
    file = DATA / "caltech101_32.parquet"
    if file.exists():
        rows = pq.read_table(file, columns=["image"]).slice(0, n)["image"].to_pylist()
        return [np.asarray(Image.open(io.BytesIO(row["bytes"])).convert("RGB")) for row in rows]
    coarse = np.random.default_rng(0).integers(0, 256, (n, 4, 4, 3), dtype=np.uint8)
    return [
        np.asarray(Image.fromarray(c).resize((32, 32), Image.Resampling.BICUBIC)) for c in coarse
    ]


def with_trigger(pixels: np.ndarray) -> np.ndarray:
    """A chequered patch in the corner."""
    poisoned = pixels.copy()
    poisoned[-5:-1, -5:-1] = 255 * (np.indices((4, 4)).sum(axis=0) % 2)[..., None]
    return poisoned


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@dataclasses.dataclass
class Sample:
    """One input sample and its verdict."""

    verdict: str
    data: bytes
    label: Any = 0
    sample_id: str | None = None
    score: float = 0.1

    def row(self, sample_id: str) -> ScoreRow:
        judged = self.verdict != REJECTED
        reasons = {
            CLEAN: "50.00% of clean images score as high (calibration: photographs)",
            POISONED: "only 0.10% of clean images score as high (calibration: photographs)",
            REJECTED: "truncated or corrupt: OSError: image file is truncated",
        }
        p_values = {CLEAN: 0.5, POISONED: 0.001, REJECTED: None}
        return ScoreRow(
            sample_id=sample_id,
            source="train",
            label=self.label,
            width=32 if judged else None,
            height=32 if judged else None,
            format="PNG" if judged else None,
            content_sha256=None,
            score=self.score if judged else None,
            p_value=p_values[self.verdict],
            verdict=self.verdict,
            reason=reasons[self.verdict],
            detector="d@0",
        )


def finished_run(
    output: Path,
    shards: Sequence[Sequence[Sample]],
    *,
    label_type: pa.DataType | None = None,
    class_names: Sequence[str] | None = None,
    **summary: Any,
) -> dict[str, Any]:
    """Write the files of a run; returns its summary."""
    label_type = label_type or pa.int64()
    schema = pa.schema([("image", IMAGE), ("label", label_type), ("sample_id", pa.string())])
    every = []
    for folder in ("data", "rejected", "scores", "report"):
        (output / folder).mkdir(parents=True)
    for k, samples in enumerate(shards):
        end = f"{k:05d}-of-{len(shards):05d}.parquet"
        ids = [s.sample_id or f"train/{k}/{i:04d}.png" for i, s in enumerate(samples)]
        rows = [s.row(i) for s, i in zip(samples, ids, strict=True)]
        every += rows
        batch = score_batch(rows, score_schema(label_type))
        pq.write_table(pa.Table.from_batches([batch]), output / f"scores/part-{end}")
        for verdict in (CLEAN, POISONED):
            kept = [
                {"image": {"bytes": s.data, "path": None}, "label": s.label, "sample_id": i}
                for s, i in zip(samples, ids, strict=True)
                if s.verdict == verdict
            ]
            pq.write_table(pa.Table.from_pylist(kept, schema), output / f"data/{verdict}-{end}")
        rejects = [
            {"sample_id": i, "source": "train", "bytes": s.data, "reason": "truncated"}
            for s, i in zip(samples, ids, strict=True)
            if s.verdict == REJECTED
        ]
        table = pa.Table.from_pylist(rejects, REJECT_SCHEMA)
        pq.write_table(table, output / f"rejected/part-{end}")
    kinds = ["truncated or corrupt" for row in every if row.verdict == REJECTED]
    return finish_summary(shard_summary(every, kinds), class_names) | {
        "max_clean_loss": LIMIT,
        "calibration": {
            "words": "Of clean images like these 1.00% or less are expected to be removed.",
            "thresholds": {"1-1 parts": 0.87},
            "groups": [{"name": "photographs", "parts": [1, 1], "images": 5000, "threshold": 0.87}],
        },
        "detector": "freqsan-small@0123abcd4567",
        "source": {"location": "train", "kind": "image folder", "notes": ["one note"]},
        "versions": {"freqsan": "0.1.0"},
        **summary,
    }


def attacked_set(n: int = 60) -> list[list[Sample]]:
    """Two shards of a set with one attacked class, a false alarm and a reject."""
    samples = []
    for i, pixels in enumerate(pictures(n)):
        if i % 10 == 3:
            samples.append(Sample(POISONED, png(with_trigger(pixels)), 3, score=0.99 - i / 1000))
        else:
            samples.append(Sample(CLEAN, png(pixels), i % 7, score=0.7 * (i % 10) / 10))
    samples[0] = dataclasses.replace(samples[0], verdict=POISONED, score=0.88)
    samples[1] = dataclasses.replace(samples[1], verdict=REJECTED, data=b"GIF")
    return [samples[: n // 2], samples[n // 2 :]]


class Page(HTMLParser):
    """What a browser would make of a page: its elements, and its text outside of styles."""

    def __init__(self, path: Path):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data if self.elements and self.elements[-1][0] != "style" else ""

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def attacked_run(output: Path) -> Path:
    """Write, validate and report a run on the attacked set; returns the page."""
    names = ["ant", "bee", "cat", "dog", "eel", "fox", "gnu"]
    summary = finished_run(output, attacked_set(), class_names=names)
    (output / "report" / "summary.json").write_text(json.dumps(summary))
    assert validate_run(output, [30, 30], summary).success
    return write_report(output, summary)


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of an attacked set, to look at and not to touch."""
    return attacked_run(tmp_path_factory.mktemp("attacked") / "run")


def test_the_page_says_what_happened(attacked: Path) -> None:
    page = Page(attacked)
    assert "7 of 60 images removed, 1 could not be judged." in page.text
    assert "Of clean images like these 1.00% or less are expected to be removed." in page.text
    assert "costs up to 1 innocent image in a set of this size" in page.text
    assert "truncated or corrupt" in page.text
    assert "Passed. All" in page.text
    assert "one note" in page.text


def test_the_attacked_class_stands_out_and_no_other(attacked: Path) -> None:
    rows = [a for a in Page(attacked).of("tr") if a.get("class") == "stands-out"]
    assert len(rows) == 1
    assert re.search(r'<tr class="stands-out"><th scope="row"><bdi>dog</bdi>', attacked.read_text())


def test_the_gallery_shows_the_most_suspicious_first_each_beside_its_spectrum(attacked) -> None:
    shown = [a for a in Page(attacked).of("img") if (a["alt"] or "").startswith("Removed image ")]
    ids = [(a["alt"] or "").split()[2].rstrip(",") for a in shown]
    assert ids[0] == "train/0/0003.png"
    assert ids[-1] == "train/0/0000.png"
    assert len(ids) == 7
    assert attacked.read_text().count('alt="Its spectrum"') == 7
    first = base64.b64decode((shown[0]["src"] or "").partition("base64,")[2])
    with Image.open(io.BytesIO(first)) as image:
        np.testing.assert_array_equal(np.asarray(image), with_trigger(pictures(4)[3]))


def test_the_page_needs_nothing_but_itself(attacked: Path) -> None:
    page = Page(attacked)
    assert not page.of("script")
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes), tag
        if tag in ("img", "link"):
            assert (attributes.get("src") or attributes["href"] or "").startswith("data:")
    for a in page.of("a"):
        assert (attacked.parent / (a["href"] or "")).is_file()
    assert not re.search(r"url\(|@import|https?://", attacked.read_text())


def test_the_page_can_be_read_without_seeing(attacked: Path) -> None:
    page = Page(attacked)
    assert all("alt" in a for a in page.of("img"))
    assert all(a.get("scope") in ("row", "col") for a in page.of("th"))
    assert page.of("svg")[0]["role"] == "img"
    assert page.of("html")[0]["lang"] == "en"
    assert len(page.of("h1")) == 1


def test_the_same_run_gives_the_same_page(attacked: Path, tmp_path: Path) -> None:
    assert attacked_run(tmp_path / "run").read_bytes() == attacked.read_bytes()


def test_markup_in_data_is_shown_not_obeyed(tmp_path: Path) -> None:
    hostile = '"><script>alert(1)</script><img src=http://evil.example/x>'
    data = png(pictures(1)[0])
    samples = [Sample(POISONED, data, hostile, hostile, 0.9), Sample(CLEAN, data, "{{ 7 * 7 }}")]
    summary = finished_run(
        tmp_path,
        [samples],
        label_type=pa.string(),
        source={"location": hostile, "kind": hostile, "notes": [hostile]},
    )
    page = Page(write_report(tmp_path, summary))
    assert not page.of("script")
    assert all((a["src"] or "").startswith("data:") for a in page.of("img"))
    assert hostile in page.text
    assert "{{ 7 * 7 }}" in page.text


def test_bytes_of_strangers_do_not_get_into_the_page(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(pictures(1)[0]).save(buffer, "JPEG", comment=b"<?php hostile ?>")
    data = buffer.getvalue() + b"<script>trailing</script>"
    page = write_report(tmp_path, finished_run(tmp_path, [[Sample(POISONED, data, score=0.9)]]))
    for uri in re.findall(r"data:image/[a-z]+;base64,([A-Za-z0-9+/=]+)", page.read_text()):
        decoded = base64.b64decode(uri)
        assert decoded.startswith(b"\x89PNG")
        assert b"hostile" not in decoded
        assert b"trailing" not in decoded


def test_an_image_that_is_gone_leaves_its_place_and_its_words(tmp_path: Path) -> None:
    summary = finished_run(tmp_path, [[Sample(POISONED, b"no image", score=0.9)]])
    assert "cannot be shown: unsupported format" in Page(write_report(tmp_path, summary)).text


def test_black_images_and_names_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    black = png(np.zeros((32, 32, 3), np.uint8))
    samples = [Sample(v, black, score=0.9) for v in (POISONED, CLEAN)]
    source = {"location": "caf\udce9", "kind": "image folder", "notes": []}
    summary = finished_run(tmp_path, [samples], source=source)
    assert "caf?" in Page(write_report(tmp_path, summary)).text


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        ([], "There were no images to judge."),
        ([CLEAN], "No image of 1 removed."),
        ([POISONED], "1 of 1 image removed."),
        ([REJECTED], "No image of 1 removed, 1 could not be judged."),
        ([CLEAN] * 2 + [REJECTED], "No image of 3 removed, 1 could not be judged."),
    ],
)
def test_a_run_without_some_verdicts_has_a_page(tmp_path: Path, verdicts, words: str) -> None:
    data = png(pictures(1)[0])
    samples = [Sample(verdict, data, None, score=0.5) for verdict in verdicts]
    summary = finished_run(tmp_path, [samples, []])
    page = Page(write_report(tmp_path, summary))
    assert headline(summary["counts"]) == words
    assert words in page.text
    assert "labelled" not in page.text
    for verdict in (CLEAN, POISONED):
        assert (f'splits["{verdict}"]' in page.text) == (verdict in verdicts)


def test_a_large_run_has_a_small_page_that_says_what_it_leaves_out(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(report, "GALLERY", 5)
    data = png(pictures(1)[0])
    samples = [Sample(POISONED, data, i, score=0.9 + i / 10_000) for i in range(300)]
    summary = finished_run(tmp_path, [samples[:100], samples[100:]])
    path = write_report(tmp_path, summary)
    page = Page(path)
    assert "The 5 most suspicious of 300" in page.text
    assert f"the first {report.LISTED} of 300 classes" in page.text
    assert "train/1/0199.png" in page.text  # the highest score, in the last shard
    assert path.stat().st_size < 200_000


def test_images_of_any_size_and_storage_are_shown(tmp_path: Path) -> None:
    wide = np.random.default_rng(0).integers(0, 256, (40, 150, 3), dtype=np.uint8)
    samples = [Sample(v, png(wide), score=0.9) for v in (POISONED, CLEAN)]
    summary = finished_run(tmp_path, [samples])
    for file in (tmp_path / "data").iterdir():
        table = pq.read_table(file)
        plain = table["image"].combine_chunks().field("bytes")
        pq.write_table(table.set_column(0, "picture", plain), file)
    page = write_report(tmp_path, summary).read_text()
    sizes = []
    for uri in re.findall(r'src="data:image/png;base64,([^"]+)"', page):
        with Image.open(io.BytesIO(base64.b64decode(uri))) as image:
            sizes.append(image.size)
    assert max(max(size) for size in sizes) == report.THUMBNAIL
    assert sizes.count((96, 26)) == 2


def test_a_failed_validation_is_in_the_page(tmp_path: Path) -> None:
    summary = finished_run(tmp_path, [[Sample(CLEAN, png(pictures(1)[0]))]])
    (tmp_path / "scores" / "part-00000-of-00001.parquet").unlink()
    assert not validate_run(tmp_path, [1], summary).success
    text = Page(write_report(tmp_path, summary)).text
    assert "Failed." in text
    assert "Do not train on this result." in text
    assert "each file is there and has as many rows as it should" in text


def per_class(*counts: tuple[int, int]) -> list[dict[str, Any]]:
    """Classes of so many clean and poisoned samples."""
    return [
        {"label": str(i), "name": str(i), "read": c + p, CLEAN: c, POISONED: p, REJECTED: 0}
        for i, (c, p) in enumerate(counts)
    ]


def test_classes_are_ranked_by_share_and_only_the_improbable_stands_out() -> None:
    ranked = rank_classes(per_class((990, 10), (1000, 0), (500, 500), (980, 20), (1, 1)), LIMIT)
    assert [c["label"] for c in ranked] == ["2", "4", "3", "0", "1"]
    assert [c["label"] for c in ranked if c["stands_out"]] == ["2"]


def test_nothing_stands_out_in_a_clean_set_or_where_all_classes_are_alike() -> None:
    rng = np.random.default_rng(0)
    lost = rng.binomial(500, LIMIT, 1000)
    clean = rank_classes(per_class(*((500 - int(n), int(n)) for n in lost)), LIMIT)
    assert not any(c["stands_out"] for c in clean)
    assert not any(c["stands_out"] for c in rank_classes(per_class(*[(500, 60)] * 10), LIMIT))


# --- In a browser -------------------------------------------------------------------------


def opened(page: Path, profile: Path) -> tuple[str, list[str]]:
    """Open a page in Chromium: its DOM once loaded, and what it asked the network for."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed, so the page cannot be opened in a browser")
    net_log = profile.with_suffix(".json")
    done = subprocess.run(
        [
            chromium,
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-sync"),
            *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={profile}",
            f"--log-net-log={net_log}",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    # A page opened from a file is the origin "null"; the browser's own requests have none.
    events = [e for e in net_log.read_text().splitlines() if '"initiator":"null"' in e]
    return done.stdout, [url for e in events for url in re.findall(r'"url":"(https?:[^"]+)"', e)]


def test_a_browser_draws_all_pictures_and_asks_nobody(attacked: Path, tmp_path: Path) -> None:
    dom, asked = opened(attacked, tmp_path / "plain")
    assert "7 of 60 images removed" in dom
    assert asked == []
    # A copy that is let off the page's own policy counts the pictures that were drawn, and
    # asks a server, to show that this test would notice.
    page = re.sub(r"<meta http-equiv[^>]*>", "", attacked.read_text())
    probe = (
        "<script>onload = () => document.body.dataset.drawn ="
        "[...document.images].filter(i => i.naturalWidth > 0).length</script>"
        "<link rel=stylesheet href=https://example.invalid/style.css>"
    )
    copy = tmp_path / "probed.html"
    copy.write_text(page.replace("</body>", f"{probe}</body>"))
    dom, asked = opened(copy, tmp_path / "probed")
    shown = len(Page(attacked).of("img"))
    assert shown == 2 * 7 + 6
    assert f'data-drawn="{shown}"' in dom
    assert set(asked) == {"https://example.invalid/style.css"}
