"""``--verify-hashes``: images that are not what their set says they are."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import run
from outputs import table_of

from pipelines.jobs.demo import SAMPLE
from pipelines.runs import layout

IMAGES = 20

#: The row whose image is another than its hash says, and the one without a hash.
CHANGED, BARE = 3, 7


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    return [row["bytes"] for row in pq.read_table(str(SAMPLE))["image"].to_pylist()[:IMAGES]]


@pytest.fixture(scope="module")
def hashes(images: list[bytes]) -> list[str | None]:
    """As published: of one image in capitals, of one wrong, of one none."""
    found: list[str | None] = [hashlib.sha256(image).hexdigest() for image in images]
    found[0] = str(found[0]).upper()
    found[CHANGED] = hashlib.sha256(b"what it was before").hexdigest()
    found[BARE] = None
    return found


Write = Callable[[Path, list[bytes], list[str | None]], Path]


def _texts(folder: Path, images: list[bytes], hashes: list[str | None]) -> Path:
    pq.write_table(pa.table({"jpg": images, "sha256": hashes}), folder / "set.parquet")
    return folder / "set.parquet"


def _digests(folder: Path, images: list[bytes], hashes: list[str | None]) -> Path:
    raw = [None if one is None else bytes.fromhex(one) for one in hashes]
    pq.write_table(pa.table({"jpg": images, "sha256": raw}), folder / "set.parquet")
    return folder / "set.parquet"


def _in_json(folder: Path, images: list[bytes], hashes: list[str | None]) -> Path:
    members = {}
    for i, (image, one) in enumerate(zip(images, hashes, strict=True)):
        members[f"{i:03d}.png"] = image
        members[f"{i:03d}.json"] = json.dumps({"url": "x", "sha256": one}).encode()
    return _tar(folder, members)


def _members(folder: Path, images: list[bytes], hashes: list[str | None]) -> Path:
    members = {}
    for i, (image, one) in enumerate(zip(images, hashes, strict=True)):
        members[f"{i:03d}.png"] = image
        members |= {f"{i:03d}.sha256": f"{one}\n".encode()} if one else {}
    return _tar(folder, members)


def _tar(folder: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(folder / "set.tar", "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return folder / "set.tar"


@pytest.mark.parametrize("write", [_digests, _in_json, _members])
def test_hashes_are_found_wherever_sets_have_them(
    write: Write, images: list[bytes], hashes: list[str | None], tmp_path: Path
) -> None:
    path = write(tmp_path, images, hashes)
    done = run("score", path, tmp_path / "out", "--quiet", "--json", "--verify-hashes")
    assert done.exit_code == 0, done.stderr
    rejected = json.loads(done.stdout)["rejected_by_reason"]
    assert rejected == {"hash mismatch": 1, "hash missing": 1}


def test_an_image_that_is_not_what_its_set_says_is_rejected_with_its_bytes(
    images: list[bytes], hashes: list[str | None], tmp_path: Path
) -> None:
    path, output = _texts(tmp_path, images, hashes), tmp_path / "out"
    command = ["clean", path, output, "--no-scan", "--quiet", "--json"]
    done = run(*command, "--verify-hashes")
    assert done.exit_code == 0, done.stderr
    manifest = json.loads(done.stdout)
    assert manifest["rejected_by_reason"] == {"hash mismatch": 1, "hash missing": 1}
    assert manifest["counts"]["read"] == IMAGES
    summary = json.loads((output / layout.SUMMARY).read_text())
    assert summary["rejected_by_reason"] == manifest["rejected_by_reason"]
    rows = table_of(output, "rejected/part").to_pylist()
    assert [row["bytes"] for row in rows] == [images[CHANGED], images[BARE]]
    found = hashlib.sha256(images[CHANGED]).hexdigest()
    assert rows[0]["reason"] == (
        f"hash mismatch: its SHA-256 is {found}, the set says '{hashes[CHANGED]}'"
    )
    assert rows[1]["reason"] == "hash missing: the set gives no sha256 for this image"
    # Verified or not are two results.
    other = run(*command)
    assert other.exit_code == 2
    assert "differs in whether hashes are verified;" in other.stderr


def test_scan_and_score_reject_too_and_ingest_says_so(
    images: list[bytes], hashes: list[str | None], tmp_path: Path
) -> None:
    path = _texts(tmp_path, images, hashes)
    for job in ("scan", "score"):
        done = run(job, path, tmp_path / job, "--verify-hashes", "--allow-unjudged", "--json")
        assert done.exit_code == 0, done.stderr
        assert json.loads(done.stdout)["rejected_by_reason"]["hash mismatch"] == 1
    done = run("ingest", path, tmp_path / "ingest", "--verify-hashes", "--quiet")
    assert "1 of them do not match and are copied as they are: hash mismatch" in done.stdout
    rows = table_of(tmp_path / "ingest", "data/train").to_pylist()
    assert [row["jpg"] for row in rows] == images


def test_a_set_without_hashes_is_refused_in_one_line(images: list[bytes], tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "1.png").write_bytes(images[0])
    pq.write_table(pa.table({"jpg": images, "sha256": range(IMAGES)}), tmp_path / "set.parquet")
    bare = _in_json(tmp_path, images, [None] * IMAGES)
    for path in (folder, tmp_path / "set.parquet", bare):
        refused = run("clean", path, tmp_path / "out", "--verify-hashes")
        assert refused.exit_code == 2
        assert refused.stderr.startswith(f"freqsan: {path}: found no sha256 to verify (")
        assert refused.stderr.count("\n") == 1
    refused = run("prove", folder, "--attack", "badnets", "--verify-hashes")
    assert refused.exit_code == 2
    assert "a proof rejects no image before it trains" in refused.stderr


def test_what_stands_for_a_hash_may_be_anything(images: list[bytes], tmp_path: Path) -> None:
    odd = ["", " ", "\x1b[31m", "0" * 10_000, "zz" * 32]
    given = [*odd, *(hashlib.sha256(image).hexdigest() for image in images[len(odd) :])]
    path = _texts(tmp_path, images, given)
    done = run("score", path, tmp_path / "out", "--verify-hashes", "--json", "--quiet")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["rejected_by_reason"] == {
        "hash mismatch": 3,
        "hash missing": 2,
    }
