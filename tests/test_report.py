"""The report shows what was removed, stays small, and lets nothing hostile through."""

import base64
import dataclasses
import functools
import gzip
import hashlib
import html
import io
import json
import os
import posixpath
import re
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from summaries import summary_of, tally_of

from pipelines.report import page, plots
from pipelines.report.before_after import BeforeAfter
from pipelines.report.classes import rank_classes
from pipelines.report.findings import VIEWS_IN_WORDS, expected, grounds, screened
from pipelines.report.page import write_pages
from pipelines.report.review import cases
from pipelines.report.validation import validate_run
from pipelines.report.words import headline, innocents, percent, removals, scan_lines
from pipelines.runs import layout
from pipelines.runs.checksums import ALTERED, MISSING, report_changes, vouch_for_report
from pipelines.runs.store import Store
from sanitizer.fit import CalibrationFit, ScoreShape
from sanitizer.metrics import Share
from sanitizer.png import encode as png
from sanitizer.policy import Decision
from sanitizer.records import (
    CLEAN,
    POISONED,
    REJECT_SCHEMA,
    REJECTED,
    ScoreRow,
    score_schema,
    to_batch,
)
from sanitizer.scan.canonical import Compact
from sanitizer.scan.decision import Reason
from sanitizer.scan.evidence import Evidence
from sanitizer.scan.finding import Finding, pack
from sanitizer.scan.joining import join
from sanitizer.scan.population import Population
from sanitizer.scan.portrait import Likeness, Portrait
from sanitizer.scan.screening import Screening
from sanitizer.scan.signature import Signature
from sanitizer.scan.standard import NATIVE_VIEWS, VIEWS
from sanitizer.summary import (
    CalibrationFacts,
    CalibrationGroupFacts,
    ClassCounts,
    Counts,
    Histogram,
    PolicyFacts,
    ScanFacts,
    SignatureFacts,
    SourceFacts,
    Summary,
)

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


@dataclasses.dataclass
class Sample:
    """One input sample and its verdict."""

    verdict: str
    data: bytes
    label: Any = 0
    sample_id: str | None = None
    score: float = 0.1
    scan_log_odds: float | None = None
    finding: str | None = None

    def row(self, sample_id: str) -> ScoreRow:
        judged = self.verdict != REJECTED
        reasons = {
            CLEAN: "2,500 of 5,000 clean images score as high",
            POISONED: "only 4 of 5,000 clean images score as high",
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
            scan_log_odds=self.scan_log_odds if judged else None,
            finding=self.finding,
            verdict=self.verdict,
            reason=reasons[self.verdict],
            detector="d@0",
        )


def finished_run(
    output: str | Path,
    shards: Sequence[Sequence[Sample]],
    *,
    label_type: pa.DataType | None = None,
    class_names: Sequence[str] | None = None,
    **changes: Any,
) -> tuple[Store, Summary]:
    """Write the files of a run; returns where they are, and the run's summary."""
    store = Store.at(output)
    label_type = label_type or pa.int64()
    schema = pa.schema([("image", IMAGE), ("label", label_type), ("sample_id", pa.string())])
    every = []
    for k, samples in enumerate(shards):
        ids = [s.sample_id or f"train/{k}/{i:04d}.png" for i, s in enumerate(samples)]
        rows = [s.row(i) for s, i in zip(samples, ids, strict=True)]
        every += rows
        batch = to_batch(rows, score_schema(label_type))
        tables = {layout.SCORES: pa.Table.from_batches([batch])}
        for verdict, kind in ((CLEAN, layout.CLEAN), (POISONED, layout.POISONED)):
            kept = [
                {"image": {"bytes": s.data, "path": None}, "label": s.label, "sample_id": i}
                for s, i in zip(samples, ids, strict=True)
                if s.verdict == verdict
            ]
            tables[kind] = pa.Table.from_pylist(kept, schema)
        rejects = [
            {"sample_id": i, "source": "train", "bytes": s.data, "reason": "truncated"}
            for s, i in zip(samples, ids, strict=True)
            if s.verdict == REJECTED
        ]
        tables[layout.REJECTED] = pa.Table.from_pylist(rejects, REJECT_SCHEMA)
        for kind, table in tables.items():
            buffer = io.BytesIO()
            pq.write_table(table, buffer)
            store.write(kind.name(k, len(shards)), buffer.getvalue())
    summary = summary_of(tally_of(every, label_type), class_names, **changes)
    store.write_json(layout.SUMMARY, summary.to_json())
    return store, summary


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


#: Elements whose text nobody sees.
HIDDEN = ("style", "script")


class Page(HTMLParser):
    """What a browser would make of a page: its elements, and its text but styles and scripts."""

    def __init__(self, store: Store, name: str = layout.PAGE):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.html = store.read(name).decode()
        self.feed(self.html)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data if self.elements and self.elements[-1][0] not in HIDDEN else ""

    def own_script(self) -> str:
        """The one script that it has, beside what this script draws."""
        (script,) = re.findall(r"<script>(.*?)</script>", self.html, re.DOTALL)
        data = [a["type"] for a in self.of("script") if "type" in a]
        assert set(data) == {"application/octet-stream"}
        assert len(data) + 1 == len(self.of("script"))
        return script

    def unpacked(self, name: str) -> Any:
        """What it holds for the review, such as ``review-cases``."""
        (packed,) = re.findall(f'id="{name}">([^<]*)<', self.html)
        return json.loads(gzip.decompress(base64.b64decode(packed)))

    def thumbnail(self, place: int) -> np.ndarray:
        """The pixels of the square of the sheet that holds the thumbnail of an image."""
        cases = self.unpacked("review-cases")
        number, within = divmod(place, cases["sheet"])
        ((side, sheet),) = re.findall(
            f'id="review-sheet-{number}" data-side="([0-9]+)">([^<]*)<', self.html
        )
        row, column = (int(side) * part for part in divmod(within, cases["sheetColumns"]))
        with Image.open(io.BytesIO(base64.b64decode(sheet))) as image:
            return np.asarray(image)[row : row + int(side), column : column + int(side)]

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page_of(run: tuple[Store, Summary]) -> Page:
    """Write the page of a finished run and read it."""
    write_pages(*run, shards=len(run[0].names("data", "clean-*")))
    return Page(run[0])


def attacked_run(output: str | Path) -> Store:
    """Write, validate and report a run on the attacked set."""
    names = ["ant", "bee", "cat", "dog", "eel", "fox", "gnu"]
    store, summary = finished_run(output, attacked_set(), class_names=names)
    assert validate_run(store, [30, 30], summary).success
    write_pages(store, summary, shards=2)
    return store


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The run on an attacked set, to look at and not to touch."""
    return attacked_run(tmp_path_factory.mktemp("attacked") / "run")


def test_the_page_says_what_happened(attacked: Store) -> None:
    text = Page(attacked).text
    assert "7 of 60 images removed, 1 could not be judged." in text
    assert "on average fewer than one of the 7 removed images is innocent" in text
    assert "An image is removed at a p-value of at most 0.01." in text
    assert "Of clean images like these 1.00% or less are expected to be removed." in text
    assert "truncated or corrupt" in text
    assert "Passed. All" in text
    assert "one note" in text
    assert "--max-clean-loss" in text


def test_the_attacked_class_stands_out_and_no_other(attacked: Store) -> None:
    page = Page(attacked)
    assert len([a for a in page.of("tr") if a.get("class") == "stands-out"]) == 1
    assert '<tr class="stands-out"><th scope="row"><bdi>&#39;dog&#39;</bdi>' in page.html


def test_the_page_needs_nothing_but_itself(attacked: Store) -> None:
    page = Page(attacked)
    script = page.own_script()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = (a["content"] for a in page.of("meta") if a.get("http-equiv"))
    # A browser runs no other script than this one, and loads nothing from anywhere.
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{digest}'; img-src data: blob:; "
        "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes), tag
        if tag in ("img", "link"):
            assert (attributes.get("src") or attributes["href"] or "").startswith("data:")
    for a in page.of("a"):
        assert attacked.size(f"report/{a['href']}")
    assert not re.search(r"url\(|@import|https?://", page.html.replace(script, ""))
    assert not re.search(r"https?:|fetch\(|XMLHttpRequest|import\(|WebSocket|sendBeacon", script)


def test_the_page_can_be_read_without_seeing(attacked: Store) -> None:
    page = Page(attacked)
    assert all("alt" in a for a in page.of("img"))
    assert all(a.get("scope") in ("row", "col") for a in page.of("th"))
    assert page.of("svg")[0]["role"] == "img"
    assert page.of("html")[0]["lang"] == "en"
    assert len(page.of("h1")) == 1


def test_the_same_run_gives_the_same_page(attacked: Store, tmp_path: Path) -> None:
    assert attacked_run(tmp_path / "run").read(layout.PAGE) == attacked.read(layout.PAGE)


def test_a_run_in_another_file_system_has_the_same_page_with_its_address(attacked: Store) -> None:
    remote = attacked_run(f"memory://{uuid.uuid4().hex}/run")
    there, here = Page(remote), Page(attacked)
    assert there.of("img") == here.of("img")
    assert 'splits = load_dataset("run")' in here.text
    assert f'"clean": "{remote.address}/data/clean-*.parquet"' in there.text


def test_markup_in_data_is_shown_not_obeyed(tmp_path: Path) -> None:
    hostile = '"><script>alert(1)</script><img src=http://evil.example/x>'
    data = png(pictures(1)[0])
    samples = [Sample(POISONED, data, hostile, hostile, 0.9), Sample(CLEAN, data, "{{ 7 * 7 }}")]
    source = SourceFacts(hostile, hostile, (hostile,), "image")
    decision = Decision("budget", LIMIT, 2, 1, 0.02, hostile)
    page = page_of(
        finished_run(tmp_path, [samples], label_type=pa.string(), source=source, decision=decision)
    )
    assert hostile not in page.html
    assert "alert" not in page.own_script()
    assert all((a["src"] or "").startswith("data:") for a in page.of("img"))
    assert hostile in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert hostile in page.unpacked("review-cases")["id"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("", "''"), (" ", "' '"), ("a\nb", r"'a\nb'"), ("a\u202egnp", r"'a\u202egnp'")],
)
def test_an_odd_name_of_a_class_is_told_as_a_name(tmp_path: Path, name: str, words: str) -> None:
    store = scanned_run(tmp_path, class_name=name)
    page, overview = Page(store, FINDING_PAGE), Page(store)
    assert f"6 images labelled {words} share a trigger" in page.text
    assert f"In 1 class images share a trigger: {words} (" in overview.text
    shown = {html.unescape(one) for one in re.findall("<bdi>(.*?)</bdi>", overview.html, re.S)}
    assert words in shown
    assert "\u202e" not in page.html + overview.html


def test_a_long_name_of_a_class_is_broken_in_the_table_of_findings(tmp_path: Path) -> None:
    page = Page(scanned_run(tmp_path, class_name="x" * 300))
    (cell,) = re.findall(r'<td class="words">(<bdi.*?)</td>', page.html)
    assert len(html.unescape(cell.rpartition("<bdi")[2].partition(">")[2])) < 100
    assert re.search(r"td\.words {[^}]*overflow-wrap: anywhere", page.html)


def test_long_names_that_begin_alike_are_told_apart(tmp_path: Path) -> None:
    classes = [f'{"a long class name " * 8}{i} "<b>' for i in range(7)]
    shards = [
        [
            dataclasses.replace(s, sample_id=f"{'long folder ' * 99}/{k}/{i}")
            for i, s in enumerate(shard)
        ]
        for k, shard in enumerate(attacked_set())
    ]
    page = page_of(finished_run(tmp_path, shards, class_names=classes))
    titles = [attributes.get("title") for attributes in page.of("bdi")]
    assert titles.count(classes[3]) == 1 + 1 + 1  # in words, in the table, before and after
    for i, name in enumerate(classes):
        assert name in titles
        assert name not in page.text
        assert f'name {i} "<b>' in page.text
    assert f"{'long folder ' * 99}/1/3" in page.unpacked("review-cases")["id"]
    assert all(len(title) <= 1000 for title in titles if title is not None)


def test_bytes_of_strangers_do_not_get_into_the_page(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(pictures(1)[0]).save(buffer, "JPEG", comment=b"<?php hostile ?>")
    data = buffer.getvalue() + b"<script>trailing</script>"
    page = page_of(finished_run(tmp_path, [[Sample(POISONED, data, score=0.9)]]))
    sheets = re.findall(r'data-side="[0-9]+">([^<]+)<', page.html)
    close = page.unpacked("review-close")["images"]["0"]
    assert len(sheets) == 1
    for text in (*sheets, close["picture"]):
        decoded = base64.b64decode(text)
        assert decoded.startswith(b"RIFF")
        assert b"hostile" not in decoded
        assert b"trailing" not in decoded


def test_an_image_that_cannot_be_decoded_leaves_its_place_and_its_words(tmp_path: Path) -> None:
    page = page_of(finished_run(tmp_path, [[Sample(POISONED, b"no image", score=0.9)]]))
    assert page.unpacked("review-cases")["errors"]["0"].startswith("unsupported format")


def test_black_images_and_names_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    black = png(np.zeros((32, 32, 3), np.uint8))
    samples = [Sample(v, black, score=0.9) for v in (POISONED, CLEAN)]
    source = SourceFacts("caf\udce9", "image folder", (), "image")
    assert r"caf\udce9" in page_of(finished_run(tmp_path, [samples], source=source)).text


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        ([], "There were no images to judge."),
        ([CLEAN], "No image of 1 removed."),
        ([POISONED], "1 of 1 image removed."),
        ([REJECTED], "None of 1 image could be judged."),
        ([CLEAN, POISONED] + [REJECTED] * 3, "Only 2 of 5 images could be judged; 1 of them"),
        ([CLEAN] * 2 + [REJECTED], "No image of 3 removed, 1 could not be judged."),
    ],
)
def test_a_run_without_some_verdicts_has_a_page(tmp_path: Path, verdicts, words: str) -> None:
    data = png(pictures(1)[0])
    samples = [Sample(verdict, data, None, score=0.5) for verdict in verdicts]
    store, summary = finished_run(tmp_path, [samples, []])
    page = page_of((store, summary))
    assert headline(summary.counts).startswith(words)
    assert words in page.text
    assert "labelled" not in page.text
    for verdict in (CLEAN, POISONED):
        assert (f'splits["{verdict}"]' in page.text) == (verdict in verdicts)


def test_a_large_run_has_a_small_page_that_says_what_it_leaves_out(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(cases, "MOST_CASES", 5)
    data = png(pictures(1)[0])
    samples = [Sample(POISONED, data, i, score=0.9 + i / 10_000) for i in range(300)]
    shown = page_of(finished_run(tmp_path, [samples[:100], samples[100:]]))
    assert "Of the 300 removed images those 5 nearest to being kept." in shown.text
    assert "The 295 removed images that are not here are the surest ones" in shown.text
    assert f"the first {page.LISTED} of 300 classes" in shown.text
    assert len(shown.html) < 200_000


@pytest.mark.parametrize(
    ("size", "thumbnail"), [((40, 150), (96, 26)), ((700, 500), (69, 96)), ((9, 300), (96, 3))]
)
def test_images_of_any_size_and_storage_are_shown(tmp_path: Path, size, thumbnail) -> None:
    pixels = np.random.default_rng(0).integers(200, 256, (*size, 3), dtype=np.uint8)
    samples = [Sample(v, png(pixels), score=0.9) for v in (POISONED, CLEAN)]
    source = SourceFacts("train", "image folder", (), "picture")
    run = finished_run(tmp_path, [samples], source=source)
    for file in (tmp_path / "data").iterdir():
        table = pq.read_table(file)
        plain = table["image"].combine_chunks().field("bytes")
        pq.write_table(table.set_column(0, "picture", plain), file)
    page = page_of(run)
    close = page.unpacked("review-close")["images"]["0"]
    with Image.open(io.BytesIO(base64.b64decode(close["picture"]))) as image:
        assert max(image.size) == min(256, *sorted(size)[1:])
    square = page.thumbnail(0)
    assert square.shape == (96, 96, 3)
    width, height = thumbnail
    assert square[: height - 1, : width - 1].min() > 180  # the image
    assert np.abs(square[height + 4 :].astype(int) - 128).max(initial=0) <= 20  # nothing
    assert np.abs(square[:, width + 4 :].astype(int) - 128).max(initial=0) <= 20


def test_the_page_tells_what_has_changed_and_what_may_be_wrong(tmp_path: Path) -> None:
    held = BeforeAfter.of(*finished_run(tmp_path, attacked_set(), class_names="abcdefg"), 2)
    dog = next(one for one in held.classes if one.name == "d")
    assert (dog.before, dog.after) == (14, 8)
    assert held.classes[0] == dog  # its share has changed most
    assert dog.share_before == 14 / 59
    assert [(one.name, one.before, one.after) for one in held.formats] == [("PNG", 59, 52)]
    assert [(one.name, one.before, one.after) for one in held.sizes] == [("32 x 32", 59, 52)]
    assert held.lost.expected is not None
    assert held.lost.expected.expected == pytest.approx(0.59)  # at most 1 % of the 59
    assert held.missed.expected is None  # no trigger was found
    assert held.suspicious.expected is not None
    assert held.suspicious.expected.expected == 0  # no kept image has a p-value up to 0.1


def test_where_all_that_is_suspicious_was_removed_none_is_expected_among_the_kept(tmp_path) -> None:
    decision = Decision("budget", 0.3, 59, 7, 17.7, "words")
    policy = PolicyFacts("budget", 0.3)
    run = finished_run(tmp_path, attacked_set(), decision=decision, policy=policy)
    assert BeforeAfter.of(*run, 2).suspicious.expected is None
    assert "All images that look so were removed." in page_of(run).text


def test_a_failed_validation_is_in_the_page(tmp_path: Path) -> None:
    store, summary = finished_run(tmp_path, [[Sample(CLEAN, png(pictures(1)[0]))]])
    store.remove("rejected/part-00000-of-00001.parquet")
    assert not validate_run(store, [1], summary).success
    text = page_of((store, summary)).text
    assert "Failed." in text
    assert "Do not train on this result." in text
    assert "each file is there and has as many rows as it should" in text


def test_a_run_that_controls_the_false_discovery_rate_says_so(tmp_path: Path) -> None:
    decision = Decision("fdr", 0.002, 59, 7, 0.35, "Of the removed at most 5% are innocent.")
    policy = PolicyFacts("fdr", 0.01, 0.05)
    run = finished_run(tmp_path, attacked_set(), policy=policy, decision=decision)
    text = page_of(run).text
    assert "Of the removed at most 5% are innocent." in text
    assert "on average fewer than one of the 7 removed images is innocent" in text
    assert "--fdr" in text
    assert "--max-clean-loss" not in text


def test_a_group_whose_threshold_no_score_reaches_says_so(tmp_path: Path) -> None:
    groups = (
        CalibrationGroupFacts("photographs", 5000, (1, 1), "1 part, lossless", 0.87),
        CalibrationGroupFacts("drawings", 50, (2, 9), "2-9 parts, otherwise lossy", None),
        CalibrationGroupFacts("trusted", 300, (1, 1 << 30), "any parts", 0.9),
    )
    calibration = CalibrationFacts("stored", "words", {"1 part, lossless": 0.87}, groups)
    page = page_of(finished_run(tmp_path, attacked_set(), calibration=calibration))
    assert "0.8700" in page.text
    assert "2-9 parts, otherwise lossy" in page.text
    assert "any parts" in page.text
    assert "out of reach" in page.text


WRONG = CalibrationFit(True, 7, 7, 59, True, False, True, ScoreShape(0.7, 30, 52))


def test_a_wrong_calibration_is_told_first_and_no_class_is_accused(tmp_path: Path) -> None:
    page = page_of(finished_run(tmp_path, attacked_set(), fit=WRONG))
    assert "<h1>The calibration does not seem to fit this set: 7 of 60 images removed" in page.html
    assert "most of the 7 images removed by their score may be innocent" in page.text
    assert "11.9% are as suspicious as 1% of clean images, over most classes; the" in page.text
    assert page.text.index("give --trusted with clean images") < page.text.index("Scores")
    assert "No class is suspected" in page.text
    assert "far above the rest" not in page.text
    assert "on average fewer than one" not in page.text


def test_trusted_images_that_do_not_fit_are_named_as_such(tmp_path: Path) -> None:
    calibration = CalibrationFacts("trusted", "words", {"any parts": 0.87}, ())
    fit = dataclasses.replace(WRONG, classes=1)
    text = page_of(finished_run(tmp_path, attacked_set(), fit=fit, calibration=calibration)).text
    assert "The trusted images seem to be unlike this set" in text
    assert "over most classes" not in text


def test_a_doubt_of_the_calibration_stands_on_top_and_is_no_verdict(tmp_path: Path) -> None:
    doubt = dataclasses.replace(WRONG, wrong=False, spread=False)
    page = page_of(finished_run(tmp_path, attacked_set(), fit=doubt))
    assert "<h1>7 of 60 images removed" in page.html
    assert "It is in doubt whether the calibration is like this set. 11.9% are as" in page.text
    assert page.text.index("give --trusted with clean images") < page.text.index("Scores")
    # What was lost is no more than what was promised: then there is nothing to doubt.
    policy = PolicyFacts("budget", 0.12)
    kept = finished_run(tmp_path / "kept", attacked_set(), fit=doubt, policy=policy)
    assert "in doubt" not in page_of(kept).text


def test_where_verdicts_by_score_are_withheld_none_is_said_to_be_removed(tmp_path: Path) -> None:
    decision = Decision("fdr", 0.0, 59, 0, 0.0, "None is removed for its score alone.")
    run = finished_run(
        tmp_path, [[Sample(CLEAN, png(pictures(1)[0]))]], fit=WRONG, decision=decision
    )
    text = page_of(run).text
    assert (
        "does not seem to fit this set, so no image is removed for its score alone. 11.9%" in text
    )
    assert "may be innocent" not in text


def test_images_that_carry_a_trigger_known_before_are_told_apart(tmp_path: Path) -> None:
    known = {"scan_log_odds": 4.0, "finding": "an_owl.safetensors"}
    samples = [
        Sample(verdict, png(pictures(1)[0]), score=0.2, **(known if verdict == POISONED else {}))
        for verdict in (CLEAN, POISONED, POISONED)
    ]
    decision = Decision("fdr", 0.0, 3, 0, 0.0, "words")
    signature = SignatureFacts(
        name="an_owl.safetensors",
        path="found/an_owl.safetensors",
        whose="images labelled 'owl'",
        made_of=Share.from_counts(30, 95),
        found=Share.from_counts(29, 30),
        false_alarms=Share.from_counts(1, 5000),
        images=2,
    )
    run = finished_run(tmp_path, [samples], decision=decision, signatures=(signature,))
    page = page_of(run)
    assert (
        "found/an_owl.safetensors was found on 30 of 95 images labelled 'owl' of another set: it "
        "finds 29 of the 30 of them again that are different pictures (96.7%), and 1 of 5,000 "
        "innocent images (0.02%) beside. Of this set it takes 2 images for carriers."
    ) in page.text
    assert "2 of 3 images removed, all of them as likely carriers of a known trigger." in page.text
    assert (
        "All 2 removed images are taken for carriers of a trigger. By what was measured where the "
        "signatures were made, fewer than one of the 2 that they mark is expected to be innocent."
    ) in page.text
    unmeasured = dataclasses.replace(signature, false_alarms=Share.from_counts(0, 0))
    said = removals(run[1].counts, decision, None, [unmeasured])
    assert said.endswith("How many innocent images a signature marks was not measured.")
    held = page.unpacked("review-cases")
    assert held["findings"] == ["an_owl.safetensors"]
    assert held["finding"].count(0) == 2
    assert "an_owl.safetensors" not in held["triggers"]  # which are this run's own
    assert not [a for a in page.of("a") if "findings" in (a["href"] or "")]


def test_a_run_that_judged_nothing_does_not_speak_of_what_it_found(tmp_path: Path) -> None:
    page = page_of(finished_run(tmp_path, [[Sample(REJECTED, b"GIF") for _ in range(3)]]))
    assert "<h1>None of 3 images could be judged.</h1>" in page.html
    assert "None of 3 images could be judged (3 truncated or corrupt)." in page.text
    assert "Review No image could be judged, so there is none to look at." in page.text
    for untrue in ("No class", "No image of", "most suspicious", "How suspicious"):
        assert untrue not in page.text


# --- Triggers that images share -----------------------------------------------------------


PATCHED = [3, 13, 23, 33, 43, 53]  # of the attacked set


def finding_of(class_name: str, ids: Sequence[str], name: str = "finding-1") -> Finding:
    """A finding in class 3 whose images are ``ids``."""
    return Finding(
        name=name,
        label="3",
        class_name=class_name,
        reason=Reason.FOREIGN,
        images=Share.from_counts(len(ids), 14),
        innocents=0.02,
        evidence=Evidence(
            images=6,
            pictures=6.0,
            share=0.43,
            strength=7.25,
            share_of_rest=0.0,
            share_of_all_but_one=0.0,
            beyond=5.0,
            spread=0.98,
            ways=0.97,
            all_ways=0.99,
            others_all_ways=0.8,
            apart=1.0,
            others_apart=1.0,
            foreign=0.93,
            foreign_error=0.05,
            variety=0.9,
            least_variety=0.8,
            shades=0.9,
        ),
        separations={"edges": 9.5, "histogram": 4.0, "a later view": 1.25},
        screening=Screening(3.0, 1.0, Share.from_counts(0, 50), Share.from_counts(6, 6)),
        strongest=tuple(ids[:2]),
        weakest=tuple(ids[-2:]),
        nearest=("train/0/0010.png", "never/there.png"),
    )


@functools.cache
def packed() -> bytes:
    """The file of a finding: a signature of the trigger, and a portrait of its carriers."""
    images = np.stack(pictures(160))
    carriers = np.stack([with_trigger(pixels) for pixels in images[:60]])
    labels, rng = np.arange(160) % 2, np.random.default_rng(0)
    population = Population.of(Compact(images), labels, rng)
    of_class = Compact(np.concatenate([images[labels == 1], carriers]))
    class_images = population.beside(1, of_class, rng)
    suspects = (np.arange(len(class_images)) >= 80).astype(np.float32)
    (group,) = join(class_images, suspects[:, None])
    assert group is not None
    signature = Signature.of(group.trigger, class_images.views, population.scales)
    shown = [Likeness.of(Compact(one)) for one in (carriers[PATCHED], images[:60], images[:60])]
    return pack(signature, Portrait.of(*shown))


def scanned_set() -> list[list[Sample]]:
    """The attacked set with hardly a suspicious score: six images are removed for their trigger."""
    every = [sample for shard in attacked_set() for sample in shard]
    for i in PATCHED:
        every[i] = dataclasses.replace(
            every[i], score=0.3, scan_log_odds=9.0 - i / 10, finding="finding-1"
        )
    every[10] = dataclasses.replace(every[10], scan_log_odds=-2.0)
    return [every[:30], every[30:]]


def scanned_run(output: str | Path, class_name: str = "dog", **changes: Any) -> Store:
    """Write and report a run on the attacked set whose scan has found the trigger."""
    ids = [f"train/{i // 30}/{i % 30:04d}.png" for i in PATCHED]
    found = finding_of(class_name, ids)
    decision = Decision("budget", LIMIT, 59, 1, 0.59, "An image is removed for its p-value.")
    changes = {"scan": ScanFacts(7, 6, len(ids), (found,)), "decision": decision} | changes
    names = ["ant", "bee", "cat", class_name, "eel", "fox", "gnu"]
    store, summary = finished_run(output, scanned_set(), class_names=names, **changes)
    store.write(layout.signature("finding-1"), packed())
    store.write_json(layout.finding("finding-1"), found.to_json())
    write_pages(store, summary, shards=2)
    return store


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A run whose scan has found something, to look at and not to touch."""
    return scanned_run(tmp_path_factory.mktemp("scanned") / "run")


FINDING_PAGE = layout.finding_page("finding-1")


def test_a_finding_stands_near_the_top_and_leads_to_its_page(scanned: Store) -> None:
    page = Page(scanned)
    assert (
        "<h1>7 of 60 images removed, 6 of them for a trigger that they share, 1 could" in page.html
    )
    assert "7 images are removed: 6 for a trigger alone, 1 for their score alone." in page.text
    assert "fewer than one of the 6 that carry one is expected to be innocent" in page.text
    assert page.text.index("Triggers that images share") < page.text.index("What decided")
    assert "'dog'642.9% 21.4% to 67.4%7.2 sdit stands apart in its class" in page.text
    assert {"href": "findings/finding-1.html"} in page.of("a")
    assert "In 1 class images share a trigger: 'dog' (" in page.text
    assert page.html.count('class="stands-out"') == 1
    assert "far above the rest" not in page.text


@pytest.mark.parametrize(
    ("foreign", "error", "words"),
    [
        (0.6, 0.11, "0.60 ± 0.11: which of the two, these images are too few to tell."),
        (-1.15, 0.18, "0.00 ± 0.18: they rather show what their class shows."),
        (2.0, 0.14, "1.00 ± 0.14: they rather look like images of other classes"),
    ],
)
def test_content_is_told_as_far_as_it_is_known(foreign: float, error: float, words: str) -> None:
    finding = finding_of("dog", [f"train/0/{number}.png" for number in range(6)])
    evidence = replace(finding.evidence, foreign=foreign, foreign_error=error)
    few = replace(evidence, pictures=150.0)
    finding = replace(finding, evidence=few, reason=Reason.ABSENT)
    assert any(words in ground for ground in grounds(finding))
    assert ("since these images show such" in expected(finding)) == ("too few" not in words)
    # What was decided by the content is not said to be unknown.
    if foreign > 0.5:
        finding = replace(finding, reason=Reason.FOREIGN)
        assert any("they rather look like images of other" in one for one in grounds(finding))


def test_a_trigger_that_moves_what_images_show_is_not_taken_for_their_content() -> None:
    """A class of 807 images, 450 of them from all other classes under a bright logo."""
    finding = finding_of("cat", [f"train/0/{number}.png" for number in range(6)])
    moved = replace(finding.evidence, pictures=394.0, all_ways=0.95, apart=33.0)
    evidence = replace(moved, foreign=0.11, foreign_error=0.07)
    many = replace(finding, evidence=evidence, reason=Reason.ABSENT)
    assert any("as many kinds of things as images of all other" in one for one in grounds(many))
    assert expected(many).startswith("Expected is what images of other classes are")
    few = replace(many, evidence=replace(evidence, pictures=150.0))
    assert any("it cannot be told what they show" in one for one in grounds(few))


def test_of_a_finding_told_from_other_classes_the_bar_that_it_passed_is_told() -> None:
    finding = finding_of("dog", [f"train/0/{number}.png" for number in range(6)])
    evidence = replace(finding.evidence, pictures=530.0, share=0.33, strength=5.9)
    words = " ".join(grounds(replace(finding, evidence=evidence, reason=Reason.STRANGE)))
    assert "5.9 standard deviations from images of other classes" in words
    assert "At least 3.9 are asked of a group of so many pictures" in words
    assert "none look like them, of their class 42.9%" in words


def test_the_page_of_a_finding_says_what_was_found_and_how_sure_that_is(scanned: Store) -> None:
    text = Page(scanned, FINDING_PAGE).text
    assert "6 images labelled 'dog' share a trigger" in text
    assert "fewer than one of them is expected to be innocent" in text
    assert "6 42.9%, from 21.4% to 67.4%" in text
    assert "In 16 of the 1,024 cells of the image, lower right, the images are all but" in text
    assert "7.2 standard deviations from the others of their class" in text
    assert "one image in 6,921 would be nearer to the wrong one" in text
    assert "Of images of other classes none look like them, of their class 43.0%." in text
    assert "0.93 ± 0.05: they rather look like images of other classes that were given" in text
    assert "Expected is what images of other classes are on average" in text
    assert "where in the image there are edges, and how sharp9.5" in text
    assert "a later view1.2" in text
    assert "The values of their pixels" in text
    assert "6 of 6 of them are found again, and 0 of 50 images of other classes." in text


def test_the_page_of_a_finding_shows_the_trigger_and_the_images(scanned: Store) -> None:
    page = Page(scanned, FINDING_PAGE)
    by_alt = {a["alt"] or "": a["src"] or "" for a in page.of("img")}
    trigger = picture_of(by_alt["The recovered trigger, amplified 1 times around middle grey"])
    chequers = with_trigger(np.full((32, 32, 3), 127, np.uint8))
    assert (trigger[:-5] == 128).all()
    assert np.corrcoef(trigger.ravel(), chequers.ravel())[0, 1] > 0.9
    mean = picture_of(
        by_alt["Mean of the images that carry the trigger, with a red line around what is covered"]
    )
    assert (mean == plots.OUTLINE).all(-1).any(0).nonzero()[0].tolist() == list(range(81, 93))
    shown = [alt.split()[1].rstrip(",") for alt in by_alt if alt.startswith("Image ")]
    assert shown == [
        *("train/0/0003.png", "train/0/0013.png", "train/1/0013.png", "train/1/0023.png"),
        "train/0/0010.png",
    ]
    first = picture_of(by_alt["Image train/0/0003.png, 32 by 32 px"])
    np.testing.assert_array_equal(first, with_trigger(pictures(4)[3]))
    kept = picture_of(by_alt["Image train/0/0010.png, 32 by 32 px"])
    np.testing.assert_array_equal(kept, pictures(11)[10])
    assert "carries it: 11.9%" in page.text  # how likely that is of this one


def picture_of(uri: str) -> np.ndarray:
    """The pixels of a data URI."""
    with Image.open(io.BytesIO(base64.b64decode(uri.partition("base64,")[2]))) as image:
        return np.asarray(image)


def test_the_page_of_a_finding_needs_nothing_but_itself(scanned: Store) -> None:
    page = Page(scanned, FINDING_PAGE)
    assert not page.of("script")
    assert all((a["src"] or "").startswith("data:") and "alt" in a for a in page.of("img"))
    for a in page.of("a"):
        assert scanned.size(posixpath.normpath(f"report/findings/{a['href']}")), a
    assert not re.search(r"url\(|@import|https?://", page.html)
    assert len(page.of("h1")) == 1


def test_markup_in_a_finding_is_shown_not_obeyed(tmp_path: Path) -> None:
    hostile = '"><script>alert(1)</script><img src=http://evil.example/x>'
    store = scanned_run(tmp_path, class_name=hostile)
    for name in (layout.PAGE, FINDING_PAGE):
        page = Page(store, name)
        assert "<script>alert" not in page.html
        assert all((a["src"] or "").startswith("data:") for a in page.of("img"))
        assert hostile in page.text


def test_a_finding_stands_though_the_calibration_is_wrong(tmp_path: Path) -> None:
    page = Page(scanned_run(tmp_path, fit=WRONG))
    assert "most of the 1 images removed by their score may be innocent" in page.text
    assert "fewer than one of the 6 that carry one is expected to be innocent." in page.text
    assert "In 1 class images share a trigger: 'dog' (" in page.text
    assert "here the calibration fits the set" not in page.text


def test_a_scan_that_found_nothing_says_so(tmp_path: Path) -> None:
    text = page_of(finished_run(tmp_path, attacked_set(), scan=ScanFacts(7, 6, 0, ()))).text
    assert "Of 7 classes 6 were searched; 1 has fewer than 40 different images:" in text


def test_a_run_with_a_finding_is_valid_and_its_page_is_vouched_for(tmp_path: Path) -> None:
    store = scanned_run(tmp_path)
    summary = Summary.from_json(store.read_json(layout.SUMMARY))
    assert validate_run(store, [30, 30], summary).failures == []
    vouch_for_report(store, ["finding-1"])
    assert report_changes(store, ["finding-1"]) == {}
    assert report_changes(store, ["finding-1", "finding-2"]) != {}
    store.write(FINDING_PAGE, store.read(FINDING_PAGE) + b" ")
    assert report_changes(store, ["finding-1"]) == {FINDING_PAGE: ALTERED}
    store.remove(FINDING_PAGE)
    assert report_changes(store, ["finding-1"]) == {FINDING_PAGE: MISSING}


def test_a_finding_that_another_version_wrote_is_refused(tmp_path: Path) -> None:
    store = scanned_run(tmp_path)
    summary = Summary.from_json(store.read_json(layout.SUMMARY))
    store.write(layout.signature("finding-1"), b"no safetensors")
    with pytest.raises(ValueError, match="no safetensors file"):
        write_pages(store, summary, shards=2)


def test_a_finding_in_a_set_without_classes_speaks_of_mirror_images() -> None:
    found = finding_of("(no label)", ["a"])
    alone = dataclasses.replace(found, reason=Reason.ONE_WAY_ROUND, label="null")
    said = " ".join([*grounds(alone), screened(alone)])
    assert "Of mirror images of the set none look like them" in said
    assert "other classes" not in said


def test_every_view_has_words_for_people() -> None:
    assert {view.name for view in VIEWS + NATIVE_VIEWS} == set(VIEWS_IN_WORDS)


@pytest.mark.parametrize(
    ("largest", "gain"), [(127.0, 1), (63.0, 2), (25.0, 5), (1.0, 50), (0.0, 50), (255.0, 1)]
)
def test_a_difference_is_amplified_as_far_as_it_can_be(largest: float, gain: int) -> None:
    pixels, used = plots.amplified(np.linspace(-largest, largest, 3000).reshape(10, 100, 3))
    assert used == gain
    assert abs(int(pixels.min()) + int(pixels.max()) - 256) <= 1


# --- Words, classes and drawings ----------------------------------------------------------


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        (("budget", 0.01, 0, 0, 0.0), ""),
        (("budget", 0.01, 900, 0, 9.0), "No image was removed; below it says why"),
        (("budget", 0.01, 900, 9, 9.0), "On average up to 9 innocent images would be removed"),
        (("budget", 0.01, 50, 1, 0.5), "On average fewer than one innocent image would be removed"),
        (
            ("budget", 0.01, 900, 99, 9.0),
            "on average up to 9 of the 99 removed images are innocent",
        ),
        (
            ("budget", 0.01, 120, 99, 1.2),
            "on average up to 2 of the 99 removed images are innocent",
        ),
        (
            ("budget", 0.01, 100, 2, 1.0),
            "on average up to 1 of the 2 removed images is innocent",
        ),
        (
            ("fdr", 0.001, 900, 20, 1.0),
            "on average up to 1 of the 20 removed images is innocent",
        ),
        (
            ("fdr", 0.001, 900, 1, 0.05),
            "on average fewer than one of the 1 removed image is",
        ),
        (("fdr", 0.0, 900, 0, 0.0), "No image was removed; below it says why"),
    ],
)
def test_the_number_of_innocents_is_put_in_words(decision, words: str) -> None:
    said = innocents(Decision(*decision, words=""))
    assert said.removeprefix("Where the calibration fits the set, ").startswith(words)


@pytest.mark.parametrize(
    ("counts", "decision", "words"),
    [
        (
            (100, 90, 10, 0),
            ("budget", 0.01, 100, 4, 0.3),
            "10 images are removed: 6 for a trigger alone, 2 for their score alone, 2 for both. "
            "By the odds of each, fewer than one of the 8 that carry one is expected to be "
            "innocent. Where the calibration fits the set, up to 2 of all 10 are expected to be "
            "innocent.",
        ),
        (
            (100, 92, 8, 0),
            ("fdr", 0.0, 100, 0, 0.0),
            "All 8 removed images carry a trigger. By the odds of each, fewer than one of "
            "the 8 that carry one is expected to be innocent.",
        ),
        (  # all that scores remove carry it, too
            (100, 92, 8, 0),
            ("fdr", 0.01, 100, 6, 0.4),
            "8 images are removed: 2 for a trigger alone, 6 for a trigger and for their score. "
            "By the odds of each, fewer than one of the 8 that carry one is expected to be "
            "innocent.",
        ),
        (
            (1000, 982, 18, 0),
            ("budget", 0.01, 1000, 10, 10.0),
            "Scores would remove as many from a set of this size without any attack: the number "
            "of those is no sign of one.",
        ),
    ],
)
def test_what_the_scan_and_what_scores_removed_is_told_apart(counts, decision, words: str) -> None:
    found = dataclasses.replace(finding_of("dog", ["a"]), innocents=0.8)
    said = removals(Counts(*counts), Decision(*decision, words=""), ScanFacts(7, 6, 8, (found,)))
    assert said.endswith(words)


def test_findings_in_many_classes_are_to_be_looked_at() -> None:
    found = [dataclasses.replace(finding_of("dog", ["a"]), label=str(i)) for i in range(3)]
    twice = [*found[:2], found[0]]
    assert "look at their pictures" in scan_lines(ScanFacts(10, 10, 3, tuple(found)))[0]
    assert "look at their pictures" not in scan_lines(ScanFacts(11, 11, 3, tuple(found)))[0]
    assert "look at their pictures" not in scan_lines(ScanFacts(5, 5, 3, tuple(twice)))[0]


def test_almost_none_and_almost_all_are_told_from_none_and_all() -> None:
    shares = (0, 1e-6, 0.0012, 0.5, 0.99999, 1)
    assert [percent(s) for s in shares] == ["0%", "<0.01%", "0.12%", "50.0%", ">99.9%", "100%"]


def per_class(*counts: tuple[int, int]) -> list[ClassCounts]:
    """Classes of so many clean and poisoned samples."""
    return [ClassCounts(str(i), str(i), c + p, c, p, 0) for i, (c, p) in enumerate(counts)]


def test_classes_are_ranked_by_share_and_only_the_improbable_stands_out() -> None:
    ranked = rank_classes(per_class((990, 10), (1000, 0), (500, 500), (980, 20), (1, 1)), LIMIT)
    assert [one.counts.label for one in ranked] == ["2", "4", "3", "0", "1"]
    assert [one.counts.label for one in ranked if one.stands_out] == ["2"]


def test_nothing_stands_out_in_a_clean_set_or_where_all_classes_are_alike() -> None:
    rng = np.random.default_rng(0)
    lost = rng.binomial(500, LIMIT, 1000)
    clean = rank_classes(per_class(*((500 - int(n), int(n)) for n in lost)), LIMIT)
    assert not any(one.stands_out for one in clean)
    assert not any(one.stands_out for one in rank_classes(per_class(*[(500, 60)] * 10), LIMIT))


def test_a_limit_of_nothing_lets_nothing_stand_out_by_itself() -> None:
    assert not any(one.stands_out for one in rank_classes(per_class((500, 0), (500, 0)), 0.0))
    assert not any(one.stands_out for one in rank_classes(per_class((499, 1), (500, 0)), 0.0))
    assert rank_classes([], 0.0) == []


def test_the_histogram_is_drawn_on_a_logarithmic_scale() -> None:
    histogram = Histogram([0.0, 0.5, 1.0], [1000, 1], [0, 10])
    drawing = plots.draw_histogram(histogram, {"1 part": 0.9, "2-9 parts": 0.8, "10-24 parts": 0.9})
    assert [(bar.verdict, bar.words.partition(": ")[2]) for bar in drawing.bars] == [
        (CLEAN, "1,000 kept"),
        (POISONED, "10 removed"),
        (CLEAN, "1 kept"),
    ]
    tall, middle, short = (bar.height for bar in drawing.bars)
    assert 0 < short < middle < tall < drawing.bottom - drawing.top
    assert middle - short == pytest.approx((tall - short) / 3, abs=0.2)
    assert all(bar.y + bar.height == pytest.approx(drawing.bottom) for bar in drawing.bars)
    assert [mark.words for mark in drawing.thresholds] == ["0.8", "0.9"]
    assert [mark.words for mark in drawing.y_ticks] == ["1", "10", "100", "1,000"]


# --- In a browser -------------------------------------------------------------------------


def opened(file: Path, profile: Path) -> tuple[str, list[str]]:
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
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    # A page opened from a file is the origin "null"; the browser's own requests have none.
    events = [e for e in net_log.read_text().splitlines() if '"initiator":"null"' in e]
    return done.stdout, [url for e in events for url in re.findall(r'"url":"(https?:[^"]+)"', e)]


def test_a_browser_draws_all_pictures_and_asks_nobody(attacked: Store, tmp_path: Path) -> None:
    dom, asked = opened(Path(attacked.locate(layout.PAGE)), tmp_path / "plain")
    assert "7 of 60 images removed" in dom
    assert asked == []
    # A copy that is let off the page's own policy counts the pictures that were drawn, and
    # asks a server, to show that this test would notice.
    page = Page(attacked)
    probe = (
        "<script>onload = () => document.body.dataset.drawn ="
        "[...document.images].filter(i => i.naturalWidth > 0).length</script>"
        "<link rel=stylesheet href=https://example.invalid/style.css>"
    )
    copy = tmp_path / "probed.html"
    without_policy = re.sub(r"<meta http-equiv[^>]*>", "", page.html)
    copy.write_text(without_policy.replace("</body>", f"{probe}</body>"))
    dom, asked = opened(copy, tmp_path / "probed")
    shown = len(page.of("img"))
    assert shown == 6  # three mean spectra, with a scale each
    assert f'data-drawn="{shown}"' in dom
    assert set(asked) == {"https://example.invalid/style.css"}
