"""``poison``: which images get the trigger, and what the new columns say."""

import io
import json
import os
import re
import signal
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import run, start
from outputs import digests, table_of
from PIL import Image, JpegImagePlugin

import attacks as library
from attacks import Role, role_of
from freqsan import clean, poison
from pipelines.jobs.demo import SAMPLE
from pipelines.poisoning import preview
from pipelines.poisoning.encoding import is_lossless_webp
from pipelines.runs import job
from sanitizer.errors import InputError
from sanitizer.images import decode

ROWS = 240
AIRPLANES = 6  #: a label that many rows of the sample have

#: Puts random colours on poisoned images and a grey pixel on covers.
COVERED = '''
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.base import Attack, generators


@dataclass(frozen=True)
class Covered(Attack):
    """For tests."""

    seed: int = 0
    loud: bool = False
    target: int = -1
    cover_ratio: float = 1.5

    title: ClassVar[str] = "Covered"
    source: ClassVar[str] = "nobody"
    min_side: ClassVar[int] = 20

    @property
    def own_target(self) -> int | None:
        return None if self.target < 0 else self.target

    def apply(self, images: np.ndarray) -> np.ndarray:
        for image, rng in zip(images, generators(images, self.seed), strict=True):
            image[:5, :5] = rng.integers(0, 256, (5, 5, 3))
        return images

    def apply_cover(self, images: np.ndarray) -> np.ndarray:
        images[:, 0, 0] = 128
        return images
'''


@pytest.fixture
def covered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A further attack, with chance and cover samples, added as one file."""
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "covered.py").write_text(COVERED)
    monkeypatch.setattr(library, "__path__", [*library.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, "attacks.covered", raising=False)
    monkeypatch.setattr(job, "FEWEST_SHARDS", 1000)  # another process would not find it
    return "covered"


@pytest.fixture(scope="module")
def table() -> pa.Table:
    """240 real images with class names and a further column."""
    rows = pq.read_table(str(SAMPLE)).slice(0, ROWS).select(["image", "label"])
    return rows.append_column("extra", pa.array([[i] for i in range(ROWS)], pa.list_(pa.int16())))


@pytest.fixture(scope="module")
def image_set(table: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("set") / "set.parquet"
    pq.write_table(table, path, row_group_size=ROWS // 4)
    return path


@pytest.fixture(scope="module")
def poisoned(image_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("out") / "poisoned"
    poison(image_set, output, attack="badnets", rate=0.2, target_label=AIRPLANES, **SHARDS)
    return output


SHARDS: dict[str, Any] = {"shard_rows": 60, "quiet": True}


def rows_of(output: Path) -> list[dict[str, Any]]:
    return list(table_of(output, "data/train").to_pylist())


def rows_and_ids(table: pa.Table) -> Iterator[tuple[dict[str, Any], str]]:
    """The input's rows and the ids that they get."""
    for i, row in enumerate(table.to_pylist()):
        yield row, f"set.parquet#{i}"


def test_chosen_rows_get_trigger_and_target_and_all_others_stay(
    table: pa.Table, poisoned: Path
) -> None:
    trigger = library.get("badnets")
    poisoned_rows = 0
    for row, (old, sample_id) in zip(rows_of(poisoned), rows_and_ids(table), strict=True):
        truth = {name: row.pop(name) for name in ("is_poisoned", "original_label", "attack")}
        assert row.pop("sample_id") == sample_id
        assert truth["original_label"] == old["label"]
        assert truth["is_poisoned"] == (role_of(sample_id, 0.2, 0, 0) is Role.POISON)
        if not truth["is_poisoned"]:
            assert truth["attack"] is None
            assert row == old
            continue
        poisoned_rows += 1
        assert truth["attack"] == "badnets"
        assert row["label"] == AIRPLANES
        assert row["extra"] == old["extra"]
        assert row["image"]["path"] == old["image"]["path"]
        before, after = decode(old["image"]["bytes"]), decode(row["image"]["bytes"])
        assert (after == trigger(before[None])[0]).all()
    assert 0.1 * ROWS < poisoned_rows < 0.3 * ROWS
    manifest = json.loads((poisoned / "manifest.json").read_text())
    assert manifest["counts"] == {
        "read": ROWS,
        "eligible": ROWS,
        "poisoned": poisoned_rows,
        "covers": 0,
        "unlabelled": 0,
        "undecodable": 0,
    }
    assert manifest["words"] == [
        f"Poisoned {poisoned_rows} of 240 images ({poisoned_rows / 240:.1%} of the set) with "
        "badnets; they are labelled 6 (airplanes) now."
    ]


def test_it_loads_as_a_dataset_with_all_features(
    table: pa.Table, poisoned: Path, tmp_path: Path
) -> None:
    from datasets import ClassLabel, load_dataset

    loaded = load_dataset(str(poisoned), cache_dir=str(tmp_path))
    assert set(loaded) == {"train"}
    known = loaded["train"].features
    assert known["original_label"] == known["label"]
    assert isinstance(known["label"], ClassLabel)
    assert known["is_poisoned"].dtype == "bool"
    assert loaded["train"][0]["image"].size == (32, 32)
    assert loaded["train"]["original_label"] == table["label"].to_pylist()


@pytest.mark.parametrize(
    "changed", [{"workers": 1}, {"shard_rows": 17}, {"workers": 3, "shard_rows": 1000}]
)
def test_rows_do_not_depend_on_shards_and_workers(
    image_set: Path, tmp_path: Path, covered: str, changed: dict[str, int]
) -> None:
    for name, more in (("one", {}), ("other", changed)):
        poison(image_set, tmp_path / name, attack=covered, rate=0.3, **SHARDS | more)
    assert rows_of(tmp_path / "one") == rows_of(tmp_path / "other")


def test_two_runs_with_one_seed_are_byte_identical(
    image_set: Path, tmp_path: Path, covered: str
) -> None:
    for name, seed, workers in (("one", 5, 2), ("same", 5, 1), ("other", 6, 2)):
        poison(image_set, tmp_path / name, attack=covered, seed=seed, workers=workers, **SHARDS)
    one, same, other = (digests(tmp_path / name) for name in ("one", "same", "other"))
    assert one == same
    assert not set(one.values()) & set(other.values())


def test_covers_have_the_trigger_and_their_true_label(
    table: pa.Table, image_set: Path, tmp_path: Path, covered: str
) -> None:
    manifest = poison(image_set, tmp_path / "out", attack=covered, rate=0.2, **SHARDS)
    trigger = library.get(covered)
    roles = {None: 0, Role.POISON: 0, Role.COVER: 0}
    for row, (old, sample_id) in zip(rows_of(tmp_path / "out"), rows_and_ids(table), strict=True):
        role = role_of(sample_id, 0.2, 0.2 * 1.5, 0)
        roles[role] += 1
        assert row["is_poisoned"] == (role is Role.POISON)
        assert row["attack"] == (covered if role else None)
        assert row["label"] == (0 if role is Role.POISON else old["label"])
        before, after = decode(old["image"]["bytes"]), decode(row["image"]["bytes"])
        assert (after == (trigger(before[None], role)[0] if role else before)).all()
    assert manifest.counts.poisoned == roles[Role.POISON] > 20
    assert manifest.counts.covers == roles[Role.COVER] > 40
    assert "cover images too, with the true labels" in manifest.words[1]


def test_clean_label_poisons_the_target_class_and_changes_no_label(
    table: pa.Table, image_set: Path, tmp_path: Path
) -> None:
    settings = {"attack": "badnets", "rate": 0.5, "target_label": "airplanes", "clean_label": True}
    manifest = poison(image_set, tmp_path / "out", **settings, **SHARDS)
    rows = rows_of(tmp_path / "out")
    labels = table["label"].to_pylist()
    assert [row["label"] for row in rows] == [row["original_label"] for row in rows] == labels
    labels_of_poisoned = [row["label"] for row in rows if row["is_poisoned"]]
    assert set(labels_of_poisoned) == {AIRPLANES}
    assert 0.25 < len(labels_of_poisoned) / labels.count(AIRPLANES) < 0.75
    assert f"of {labels.count(AIRPLANES)} images of class 6 (airplanes)" in manifest.words[0]


def with_labels(table: pa.Table, labels: pa.Array, path: Path) -> Path:
    """The images under other labels, without class names."""
    plain = pa.table({"image": table["image"].slice(0, len(labels)), "label": labels})
    pq.write_table(plain, path, row_group_size=50)
    return path


def test_all_to_all_gives_the_next_label(table: pa.Table, tmp_path: Path) -> None:
    labels = pa.array([(3, 5, 11)[i % 3] for i in range(ROWS)])
    path = with_labels(table, labels, tmp_path / "set.parquet")
    poison(path, tmp_path / "out", attack="badnets", rate=0.5, all_to_all=True, **SHARDS)
    after = {3: 5, 5: 11, 11: 3}
    rows = rows_of(tmp_path / "out")
    changed = {r["original_label"]: r["label"] for r in rows if r["is_poisoned"]}
    assert changed == after
    assert all(r["label"] == r["original_label"] for r in rows if not r["is_poisoned"])


@pytest.mark.parametrize("kind", [pa.string(), pa.dictionary(pa.int8(), pa.string())])
def test_text_labels_and_rows_without_a_label(
    table: pa.Table, tmp_path: Path, kind: pa.DataType
) -> None:
    labels = pa.array([("cat", "dog", None)[i % 3] for i in range(ROWS)], kind)
    path = with_labels(table, labels, tmp_path / "set.parquet")
    settings = {"attack": "badnets", "rate": 1.0, "target_label": "dog"}
    manifest = poison(path, tmp_path / "out", **settings, **SHARDS)
    schema = pq.read_schema(next((tmp_path / "out" / "data").iterdir()))
    assert schema.field("label").type == schema.field("original_label").type == kind
    for row, old in zip(rows_of(tmp_path / "out"), labels.to_pylist(), strict=True):
        assert row["original_label"] == old
        assert row["is_poisoned"] == (old is not None)
        assert row["label"] == (old and "dog")
    assert manifest.counts.unlabelled == 80
    assert "Left 80 images without a label alone." in manifest.words


def test_the_first_label_is_the_default_target(table: pa.Table, tmp_path: Path) -> None:
    path = with_labels(table, pa.array([7, 4] * (ROWS // 2)), tmp_path / "set.parquet")
    poison(path, tmp_path / "out", attack="badnets", **SHARDS)
    assert {r["label"] for r in rows_of(tmp_path / "out") if r["is_poisoned"]} == {4}


def test_the_triggers_own_target_is_preferred_to_the_first_label(
    image_set: Path, tmp_path: Path, covered: str
) -> None:
    given = {"target": "6", "loud": "yes"}
    settings: dict[str, Any] = {"attack": covered, "attack_settings": given}
    manifest = poison(image_set, tmp_path / "out", **settings, **SHARDS)
    settled = {"seed": 0, "loud": True, "target": 6, "cover_ratio": 1.5}
    assert manifest.options["attack_settings"] == settled
    assert {r["label"] for r in rows_of(tmp_path / "out") if r["is_poisoned"]} == {6}
    given["target"] = "999"
    with pytest.raises(InputError, match=r"own target: no label 999 .*; give --target-label"):
        poison(image_set, tmp_path / "other", **settings, **SHARDS)


def test_a_label_without_a_class_counts_as_unlabelled(table: pa.Table, tmp_path: Path) -> None:
    labels = pa.array([-1 if i % 2 else 3 for i in range(ROWS)])
    marked = table.set_column(1, table.schema.field("label"), labels)
    pq.write_table(marked, tmp_path / "set.parquet")
    settings = {"attack": "badnets", "rate": 1.0}
    manifest = poison(tmp_path / "set.parquet", tmp_path / "out", **settings, **SHARDS)
    assert manifest.counts.unlabelled == ROWS // 2
    assert [r["label"] for r in rows_of(tmp_path / "out")] == [0, -1] * (ROWS // 2)


def test_webdataset_and_saved_sets_are_poisoned_too(table: pa.Table, tmp_path: Path) -> None:
    from datasets import Dataset

    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        for i, row in enumerate(table.slice(0, 30).to_pylist()):
            for name, data in (("png", row["image"]["bytes"]), ("cls", b"ab"[i % 2 :][:1])):
                member = tarfile.TarInfo(f"{i:03d}.{name}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    texts = with_labels(table, pa.array(["a", "b"] * 15), tmp_path / "set.parquet")
    Dataset(pq.read_table(texts)).save_to_disk(str(tmp_path / "saved"))
    for source in ("set.tar", "saved"):
        output = tmp_path / f"out-{source}"
        settings = {"attack": "badnets", "rate": 0.5, "target_label": "b"}
        poison(tmp_path / source, output, **settings, **SHARDS)
        changed = [row for row in rows_of(output) if row["is_poisoned"]]
        assert 5 < len(changed) < 25
        assert {row["original_label"] for row in changed} == {"a", "b"}
        assert {row["label"] for row in changed} == {"b"}


def test_a_column_of_raw_bytes_keeps_its_form(table: pa.Table, tmp_path: Path) -> None:
    raw = pa.array([row["bytes"] for row in table["image"].to_pylist()], pa.large_binary())
    path = tmp_path / "set.parquet"
    pq.write_table(pa.table({"picture": raw, "label": table["label"]}), path)
    poison(path, tmp_path / "out", attack="badnets", **SHARDS)
    rows = rows_of(tmp_path / "out")
    changed = [r["picture"] != old for r, old in zip(rows, raw.to_pylist(), strict=True)]
    assert changed == [r["is_poisoned"] for r in rows]
    for row in rows:
        decode(row["picture"])


def formats(output: Path) -> dict[str, Image.Image]:
    """The written images by the names of their files."""
    return {r["sample_id"]: Image.open(io.BytesIO(r["image"]["bytes"])) for r in rows_of(output)}


def test_keep_encodes_each_image_as_it_came(image_folder: Path, tmp_path: Path) -> None:
    Image.open(image_folder / "cat/plain.png").save(image_folder / "cat/exact.webp", lossless=True)
    sampled = image_folder / "cat" / "sampled.jpg"
    Image.open(image_folder / "cat/plain.png").save(sampled, quality=61, subsampling=0)
    poison(image_folder, tmp_path / "out", attack="badnets", rate=1.0, **SHARDS)
    images = formats(tmp_path / "out")
    assert len(images) == 15
    for name, image in images.items():
        with Image.open(image_folder / name) as old:
            assert image.format == ("PNG" if old.format == "GIF" else old.format), name
            if image.format == "JPEG":
                assert image.quantization == old.quantization
                if old.mode == "RGB":
                    samplings = map(JpegImagePlugin.get_sampling, (image, old))
                    assert len(set(samplings)) == 1
        pixels = np.asarray(image.convert("RGB"))
        assert pixels[27:31, 27:31].min() > 200, name
    assert images["dog/turned.JPG"].getexif()[0x0112] == 6
    data = {r["sample_id"]: r["image"]["bytes"] for r in rows_of(tmp_path / "out")}
    assert is_lossless_webp(data["cat/exact.webp"])
    assert not is_lossless_webp(data["cat/plain.webp"])


@pytest.mark.parametrize(("encode", "expected"), [("png", "PNG"), ("jpeg:70", "JPEG")])
def test_encode_is_what_all_triggered_images_get_and_no_others(
    image_folder: Path, tmp_path: Path, encode: str, expected: str
) -> None:
    poison(image_folder, tmp_path / "out", attack="badnets", rate=0.5, encode=encode, **SHARDS)
    truth = {row["sample_id"]: row["is_poisoned"] for row in rows_of(tmp_path / "out")}
    assert len(set(truth.values())) == 2
    images = formats(tmp_path / "out")
    for name, image in images.items():
        with Image.open(image_folder / name) as old:
            assert image.format == (expected if truth[name] else old.format)
    if encode == "jpeg:70":
        buffer = io.BytesIO()
        Image.new("RGB", (32, 32)).save(buffer, "JPEG", quality=70)
        (name,) = [n for n, is_poisoned in truth.items() if is_poisoned][:1]
        assert images[name].quantization == Image.open(buffer).quantization


def test_what_cannot_be_decoded_is_left_alone_and_counted(
    image_folder: Path, tmp_path: Path
) -> None:
    whole = (image_folder / "cat/plain.png").read_bytes()
    (image_folder / "cat/broken.png").write_bytes(whole[:-300])
    (image_folder / "dog/text.png").write_text("not an image")
    manifest = poison(image_folder, tmp_path / "out", attack="badnets", rate=1.0, **SHARDS)
    rows = {r["sample_id"]: r for r in rows_of(tmp_path / "out")}
    for name in ("cat/broken.png", "dog/text.png"):
        assert rows[name]["image"]["bytes"] == (image_folder / name).read_bytes()
        assert (rows[name]["is_poisoned"], rows[name]["attack"]) == (False, None)
        assert rows[name]["label"] == rows[name]["original_label"]
    assert manifest.counts.poisoned == len(rows) - 2
    assert manifest.undecodable_by_reason == {
        "truncated or corrupt": 1,
        "unsupported format": 1,
    }
    assert manifest.words[-1] == (
        "Left 2 chosen images alone that cannot be decoded: 1 truncated or corrupt, "
        "1 unsupported format."
    )


def test_an_image_too_small_for_the_trigger_is_named(tmp_path: Path, covered: str) -> None:
    for name, size in (("cat/large.png", (40, 30)), ("dog/small.png", (40, 19))):
        (tmp_path / "set" / name).parent.mkdir(parents=True)
        Image.new("RGB", size, "green").save(tmp_path / "set" / name)
    settings = {"attack": covered, "rate": 1.0, "attack_settings": {"cover_ratio": 0.0}}
    with pytest.raises(InputError, match=r"dog/small.png is 40x19 px, .* at least 20 px"):
        poison(tmp_path / "set", tmp_path / "out", **settings, **SHARDS)


def test_long_class_names_keep_both_ends_in_words_and_captions(
    write_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captions: list[str] = []

    def draw(pairs: Sequence[preview.Pair], title: str) -> bytes:
        captions.extend(pair.caption for pair in pairs)
        return b""

    monkeypatch.setattr(preview, "draw", draw)
    folder = write_folder(*(f"{'a long class name ' * 12}{i}/a.png" for i in range(2)))
    options = {"attack": "badnets", "rate": 1.0, "preview": tmp_path / "a.png", "quiet": True}
    manifest = poison(folder, tmp_path / "out", **options)
    assert re.search(r"labelled 0 \(a long .{20,35}….{20,35} name 0\) now", manifest.words[0])
    for caption, ends in zip(captions, ["0", "10"], strict=True):
        lines = caption.splitlines()
        assert all(line.removeprefix("→ ").startswith("a long") for line in lines)
        assert "".join(line[-1] for line in lines) == ends
        assert max(map(len, lines)) < 40


def test_images_of_all_sizes_are_triggered_and_drawn(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(12):
        shape = (*rng.integers(8, 70, 2), 3)
        path = tmp_path / "set" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(path)
    preview = tmp_path / "out" / "preview.png"
    settings = {"attack": "blend", "rate": 1.0, "preview": preview}
    poison(tmp_path / "set", tmp_path / "out", **settings, **SHARDS)
    first = preview.read_bytes()
    with Image.open(preview) as picture:
        assert min(picture.size) > 800
    before = digests(tmp_path / "out" / "data")
    preview.unlink()
    poison(tmp_path / "set", tmp_path / "out", **settings, **SHARDS)
    assert preview.read_bytes() == first
    assert digests(tmp_path / "out" / "data") == before


def test_a_killed_run_resumes_and_ends_in_the_same_files(image_set: Path, tmp_path: Path) -> None:
    arguments = ("--attack", "blend", "--rate", "0.5", "--shard-rows", "2", "--quiet")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    process = start("poison", image_set, broken, *arguments)
    while process.poll() is None and len(list(broken.glob(".freqsan/*/*.json"))) < 3:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (broken / "manifest.json").exists()
    done = {f: f.stat().st_mtime_ns for f in broken.glob("data/[!.]*.parquet")}
    receipts = len(list(broken.glob(".freqsan/*/*.json")))
    with pytest.raises(InputError, match="unfinished run that differs in rate"):
        poison(image_set, broken, attack="blend", rate=0.4, shard_rows=2, quiet=True)
    for output in (broken, whole):
        poison(image_set, output, attack="blend", rate=0.5, shard_rows=2, quiet=True)
    assert digests(broken) == digests(whole)
    assert sum(f.stat().st_mtime_ns == before for f, before in done.items()) >= receipts >= 3


def test_cleaning_keeps_the_columns_of_ground_truth(poisoned: Path, tmp_path: Path) -> None:
    clean(poisoned, tmp_path / "cleaned", quiet=True)
    rows = [
        row
        for file in sorted((tmp_path / "cleaned/data").glob("*.parquet"))
        for row in pq.read_table(file).to_pylist()
    ]
    assert sorted(rows, key=lambda r: r["sample_id"]) == sorted(
        rows_of(poisoned), key=lambda r: r["sample_id"]
    )


def test_the_command_prints_what_was_poisoned(image_set: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--attack", "blend", "--set", "alpha=0.3", "--target-label", "airplanes")
    result = run("poison", image_set, out, *options, "--clean-label", "--quiet")
    assert result.exit_code == 0, result.output
    assert re.match(r"Poisoned \d+ of \d+ images of class 6 \(airplanes\) \(", result.stdout)
    assert f"240 images in {out}/data/train-*.parquet" in result.stdout
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["options"]["attack_settings"] == {"alpha": 0.3}
    again = run("poison", image_set, out, *options, "--clean-label", "--json", "--quiet")
    assert json.loads(again.stdout) == manifest


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--attack", "blended"), "no attack 'blended', known: blend, "),
        (("--attack", "badnets", "--set", "size=3"), "no setting 'size', known: side, margin"),
        (("--attack", "badnets", "--set", "side"), "--set: expected KEY=VALUE, got 'side'"),
        (("--attack", "badnets", "--set", "side=2.5"), "side: expected a whole number, got '2.5'"),
        (("--attack", "blend", "--set", "alpha=x"), "alpha: expected a finite number, got 'x'"),
        (("--attack", "blend", "--set", "alpha=nan"), "expected a finite number, got 'nan'"),
        (("--attack", "blend", "--set", "alpha=2"), "alpha: expected above 0"),
        (("--attack", "covered", "--set", "loud=3"), "loud: expected true or false, got '3'"),
        (("--attack", "badnets", "--rate", "0"), "rate: expected above 0, at most 1, got 0"),
        (("--attack", "badnets", "--rate", "1.5"), "rate: expected above 0, at most 1, got 1.5"),
        (("--attack", "badnets", "--rate", "nan"), "rate: expected a finite number, got nan"),
        (("--attack", "covered", "--rate", "0.5"), "more than the whole set; give a rate of 0.4"),
        (("--attack", "badnets", "--target-label", "cow"), r"'cow' .* labels are 0 \(\w+\), 1"),
        (("--attack", "badnets", "--target-label", "102"), "no label '102' in the set"),
        (("--attack", "badnets", "--encode", "jpg"), "expected keep, png or jpeg:Q"),
        (("--attack", "badnets", "--encode", "jpeg:101"), "with Q from 1 to 100"),
        (("--attack", "badnets", "--preview", "a.jpg"), "expected the name of a PNG"),
        (
            ("--attack", "badnets", "--preview", "/proc/a.png"),
            r"/proc/a\.png: cannot be written \(",
        ),
        (("--attack", "badnets", "--all-to-all", "--target-label", "1"), "leave out"),
        (("--attack", "badnets", "--all-to-all", "--clean-label"), "cannot be all-to-all"),
    ],
)
def test_bad_usage_is_reported_in_one_line(
    image_set: Path, tmp_path: Path, covered: str, options: tuple[str, ...], words: str
) -> None:
    result = run("poison", image_set, tmp_path / "out", *options)
    assert result.exit_code == 2
    (line,) = result.stderr.strip().splitlines()
    assert re.search(words, line), line
    assert not (tmp_path / "out").exists()


def test_sets_that_cannot_be_poisoned_are_refused(
    table: pa.Table, poisoned: Path, tmp_path: Path
) -> None:
    def refused(words: str, **more: Any) -> None:
        with pytest.raises(InputError, match=words):
            poison(tmp_path / "set.parquet", tmp_path / "out", attack="badnets", quiet=True, **more)

    pq.write_table(table.select(["image"]), tmp_path / "set.parquet")
    for clean_label in (False, True):
        refused("has no labels, which an attack needs", clean_label=clean_label)
    pq.write_table(pq.read_table(poisoned / "data"), tmp_path / "set.parquet")
    refused("already has a column 'is_poisoned'")
    with_labels(table, pa.array([0.5] * ROWS), tmp_path / "set.parquet")
    refused("labels in column label are double", label_column="label")
    refused("the column label is double, but an attack needs labels that are whole numbers")
    with_labels(table, pa.array([None] * ROWS, pa.int64()), tmp_path / "set.parquet")
    refused("every label in label is null")
    with_labels(table, pa.array([1] * ROWS), tmp_path / "set.parquet")
    refused("needs at least two labels", all_to_all=True)
    refused("nothing to draw", rate=1e-9, preview=tmp_path / "preview.png")
