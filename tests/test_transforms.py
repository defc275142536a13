"""The passes as Beam transforms, in a pipeline that is not ours."""

import runpy
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that
from outputs import table_of
from workers import job_service

from freqsan import InputError, score
from pipelines.jobs.demo import SAMPLE
from pipelines.transforms import JudgedImage, ReadImages, Sample, ScoreImages, SplitByVerdict

ROOT = Path(__file__).resolve().parents[1]
ROWS = 120


@pytest.fixture(scope="module")
def image_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of the sample, and one file that is none."""
    folder = tmp_path_factory.mktemp("set") / "photos"
    for i, row in enumerate(pq.read_table(str(SAMPLE)).slice(0, ROWS).to_pylist()):
        file = folder / ("cat" if i % 2 else "dog") / f"{i:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(row["image"]["bytes"])
    (folder / "cat" / "none.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def rows(image_set: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """What ``score`` says of each image, by id."""
    output = tmp_path_factory.mktemp("out") / "scored"
    score(image_set, output, quiet=True)
    return {row["sample_id"]: row for row in table_of(output, "scores/part").to_pylist()}


def told(verdict: str, rows: dict[str, dict[str, object]]) -> Callable[[list[JudgedImage]], None]:
    """A check that the images of a verdict have the scores that ``score`` gives."""

    def check(judged: list[JudgedImage]) -> None:
        assert judged
        for one in judged:
            assert one.verdict == verdict
            assert one.scored.score == rows[one.sample_id]["score"]
            assert one.scored.sample.label == rows[one.sample_id]["label"]
            assert one.scored.sample.source == rows[one.sample_id]["source"]
            if verdict == "rejected":
                assert one.reason == rows[one.sample_id]["reason"]
            else:
                assert one.scored.p_value is not None
                assert (one.scored.p_value <= 0.05) == (verdict == "poisoned")

    return check


@pytest.mark.parametrize("runner", ["FnApiRunner", "PortableRunner"])
def test_images_get_the_scores_that_the_command_gives(
    runner: str, image_set: Path, rows: dict[str, dict[str, object]], tmp_path: Path
) -> None:
    def build(options: list[str]) -> None:
        made = beam.options.pipeline_options.PipelineOptions([f"--runner={runner}", *options])
        with beam.Pipeline(options=made) as pipeline:
            verdicts = (
                pipeline
                | ReadImages(image_set, shard_rows=50)
                | ScoreImages()
                | SplitByVerdict(max_clean_loss=0.05)
            )
            for verdict in ("clean", "poisoned", "rejected"):
                assert_that(verdicts[verdict], told(verdict, rows), label=verdict)
            ids = (
                (verdicts.clean, verdicts.poisoned, verdicts.rejected)
                | beam.Flatten()
                | beam.Map(lambda one: one.sample_id)
            )
            assert_that(ids, lambda found: _same(found, rows), label="nothing lost")

    if runner == "FnApiRunner":
        build([])
    else:
        with job_service(tmp_path) as endpoint:
            build([endpoint, "--environment_type=LOOPBACK"])


def _same(found: list[str], rows: dict[str, dict[str, object]]) -> None:
    assert sorted(found) == sorted(rows)


def test_trusted_images_decide_where_they_are_given(image_set: Path) -> None:
    def compared(found: list[int | None]) -> None:
        assert set(found) == {ROWS, None}

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        scored = pipeline | ReadImages(image_set) | ScoreImages(trusted=image_set)
        assert_that(scored | beam.Map(lambda one: one.compared), compared)


def test_an_image_that_was_not_read_is_rejected_with_the_reason() -> None:
    sample = Sample("a.png", "a.png", None, None, "broken link: leads nowhere")

    def check(judged: list[JudgedImage]) -> None:
        assert [(one.sample_id, one.reason) for one in judged] == [("a.png", sample.unread)]

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        verdicts = pipeline | beam.Create([sample]) | ScoreImages() | SplitByVerdict()
        assert_that(verdicts.rejected, check)


def test_what_cannot_work_is_told_where_the_pipeline_is_built(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        ReadImages(tmp_path / "missing")
    with pytest.raises(InputError, match="no detector"):
        ScoreImages("nobody")
    with pytest.raises(InputError, match="clean loss"):
        SplitByVerdict(max_clean_loss=0.7)


def test_the_example_runs(image_set: Path, tmp_path: Path) -> None:
    example = runpy.run_path(str(ROOT / "examples" / "beam_pipeline.py"))
    kept, removed = tmp_path / "kept.txt", tmp_path / "removed.txt"
    example["main"](str(image_set), str(kept), str(removed), "--runner=FnApiRunner")
    lists = kept.read_text().splitlines(), removed.read_text().splitlines()
    assert len(lists[0]) + len(lists[1]) == ROWS + 1
    assert any(line.startswith("cat/none.png\trejected\t") for line in lists[1])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda photos: ReadImages(photos, shard_rows=0), "shard rows: expected at least 1, got 0"),
        (lambda photos: ReadImages(photos, shard_rows="7"), "shard rows: expected a whole number"),
        (lambda photos: ScoreImages(detector=5), "detector: expected a path"),
        (lambda photos: SplitByVerdict("x"), "max clean loss: expected a finite number"),
        (lambda photos: SplitByVerdict(0.7), "clean loss"),
    ],
)
def test_a_wrong_argument_is_one_line(
    make: Callable[[Path], object], words: str, image_folder: Path
) -> None:
    with pytest.raises(InputError, match=words):
        make(image_folder)
