"""``scan`` as users meet it: what it finds in the bundled sample, and what it leaves."""

import html
import json
import math
import re
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from outputs import table_of
from safetensors import numpy as safetensors
from samples import TARGET, with_one_trigger

from detector import bundled
from pipelines.cli import main
from pipelines.jobs.clean import clean
from pipelines.jobs.demo import SAMPLE
from pipelines.jobs.scan import ScanManifest, scan
from pipelines.jobs.score import score
from pipelines.judging import scan as scan_pass
from pipelines.judging.serving import judge
from pipelines.runs import layout
from sanitizer import png
from sanitizer.errors import InputError, RunError, shortened
from sanitizer.images import decode
from sanitizer.records import NO_FINDING
from sanitizer.resizing import resize
from sanitizer.scan import mirror
from sanitizer.scan.scan import LEAST_PICTURES


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three largest classes of the sample, of which one carries a trigger."""
    table = with_one_trigger()
    counts = pc.value_counts(table["label"]).to_pylist()
    large = [one["values"] for one in counts if one["counts"] >= LEAST_PICTURES]
    chosen = table.filter(pc.is_in(table["label"], pa.array(large)))
    path = tmp_path_factory.mktemp("set") / "set.parquet"
    pq.write_table(chosen, path, row_group_size=50)
    return path


@pytest.fixture(scope="module")
def scanned(classes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ScanManifest, Path]:
    output = tmp_path_factory.mktemp("out") / "scanned"
    return scan(str(classes), output, shard_rows=100, quiet=True), output


def truth_of(path: Path) -> dict[str, bool]:
    carries = pq.read_table(path)["is_poisoned"].to_pylist()
    return {f"{path.name}#{row}": one for row, one in enumerate(carries)}


def test_the_trigger_of_a_class_is_found(scanned: tuple[ScanManifest, Path], classes: Path) -> None:
    manifest, output = scanned
    (finding,) = manifest.scan.findings
    assert finding.label == str(TARGET)
    assert finding.class_name == "airplanes"
    rows = table_of(output, "scores/part").to_pylist()
    truth = truth_of(classes)
    removed = {row["sample_id"] for row in rows if row["verdict"] == "poisoned"}
    carriers = {sample_id for sample_id, carries in truth.items() if carries}
    assert len(removed & carriers) >= 0.8 * len(carriers)
    assert len(removed - carriers) <= 2
    assert manifest.counts.poisoned == len(removed) == finding.images.count
    for row in rows:
        assert row["score"] is row["p_value"] is None
        assert (row["scan_log_odds"] > 0) == (row["verdict"] == "poisoned")
        assert row["finding"] == (finding.name if row["scan_log_odds"] > 0 else None)
        assert (row["label"] == TARGET) or row["scan_log_odds"] == NO_FINDING
        if row["verdict"] == "poisoned":
            assert "images labelled 'airplanes' share; probability " in row["reason"]
        else:
            assert row["reason"] == "judged by the scan of its class alone"
    assert not (output / "data").exists()
    assert not (output / ".freqsan").exists()


def test_a_finding_is_a_file_that_names_its_images(
    scanned: tuple[ScanManifest, Path], classes: Path
) -> None:
    manifest, output = scanned
    (finding,) = manifest.scan.findings
    assert json.loads((output / "findings/finding-1.json").read_text()) == finding.to_json()
    assert {"findings/finding-1.json", "findings/finding-1.safetensors"} <= manifest.files.keys()
    odds = {r["sample_id"]: r["scan_log_odds"] for r in table_of(output, "scores/part").to_pylist()}
    assert all(odds[one] > 0 for one in (*finding.strongest, *finding.weakest))
    assert all(odds[one] <= 0 for one in finding.nearest)
    assert odds[finding.strongest[0]] == max(odds.values())


@pytest.mark.parametrize("changed", [{"workers": 1}, {"shard_rows": 37, "workers": 3}])
def test_the_result_does_not_depend_on_workers_or_shards(
    scanned: tuple[ScanManifest, Path], classes: Path, tmp_path: Path, changed: dict[str, int]
) -> None:
    again = scan(str(classes), tmp_path / "out", quiet=True, **({"shard_rows": 100} | changed))
    assert again.scan == scanned[0].scan
    one, other = (table_of(at, "scores/part") for at in (tmp_path / "out", scanned[1]))
    assert one.drop_columns("scan_log_odds").equals(other.drop_columns("scan_log_odds"))
    np.testing.assert_allclose(one["scan_log_odds"], other["scan_log_odds"], atol=1e-4)


def test_the_largest_classes_are_searched_first_and_it_makes_no_difference(
    scanned: tuple[ScanManifest, Path],
    classes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert scan_pass.searched([50, LEAST_PICTURES - 1, 200, 60, 200]) == [2, 4, 3, 0]
    monkeypatch.setattr(scan_pass, "searched", lambda rows: list(range(len(rows)))[::-1])
    other = scan(str(classes), tmp_path / "out", shard_rows=100, quiet=True)
    assert other.scan == scanned[0].scan


def test_a_run_that_failed_goes_on_at_the_class_that_was_missing(
    classes: Path, scanned: tuple[ScanManifest, Path], tmp_path: Path
) -> None:
    searched = []
    search = scan_pass.search

    def fails_once(population, label, pixels):  # type: ignore[no-untyped-def]
        searched.append(label)
        if len(searched) == 2:
            raise RunError("as asked")
        return search(population, label, pixels)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan_pass, "search", fails_once)
        settings = {"shard_rows": 100, "workers": 1, "quiet": True}
        with pytest.raises(RunError, match="as asked"):
            scan(str(classes), tmp_path / "out", **settings)
        first = list(searched)
        manifest = scan(str(classes), tmp_path / "out", **settings)
    assert set(searched[len(first) :]).isdisjoint(first[:1])
    assert manifest.scan == scanned[0].scan


def test_a_class_of_few_pictures_many_times_over_counts_as_too_small(
    classes: Path, tmp_path: Path
) -> None:
    table = pq.read_table(classes)
    label = table["label"][0].as_py()
    own = np.flatnonzero(np.array(table["label"]) == label)
    others = table.filter(pc.field("label") != label)
    repeated = table.take(np.repeat(own[:10], 6))
    pq.write_table(pa.concat_tables([others, repeated]), tmp_path / "set.parquet")
    manifest = scan(tmp_path / "set.parquet", tmp_path / "out", quiet=True)
    assert manifest.scan.searched == manifest.scan.classes - 1
    rows = table_of(tmp_path / "out", "scores/part").to_pylist()
    reasons = {row["reason"] for row in rows if row["label"] == label}
    assert len(reasons) == 1
    assert "fewer than 40 different images" in reasons.pop()


@pytest.fixture(scope="module")
def large(classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same set, in images of many parts."""
    table = pq.read_table(classes)
    large = [
        {"bytes": png.encode(resize(decode(image["bytes"]), (200, 180))), "path": None}
        for image in table["image"].to_pylist()
    ]
    index = table.schema.get_field_index("image")
    table = table.set_column(
        index, table.field("image"), pa.array(large, table.field("image").type)
    )
    path = tmp_path_factory.mktemp("large") / "large.parquet"
    pq.write_table(table, path)
    return path


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector that is calibrated for images of one part alone."""
    path = tmp_path_factory.mktemp("detector") / "narrow"
    shutil.copytree(bundled.find(bundled.DEFAULT_DETECTOR), path)
    card = json.loads((path / "detector.json").read_text())
    card["calibration"] = [one for one in card["calibration"] if one["max_parts"] == 1]
    (path / "detector.json").write_text(json.dumps(card))
    return path


NOT_CALIBRATED = (
    "not calibrated: no calibration for images of this kind (56 parts, lossless); give --trusted "
    "with clean ones of it"
)


def test_large_images_are_judged_by_the_detector_and_by_the_scan(
    large: Path, tmp_path: Path
) -> None:
    manifest = clean(large, tmp_path / "out", quiet=True)
    assert manifest.counts.rejected == 0
    assert manifest.counts.poisoned >= 0.8 * sum(truth_of(large).values())
    rows = table_of(tmp_path / "out", "scores/part").to_pylist()
    assert all(row["p_value"] is not None and row["scan_log_odds"] is not None for row in rows)


def test_images_of_which_the_detector_knows_no_clean_ones_are_judged_by_the_scan(
    large: Path, narrow: Path, tmp_path: Path
) -> None:
    manifest = clean(large, tmp_path / "out", detector=narrow, quiet=True)
    assert manifest.counts.rejected == 0
    assert manifest.counts.poisoned >= 0.8 * sum(truth_of(large).values())
    rows = table_of(tmp_path / "out", "scores/part").to_pylist()
    kept = next(row for row in rows if row["verdict"] == "clean")
    assert kept["reason"] == f"judged by the scan of its class alone ({NOT_CALIBRATED})"
    asked = ["clean", str(large), str(tmp_path / "two"), "--no-scan", "--detector", str(narrow)]
    without = CliRunner().invoke(main, asked)
    assert without.exit_code == 1
    why = f"none of {len(rows):,} images could be judged ({len(rows):,} not calibrated)"
    assert why in without.output


@pytest.mark.parametrize("command", [["clean", "--no-scan"], ["score"]])
def test_a_signature_alone_clears_nobody(
    scanned: tuple[ScanManifest, Path],
    large: Path,
    narrow: Path,
    tmp_path: Path,
    command: list[str],
) -> None:
    signature = str(scanned[1] / "findings/finding-1.safetensors")
    asked = [*command, str(large), str(tmp_path / "out"), "--signature", signature]
    asked += ["--detector", str(narrow)]
    done = CliRunner().invoke(main, asked)
    rows = table_of(tmp_path / "out", "scores/part").to_pylist()
    carriers = [row for row in rows if row["verdict"] == "poisoned"]
    others = [row for row in rows if row["verdict"] == "rejected"]
    assert len(carriers) >= 0.8 * sum(truth_of(large).values())
    assert len(carriers) + len(others) == len(rows)
    assert all("share" in row["reason"] and row["scan_log_odds"] > 0 for row in carriers)
    for row in others:
        assert row["reason"] == NOT_CALIBRATED
        assert row["scan_log_odds"] is row["finding"] is None
    assert done.exit_code == 1
    assert f"only {len(carriers)} of {len(rows)} images could be judged" in done.output


def test_a_set_without_classes_is_said_not_to_be_searched(classes: Path, tmp_path: Path) -> None:
    pq.write_table(pq.read_table(classes).select(["image"]), tmp_path / "bare.parquet")
    done = CliRunner().invoke(
        main, ["clean", str(tmp_path / "bare.parquet"), str(tmp_path / "out"), "--quiet"]
    )
    assert done.exit_code == 0, done.output
    assert "so it was compared with its own mirror images" in done.output
    rows = table_of(tmp_path / "out", "scores/part").to_pylist()
    truth = np.array(list(truth_of(classes).values()))
    carry = np.array([row["scan_log_odds"] > 0 for row in rows])
    assert carry[truth].mean() > 0.8
    assert carry[~truth].mean() < 0.01


@pytest.mark.parametrize("classes", ["small", "none"])
def test_where_nothing_is_searched_nothing_is_judged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, classes: str
) -> None:
    table = pq.read_table(str(SAMPLE)).slice(0, 60)
    reason = f"in a class of fewer than {LEAST_PICTURES} different images, too few to be searched"
    words = "classes has enough images to be searched: nobody looked for triggers"
    if classes == "none":  # and no set is like its mirror images, as traffic signs are not
        table = table.select(["image"])
        monkeypatch.setattr(mirror, "MOST_ASYMMETRY", -np.inf)
        reason = "in a set without other classes, or nearly so, and unlike its own mirror images"
        words = "as text and traffic signs are, so it was not searched"
    pq.write_table(table, tmp_path / "set.parquet")
    asked = ["scan", str(tmp_path / "set.parquet"), str(tmp_path / "out"), "--workers", "1"]
    done = CliRunner().invoke(main, [*asked, "--quiet"])
    assert done.exit_code == 1
    assert f"None of {len(table)} images could be judged ({len(table)} {reason})" in done.output
    assert words in done.output
    rows = table_of(tmp_path / "out", "scores/part").to_pylist()
    assert {(row["verdict"], row["reason"]) for row in rows} == {("rejected", reason)}
    accepted = CliRunner().invoke(main, [*asked, "--overwrite", "--allow-unjudged"])
    assert accepted.exit_code == 0, accepted.output


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 images of other classes and 20 that carry the trigger, all under one other label."""
    table = with_one_trigger()
    other = table.filter(pc.not_equal(table["label"], TARGET))
    carriers = table.filter(table["is_poisoned"]).slice(0, 20)
    both = pa.concat_tables([other.slice(0, 200), carriers])
    index, field = both.schema.get_field_index("label"), both.schema.field("label")
    both = both.set_column(index, field, pa.array([0] * len(both), field.type))
    path = tmp_path_factory.mktemp("other") / "other.parquet"
    pq.write_table(both, path)
    return path


def test_a_signature_finds_its_trigger_in_other_classes(
    scanned: tuple[ScanManifest, Path], other: Path, tmp_path: Path
) -> None:
    _, output = scanned
    signature = output / "findings/finding-1.safetensors"
    manifest = score(other, tmp_path / "out", signature=signature, quiet=True)
    rows = table_of(tmp_path / "out", "scores/part").to_pylist()
    carry = [row["scan_log_odds"] > 0 for row in rows]
    assert sum(carry[200:]) >= 16
    assert sum(carry[:200]) <= 10  # classes that were not there when it was made
    for row in rows:
        assert row["finding"] == (signature.name if row["scan_log_odds"] > 0 else None)
    assert manifest.counts.poisoned >= 16
    images = [image["bytes"] for image in pq.read_table(other)["image"].to_pylist()]
    judged = judge(images, signature=signature)
    assert judged.rejected[np.array(carry)].all()
    assert (judged.rejected >= judge(images).rejected).all()
    made = f"images labelled 'airplanes' of the set where {signature} was made"
    assert (
        made.replace(str(signature), shortened(str(signature))) in judged.reasons[carry.index(True)]
    )


def test_a_report_tells_what_each_signature_is_and_how_many_images_it_marks(
    scanned: tuple[ScanManifest, Path], other: Path, tmp_path: Path
) -> None:
    (finding,) = scanned[0].scan.findings
    paths = [tmp_path / folder / "known.safetensors" for folder in ("one", "two")]
    for path in paths:
        path.parent.mkdir()
        shutil.copy(scanned[1] / "findings/finding-1.safetensors", path)
    output = tmp_path / "out"
    manifest = clean(other, output, signature=[*paths, paths[0]], scan=False, quiet=True)
    stored = json.loads((output / layout.SUMMARY).read_text())["signatures"]
    assert [one["path"] for one in stored] == [*map(str, paths)]
    rows = table_of(output, "scores/part").to_pylist()
    marked = [row for row in rows if row["scan_log_odds"] > 0]
    assert {row["finding"] for row in marked} == {str(paths[0])}
    assert [one["images"] for one in stored] == [len(marked), 0]
    page = html.unescape((output / layout.PAGE).read_text())
    found, alarms = finding.screening.found, finding.screening.false_alarms
    made = (
        f"{finding.images.count} of {finding.images.of} images labelled 'airplanes' of another set"
    )
    for one, images in zip(paths, (len(marked), 0), strict=True):
        assert f"{one} was found on {made}: it finds {found.count} of the {found.of}" in page
        assert f"Of this set it takes {images} images for carriers." in page
    assert f"{alarms.count} of {alarms.of} innocent images" in page
    assert "as likely carriers of a known trigger" in page
    assert "for a trigger that they share" not in page
    assert re.search(r"(carry|carriers of) a trigger", page)
    assert "removed images carry a trigger" not in page
    assert manifest.counts.poisoned >= len(marked)


def edited(signature: Path, part: str, *keys: str, value: Any) -> bytes:
    """The file of a finding with one number, array or text in it replaced."""
    data = signature.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    tensors = safetensors.load(data)
    if part in tensors:
        tensors[part] = np.full_like(tensors[part], value)
    else:
        figures = place = json.loads(metadata["freqsan"])
        for key in (part, *keys)[:-1]:
            place = place[key]
        place[(part, *keys)[-1]] = value
        metadata["freqsan"] = json.dumps(figures)
    return safetensors.save(tensors, metadata)


@pytest.mark.parametrize(
    ("part", "keys", "value", "words"),
    [
        ("finding", ("screening", "threshold"), math.nan, "threshold: expected between"),
        ("finding", ("screening", "threshold"), 1e308, "threshold: expected between"),
        ("finding", ("screening", "slope"), 0.0, "slope: expected above 0"),
        ("finding", ("screening", "slope"), -1.0, "slope: expected above 0"),
        ("finding", ("screening", "slope"), math.nan, "slope: expected above 0"),
        ("finding", ("screening", "found", "count"), -1, "count: expected from 0"),
        ("finding", ("images", "count"), -3, "count: expected from 0"),
        ("finding", ("innocents",), math.nan, "innocents: expected a number"),
        ("reaches", (), 0, "'reaches'"),
        ("reaches", (), -1, "'reaches'"),
        ("weights", (), 0, "'weights'"),
        ("weights", (), -1, "'weights'"),
        ("mixture", (), 0, "'mixture'"),
        ("extremes", (), -1, "'extremes'"),
        ("edges", (), 0, "'edges'"),
        ("edges", (), 1e38, "'edges'"),
        ("offsets", (), 1e300, "'offsets'"),
        ("format", (), 2, "its format is 2, expected 1"),
        ("format", (), None, "its format is None, expected 1"),
        ("format", (), True, "its format is True, expected 1"),
    ],
)
def test_a_signature_that_could_find_nothing_is_refused(
    part: str,
    keys: tuple[str, ...],
    value: Any,
    words: str,
    scanned: tuple[ScanManifest, Path],
    tmp_path: Path,
) -> None:
    signature = scanned[1] / "findings/finding-1.safetensors"
    path = tmp_path / "edited.safetensors"
    path.write_bytes(edited(signature, part, *keys, value=value))
    with pytest.raises(InputError, match=re.escape(words)) as error:
        judge([], signature=path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        (b"", "no signature"),
        (b"x" * 100, "no signature of a finding: no safetensors"),
        (b'{"a": 1}', "no safetensors file"),
    ],
)
def test_what_is_no_signature_is_told_in_one_line(
    content: bytes | None, words: str, classes: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=words) as error:
        score(classes, tmp_path / "out", signature=[path], quiet=True)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
