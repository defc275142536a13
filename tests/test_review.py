"""The review shows what there is to decide, the decisions come out, and they are carried out."""

import base64
import csv
import io
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import PATIENCE
from datasets import load_dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait
from test_report import Page, Sample, attacked_set, finished_run, pictures, with_trigger

from detector.inputs import Tiles
from detector.model import Detector
from freqsan import InputError, RunError, apply, clean, report
from pipelines.report.page import write_pages
from pipelines.report.review import cases
from pipelines.report.review import pictures as review_pictures
from pipelines.reviewing.decisions import Decisions
from pipelines.runs import amending, layout
from pipelines.runs.store import Store
from sanitizer.png import encode as png
from sanitizer.records import CLEAN, POISONED

# --- What is shown ------------------------------------------------------------------------


def page_of(output: Path, shards: list[list[Sample]], **changes: Any) -> Page:
    store, summary = finished_run(output, shards, **changes)
    write_pages(store, summary, shards=len(shards))
    return Page(store)


def test_every_removed_image_is_there_and_the_doubtful_come_first(tmp_path: Path) -> None:
    held = page_of(tmp_path, attacked_set()).unpacked("review-cases")
    removed = [i for i, one in zip(held["id"], held["removed"], strict=True) if one]
    assert len(removed) == 7
    assert {"train/0/0003.png", "train/0/0000.png"} <= set(removed)
    # A p-value of 0.001 is below the limit of 0.01 by a factor of ten, and 0.5 above it.
    sure = dict(zip(held["id"], held["sure"], strict=True))
    assert sure["train/0/0003.png"] == round(float(np.log(10)), 2)
    assert sure["train/0/0002.png"] == round(float(np.log(0.01 / 0.5)), 2)
    assert held["limit"] == 0.01


def test_of_too_many_the_doubtful_stay_and_of_the_kept_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cases, "MOST_CASES", 3)
    monkeypatch.setattr(cases, "NEAREST_KEPT", 2)
    data = png(pictures(1)[0])
    odds = [9.0, 2.0, 5.0, 1.0, -8.0, -0.5, -3.0, -0.1]
    samples = [
        Sample(POISONED if one > 0 else CLEAN, data, scan_log_odds=one, finding="finding-1")
        if one > 0
        else Sample(CLEAN, data, scan_log_odds=one)
        for one in odds
    ]
    store, summary = finished_run(tmp_path, [samples[:4], samples[4:]])
    # Without the limit nothing is removed by score, so the odds alone say how sure it is.
    rows = cases.select_cases(
        store, replace(summary, decision=replace(summary.decision, limit=1e-4)), 2
    )
    shown = rows.rows["scan_log_odds"].to_pylist()
    assert shown == [2.0, 5.0, 1.0, -0.5, np.float32(-0.1)]
    assert rows.left_out == 1


def test_an_image_of_a_review_is_shown_whatever_its_verdict(tmp_path: Path) -> None:
    store, summary = finished_run(tmp_path, attacked_set())
    name = layout.SCORES.name(0, 2)
    table = pq.read_table(tmp_path / name)
    rows = table.to_pylist()
    rows[5] |= {"decided_by": "review", "verdict_before": POISONED, "decided_why": "a <b>bird"}
    pq.write_table(pa.Table.from_pylist(rows, table.schema), tmp_path / name)
    write_pages(store, summary, shards=2)
    held = Page(store).unpacked("review-cases")
    place = held["id"].index("train/0/0005.png")
    assert (held["removed"][place], held["before"][place]) == (0, 1)
    assert held["why"][place] == "a <b>bird"


def test_pictures_are_those_of_their_images_in_every_shard(tmp_path: Path) -> None:
    page = page_of(tmp_path, attacked_set())
    held = page.unpacked("review-cases")
    originals = pictures(60)
    for sample_id, poisoned in (("train/0/0003.png", 3), ("train/1/0023.png", 53)):
        place = held["id"].index(sample_id)
        expected = with_trigger(originals[poisoned]).astype(float)
        assert np.abs(page.thumbnail(place).astype(float) - expected).mean() < 12
        close = page.unpacked("review-close")["images"][str(place)]
        with Image.open(io.BytesIO(base64.b64decode(close["picture"]))) as image:
            np.testing.assert_array_equal(np.asarray(image.convert("RGB")), expected)


def test_neighbours_are_kept_images_of_the_same_class_that_look_alike(tmp_path: Path) -> None:
    first, second, third = pictures(3)
    near = np.clip(first.astype(int) + 5, 0, 255).astype(np.uint8)
    samples = [
        Sample(POISONED, png(first), 1, "removed"),
        Sample(CLEAN, png(second), 1, "unlike"),
        Sample(CLEAN, png(near), 1, "alike"),
        Sample(CLEAN, png(near), 2, "of another class"),
        Sample(POISONED, png(first), 1, "removed too"),
        Sample(CLEAN, png(third), 1, "unlike, too"),
        Sample(CLEAN, png(third), 1, "and this"),
    ]
    page = page_of(tmp_path, [samples[:4], samples[4:]])
    close, held = page.unpacked("review-close"), page.unpacked("review-cases")
    beside = close["images"][str(held["id"].index("removed"))]["near"]
    assert len(beside) == 3
    names = [close["near"][place]["id"] for place in beside]
    assert names[0] == "alike"
    assert "of another class" not in names


def test_the_place_that_decided_is_the_tile_with_the_highest_score() -> None:
    detector = Detector.load("freqsan-small")
    coarse = np.random.default_rng(1).integers(60, 200, (4, 5, 3), dtype=np.uint8)
    photo = np.asarray(Image.fromarray(coarse).resize((160, 128), Image.Resampling.BICUBIC)).copy()
    photo[70:82, 100:112] = 255 * (np.indices((12, 12)).sum(axis=0) % 2)[..., None]
    box = detector.most_suspicious(photo)
    assert box is not None
    left, top = 160 * box.left, 128 * box.top
    assert left < 112
    assert left + 160 * box.width > 100
    assert top < 82
    assert top + 128 * box.height > 70


def test_in_a_small_image_the_place_is_that_without_which_the_score_falls() -> None:
    detector = Detector.load("freqsan-small")
    coarse = np.random.default_rng(1).integers(60, 200, (4, 4, 3), dtype=np.uint8)
    plain = np.asarray(Image.fromarray(coarse).resize((32, 32), Image.Resampling.BICUBIC))
    box = detector.most_suspicious(with_trigger(plain))
    assert box is not None
    assert box.left + box.width > 27 / 32
    assert box.top + box.height > 27 / 32
    assert (box.width, box.height) == (0.25, 0.25)


@settings(max_examples=50)
@given(st.integers(1, 400), st.integers(1, 400))
def test_every_part_of_an_image_has_its_place(height: int, width: int) -> None:
    boxes = Tiles().boxes(height, width)
    assert len(boxes) == len(Tiles().cut(np.zeros((height, width, 3), np.uint8)))
    for box in boxes:
        assert box.left >= 0
        assert box.left + box.width <= 1 + 1e-9
        assert box.top >= 0
        assert box.top + box.height <= 1 + 1e-9


@pytest.mark.parametrize("total", [1, 99, 100, 350])
def test_sheets_hold_every_picture_and_keep_to_their_bytes(total: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (total, 32, 32, 3), dtype=np.uint8)
    sheets = review_pictures.Sheets(total, 200 * total)
    for one in noise:
        sheets.add(one)
    sheets.finish()
    assert len(sheets.sheets) == -(-total // review_pictures.SHEET)
    # The header of a sheet with one picture alone takes more than its share.
    assert sum(len(sheet.data) for sheet in sheets.sheets) <= max(200 * total, 400)


# --- Decisions ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        'sample_id,decision,why\r\na.png,keep,\r\n"b,""c.png",remove,"it, too"\r\n',
        '\ufeffdecision;Sample_ID;why\nKEEP;a.png;\nremove;"b,""c.png";it, too\n',
        'why\tsample_id\tdecision\n\ta.png\tkeep\n\topen.png\t\nit, too\t"b,""c.png"\tremove\n',
    ],
)
def test_any_table_with_the_two_columns_is_read(tmp_path: Path, text: str) -> None:
    file = tmp_path / "decisions.csv"
    file.write_text(text, encoding="utf-8")
    read = {key: (one.verdict, one.why) for key, one in Decisions.of(file).by_id.items()}
    assert read == {"a.png": (CLEAN, None), 'b,"c.png': (POISONED, "it, too")}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"sample_id,verdict\na,keep\n", "decision is missing, found 'sample_id', 'verdict'"),
        (b"", "sample_id and decision are missing, found nothing"),
        (b"sample_id,decision\na,keep\nb,maybe\n", "line 3: expected the decision keep or remove"),
        (b"sample_id,decision\na,keep\na,remove\n", "line 3: 'a' is decided the other way round"),
        (b'sample_id,decision\n"a,keep\n', "is no CSV"),
        (b"sample_id,decision\n\xff,keep\n", "expected text in UTF-8"),
    ],
)
def test_what_is_no_table_of_decisions_is_one_line(tmp_path: Path, data: bytes, words: str) -> None:
    file = tmp_path / "decisions.csv"
    file.write_bytes(data)
    with pytest.raises(InputError) as raised:
        Decisions.of(file)
    assert words in str(raised.value)
    assert "decisions.csv" in str(raised.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv: cannot be read \(No such file"):
        Decisions.of(tmp_path / "none.csv")


# --- Applied ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of ``clean`` with removed images, in three shards; not to be touched."""
    folder = tmp_path_factory.mktemp("judged")
    for i, pixels in enumerate(pictures(60)):
        file = folder / "photos" / ("cat" if i % 2 else "dog") / f"{i:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(with_trigger(pixels) if i % 12 == 1 else pixels))
    (folder / "photos" / "cat" / "broken.png").write_bytes(b"no image")
    clean(
        *(folder / "photos", folder / "cleaned"),
        policy="budget",
        max_clean_loss=0.1,
        scan=False,
        shard_rows=25,
        quiet=True,
    )
    return folder / "cleaned"


@pytest.fixture
def output(judged: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(judged, tmp_path / "cleaned"))


def rows_of(output: Path, folder: str) -> dict[str, dict[str, Any]]:
    names = "part" if folder == "scores" else folder
    files = sorted((output / ("scores" if folder == "scores" else "data")).glob(f"{names}-*"))
    return {row["sample_id"]: row for file in files for row in pq.read_table(file).to_pylist()}


def of_verdict(output: Path, verdict: str) -> list[str]:
    return [i for i, row in rows_of(output, "scores").items() if row["verdict"] == verdict]


def test_decisions_move_samples_and_leave_an_audit_row_each(output: Path) -> None:
    before = rows_of(output, "clean") | rows_of(output, "poisoned")
    removed, kept = of_verdict(output, POISONED), of_verdict(output, CLEAN)
    assert len(removed) >= 3
    back, out, same = removed[0], kept[0], removed[1]
    decisions = output.parent / "decisions.csv"
    decisions.write_text(
        f"sample_id,decision,why\n{back},keep,a cat\n{out},remove,\n{same},remove,\n"
    )
    applied = apply(output, decisions, quiet=True)
    assert (applied.decided, applied.moved_to_clean, applied.moved_to_poisoned) == (3, 1, 1)
    assert applied.counts.poisoned == len(removed)

    clean_rows, poisoned_rows = rows_of(output, "clean"), rows_of(output, "poisoned")
    assert back in clean_rows
    assert {out, same} <= poisoned_rows.keys()
    assert clean_rows | poisoned_rows == before  # to the last byte of every image
    scores = rows_of(output, "scores")
    # The order is that of the input in every file.
    assert list(clean_rows) == [i for i in scores if i in clean_rows]
    assert list(poisoned_rows) == [i for i in scores if i in poisoned_rows]
    audit = ("verdict", "decided_by", "decided_why", "verdict_before")
    assert [scores[back][name] for name in audit] == [CLEAN, "review", "a cat", POISONED]
    assert [scores[out][name] for name in audit] == [POISONED, "review", None, CLEAN]
    assert [scores[same][name] for name in audit] == [POISONED, "review", None, POISONED]
    assert [scores[removed[2]][name] for name in audit] == [POISONED, "freqsan", None, None]
    manifest = Store.at(output).read_json(layout.MANIFEST)
    assert manifest["counts"] == applied.counts.to_json()
    (review,) = manifest["reviews"]
    assert (review["by"], review["source"]) == ("review", "decisions.csv")
    assert {one["sample_id"]: one["after"] for one in review["samples"]} == {
        **{back: CLEAN, out: POISONED, same: POISONED}
    }
    splits = load_dataset(str(output))
    assert {name: len(split) for name, split in splits.items()} == {
        **{CLEAN: applied.counts.clean, POISONED: applied.counts.poisoned}
    }
    assert report(output).sha256 == applied.sha256  # all is as it was written
    page = Page(Store.at(output))
    text = page.text
    assert f"<h1>After a review: {len(removed)} of 61 images removed, 1 could" in page.html
    assert f"Before the review: {len(removed)} of 61 images removed" in text
    assert "people have decided on 3 images" in text
    assert "1 that freqsan had removed is kept, 1 that it had kept is removed." in text


def test_the_same_decisions_again_change_nothing_and_others_undo_them(output: Path) -> None:
    sample, before = of_verdict(output, POISONED)[0], rows_of(output, "poisoned")
    first = apply(output, {sample: "keep"}, quiet=True)
    files = {file: file.read_bytes() for file in output.rglob("*") if file.is_file()}
    again = apply(output, {sample: "keep"}, quiet=True)
    assert (again.decided, again.sha256) == (0, first.sha256)
    assert {file: file.read_bytes() for file in output.rglob("*") if file.is_file()} == files
    apply(output, {sample: "remove"}, quiet=True)
    assert rows_of(output, "poisoned") == before
    row = rows_of(output, "scores")[sample]
    assert (row["verdict"], row["verdict_before"]) == (POISONED, POISONED)
    facts = Store.at(output).read_json(layout.SUMMARY)["review"]
    assert (facts["decided"], facts["kept"], facts["removed"]) == (1, 0, 0)


def test_a_finished_run_that_was_reviewed_is_still_finished(output: Path, judged: Path) -> None:
    apply(output, {of_verdict(output, POISONED)[0]: "keep"}, quiet=True)
    settings_of_run: dict[str, Any] = {"policy": "budget", "max_clean_loss": 0.1, "scan": False}
    manifest = clean(judged.parent / "photos", output, shard_rows=25, quiet=True, **settings_of_run)
    assert len(manifest.reviews) == 1


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        ("cat/nobody.png", "'cat/nobody.png' is not a sample of this run; nothing was changed"),
        ("cat/broken.png", "'cat/broken.png' could not be judged: it is in rejected/"),
    ],
)
def test_a_wrong_id_is_one_line_and_changes_nothing(output: Path, sample: str, words: str) -> None:
    files = {file: file.read_bytes() for file in output.rglob("*") if file.is_file()}
    decisions = {of_verdict(output, POISONED)[0]: "keep", sample: "keep"}
    with pytest.raises(InputError) as raised:
        apply(output, decisions, quiet=True)
    assert words in str(raised.value)
    assert {file: file.read_bytes() for file in output.rglob("*") if file.is_file()} == files


def test_a_run_that_takes_the_place_of_a_reviewed_one_says_so(
    output: Path, judged: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    apply(output, {of_verdict(output, POISONED)[0]: "keep"}, quiet=True)
    clean(judged.parent / "photos", output, scan=False, overwrite=True)
    assert "decisions of people" in capfd.readouterr().err


def test_no_decision_and_no_run_are_told(output: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no decision"):
        apply(output, {"a.png": ""}, quiet=True)
    with pytest.raises(InputError, match="does not exist"):
        apply(tmp_path / "nowhere", {"a.png": "keep"}, quiet=True)


def test_an_output_that_was_changed_meanwhile_is_refused(output: Path) -> None:
    sample = of_verdict(output, POISONED)[0]
    for file in (output / "data").glob("poisoned-*"):
        file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(RunError, match="is not what freqsan wrote"):
        apply(output, {sample: "keep"}, quiet=True)


@pytest.mark.parametrize("moved", [0, 1, 3])
def test_a_review_that_was_killed_while_moving_is_carried_to_its_end(
    output: Path, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    removed = of_verdict(output, POISONED)
    whole = Path(shutil.copytree(output, output.parent / "whole"))
    apply(whole, {removed[0]: "keep"}, quiet=True)
    move, done = Store.move, []

    def killed(store: Store, name: str, to: str) -> None:
        if len(done) == moved:
            raise KeyboardInterrupt
        done.append(name)
        move(store, name, to)

    monkeypatch.setattr(Store, "move", killed)
    with pytest.raises(KeyboardInterrupt):
        apply(output, {removed[0]: "keep"}, quiet=True)
    monkeypatch.undo()
    assert report(output).files == report(whole).files  # and is no false alarm
    assert Page(Store.at(output)).text.count("After a review: ") == 2  # in the title, too
    for name in ("clean", "poisoned"):
        assert rows_of(output, name) == rows_of(whole, name)


def test_a_review_that_was_killed_before_its_commit_has_changed_nothing(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows_of(output, "poisoned"), report(output).sha256

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.jobs.apply.cleaned_card", killed)
    with pytest.raises(KeyboardInterrupt):
        apply(output, {next(iter(before[0])): "keep"}, quiet=True)
    monkeypatch.undo()
    assert amending.staged(Store.at(output)).names("scores")
    assert (rows_of(output, "poisoned"), report(output).sha256) == before
    assert not (output / layout.WORK).exists()


def test_a_review_is_applied_in_an_object_store(output: Path, s3_bucket: str) -> None:
    there = Store.at(f"{s3_bucket}/reviewed")
    for file in output.rglob("*"):
        if file.is_file():
            there.write(file.relative_to(output).as_posix(), file.read_bytes())
    sample = of_verdict(output, POISONED)[0]
    here = apply(output, {sample: "keep"}, quiet=True)
    assert apply(there.address, {sample: "keep"}, quiet=True).counts == here.counts
    for name in [*there.walk("data")]:
        assert there.read(name) == (output / name).read_bytes()
    assert not there.walk(layout.WORK)


# --- In a browser -------------------------------------------------------------------------


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("chromium or chromedriver is not installed, so no page can be opened")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,900"):
        options.add_argument(argument)
    downloads = {"download.default_directory": str(tmp_path), "download.prompt_for_download": False}
    options.add_experimental_option("prefs", downloads)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(driver)
    with webdriver.Chrome(options=options, service=service) as chrome:
        yield chrome


def test_a_person_marks_downloads_and_applies(
    output: Path, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    removed, kept = of_verdict(output, POISONED), of_verdict(output, CLEAN)
    browser.get((output / layout.PAGE).as_uri())
    wait = WebDriverWait(browser, PATIENCE)

    def status(words: str) -> None:
        wait.until(lambda b: words in b.find_element(By.ID, "review-status").text)

    def marked(words: str) -> None:
        wait.until(lambda b: words in b.find_element(By.ID, "review-count").text)

    def first_id() -> str:
        return str(browser.find_element(By.CSS_SELECTOR, "#review-grid .id").text)

    status(f"1 to {len(removed)} of {len(removed)} images")
    assert {e.text for e in browser.find_elements(By.CSS_SELECTOR, "#review-grid .id")} == {
        *removed
    }
    # By the mouse: the first is innocent.
    back = first_id()
    browser.find_element(By.CSS_SELECTOR, "#review-grid .keep").click()
    marked("1 marked: 1 to keep, 0 to remove.")
    # A close look, by keys, with a reason.
    browser.find_element(By.CSS_SELECTOR, "#review-grid li:nth-child(2) .open").click()
    same = browser.find_element(By.CSS_SELECTOR, "#review-dialog h3").text
    assert same != back
    assert len(browser.find_elements(By.CSS_SELECTOR, "#review-dialog canvas")) == 3
    assert len(browser.find_elements(By.CSS_SELECTOR, "#review-dialog .near li")) == 3
    browser.find_element(By.ID, "review-why").send_keys('a "sticker", bottom right')
    browser.find_element(By.CSS_SELECTOR, "#review-dialog .remove").send_keys("r")
    marked("2 marked: 1 to keep, 1 to remove.")
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    # One that was kept is removed.
    Select(browser.find_element(By.ID, "review-state")).select_by_value("kept")
    wait.until(lambda _: first_id() in kept)
    out = first_id()
    browser.find_element(By.CSS_SELECTOR, "#review-grid .remove").click()
    marked("3 marked: 1 to keep, 2 to remove.")
    # The marks are still there when the page is opened again.
    browser.refresh()
    marked("3 marked: 1 to keep, 2 to remove.")
    browser.find_element(By.ID, "review-download").click()
    file = tmp_path / "decisions.csv"
    wait.until(lambda _: file.exists())
    with file.open(newline="", encoding="utf-8") as opened:
        rows = {row["sample_id"]: (row["decision"], row["why"]) for row in csv.DictReader(opened)}
    assert rows == {
        **{back: ("keep", ""), same: ("remove", 'a "sticker", bottom right'), out: ("remove", "")}
    }
    applied = apply(output, file, quiet=True)
    assert (applied.moved_to_clean, applied.moved_to_poisoned) == (1, 1)
    browser.get((output / layout.PAGE).as_uri())
    marked("0 marked")  # they are of another run now
    status(f"1 to {len(removed)} of {len(removed)} images")
    assert [e for e in browser.get_log("browser") if e["level"] == "SEVERE"] == []


def test_images_are_sorted_filtered_and_paged(tmp_path: Path, browser: webdriver.Chrome) -> None:
    data = png(pictures(1)[0])
    samples = [
        Sample(
            POISONED,
            data,
            i % 3,
            f"<b>{i:03d}\u202e.png",
            0.9,
            5.0 + i / 10,
            f"finding-{i % 2 + 1}",
        )
        for i in range(130)
    ]
    store, summary = finished_run(tmp_path, [samples], class_names=["ant", "<i>bee", "cat"])
    write_pages(store, summary, shards=1)
    browser.get((tmp_path / layout.PAGE).as_uri())
    wait = WebDriverWait(browser, PATIENCE)

    def shown(words: str) -> list[str]:
        wait.until(lambda b: words in b.find_element(By.ID, "review-status").text)
        return [e.text for e in browser.find_elements(By.CSS_SELECTOR, "#review-grid .id")]

    def choose(control: str, value: str) -> None:
        Select(browser.find_element(By.ID, f"review-{control}")).select_by_value(value)

    assert shown("1 to 60 of 130 images")[0] == r"<b>000\u202e.png"  # the least sure
    browser.find_element(By.ID, "review-last").click()
    assert shown("121 to 130 of 130 images")[-1] == r"<b>129\u202e.png"
    choose("sort", "surest")
    assert shown("1 to 60 of 130 images")[0] == r"<b>129\u202e.png"
    choose("finding", "0")
    assert len(shown("1 to 60 of 65 images")) == 60
    choose("class", "1")
    names = shown("of 21 images")
    assert all(int(name[3:6]) % 3 == 1 for name in names)
    browser.find_element(By.ID, "review-search").send_keys("112")
    assert shown("1 to 1 of 1 images") == [r"<b>112\u202e.png"]
    browser.find_element(By.ID, "review-keep-all").click()
    wait.until(lambda b: "1 marked" in b.find_element(By.ID, "review-count").text)
    assert not browser.find_elements(By.CSS_SELECTOR, "#review b, #review i")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_is_cut_off_on_a_phone(output: Path, browser: webdriver.Chrome, dark: bool) -> None:
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.get((output / layout.PAGE).as_uri())
    wait = WebDriverWait(browser, PATIENCE)
    wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, "#review-grid .open"))
    assert browser.execute_script("return document.documentElement.scrollWidth") == 390
    # The drawing of the scores is on the screen as a whole.
    right = "return document.querySelector('svg').getBoundingClientRect().right"
    assert browser.execute_script(right) <= 390
    # Text stands out from what is behind it, 4.5 to 1, as WCAG 2 asks.
    low = browser.execute_script(CONTRASTS)
    assert low == []


#: Texts of the page whose contrast to their background is below 4.5.
CONTRASTS = """
const light = (rgb) => {
  const [r, g, b] = rgb.match(/[0-9.]+/g).slice(0, 3).map(Number).map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  for (let e = element; e; e = e.parentElement) {
    const colour = getComputedStyle(e).backgroundColor;
    if (!/rgba\\(.*, 0\\)/.test(colour)) return colour;
  }
  return getComputedStyle(document.body).backgroundColor;
};
return [...document.querySelectorAll("body *")]
  .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
  .filter((e) => !e.closest("svg, script, noscript, dialog, option"))
  .filter((e) => !e.disabled && e.offsetParent)
  .filter((e) => {
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05) < 4.5;
  }).map((e) => `${e.tagName}.${e.className}: ${e.textContent.slice(0, 40)}`);
"""
