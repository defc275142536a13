"""The result of ``clean`` in Python: its images by verdict, figures, and a card."""

import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from outputs import table_of
from PIL import Image

from freqsan import InputError, apply, clean, spectrum
from pipelines.jobs.clean import CleanManifest
from pipelines.jobs.demo import SAMPLE

#: What a name may hold: markup, a formula, a line of ours.
HOSTILE = "<img src=x onerror=alert(1)>$x_1$\nclean  9,999"


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory: pytest.TempPathFactory) -> CleanManifest:
    """Of three shards, an image that is none in each."""
    folder = tmp_path_factory.mktemp("results")
    table = pq.read_table(str(SAMPLE)).slice(0, 300)
    rows = table.to_pylist()
    for broken in (10, 110, 210):
        rows[broken]["image"]["bytes"] = b"not an image"
    pq.write_table(pa.Table.from_pylist(rows, table.schema), folder / "set.parquet")
    return clean(folder / "set.parquet", folder / "out", shard_rows=100, quiet=True)


def output_of(result: CleanManifest) -> Path:
    return Path(result.poisoned.store.address)


def test_rows_are_the_score_rows_of_a_verdict_in_the_order_of_the_input(
    cleaned: CleanManifest,
) -> None:
    scores = table_of(output_of(cleaned), "scores/part").to_pylist()
    for rows in (cleaned.clean, cleaned.poisoned, cleaned.rejected):
        expected = [row["sample_id"] for row in scores if row["verdict"] == rows.verdict]
        assert len(rows) == len(expected) == getattr(cleaned.counts, rows.verdict) > 0
        assert list(rows.to_pandas()["sample_id"]) == expected
        assert list(rows.head(3)["sample_id"]) == expected[:3]
    assert list(cleaned.clean.head().columns) == list(scores[0])


def test_the_head_reads_no_file_that_it_does_not_need(
    cleaned: CleanManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    real = pq.ParquetFile.iter_batches

    def counting(self: pq.ParquetFile, *args: object, **options: object) -> Iterator[object]:
        opened.append("scores")
        return real(self, *args, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counting)
    assert len(cleaned.clean.head(2)) == 2
    assert len(opened) == 1


def test_a_set_without_a_removed_image_has_an_empty_table_with_all_columns(
    real_images: list[bytes], tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "one.png").write_bytes(real_images[0])
    result = clean(tmp_path / "in", tmp_path / "out", quiet=True)
    assert len(result.poisoned) == 0
    assert "reason" in result.poisoned.head().columns
    assert result.show().get_suptitle() == "0 of 0 poisoned images"
    assert "not one" in result.poisoned._repr_html_()


def test_what_a_review_has_moved_is_seen(cleaned: CleanManifest, tmp_path: Path) -> None:
    copied = shutil.copytree(output_of(cleaned), tmp_path / "out")
    result = clean(output_of(cleaned).parent / "set.parquet", copied, shard_rows=100, quiet=True)
    removed = list(result.poisoned.to_pandas()["sample_id"])
    apply(copied, dict.fromkeys(removed, "keep"), quiet=True)
    assert len(result.poisoned) == 0
    assert set(removed) <= set(result.clean.to_pandas()["sample_id"])
    assert len(result.clean.images(set(removed))) == len(removed)
    assert "No image of 300 removed" in str(result._repr_html_())


def test_a_result_whose_output_is_gone_says_so(cleaned: CleanManifest, tmp_path: Path) -> None:
    copied = shutil.copytree(output_of(cleaned), tmp_path / "out")
    result = clean(output_of(cleaned).parent / "set.parquet", copied, shard_rows=100, quiet=True)
    shutil.rmtree(copied)
    for look in (result.poisoned.head, result.show, lambda: len(result.clean)):
        with pytest.raises(InputError, match="OUTPUT no longer holds this run; clean again"):
            look()
    assert "OUTPUT no longer holds this run" in result._repr_html_()


def test_a_manifest_from_a_file_knows_no_output(cleaned: CleanManifest) -> None:
    read = CleanManifest.from_json(cleaned.to_json())
    assert read == cleaned
    assert read._repr_html_() is None
    with pytest.raises(InputError, match=r"clean\(\.\.\.\) returns one that does"):
        read.poisoned  # noqa: B018
    with pytest.raises(InputError, match="expected at least 1 image, got 0"):
        cleaned.show(0)


def test_show_draws_each_image_with_its_reason(cleaned: CleanManifest) -> None:
    figure = cleaned.show(4)
    drawn = [ax for ax in figure.axes if ax.get_images()]
    assert len(drawn) == min(4, cleaned.counts.poisoned)
    removed = cleaned.poisoned.to_pandas()
    for ax in drawn:
        words = ax.get_xlabel().replace("\n", " ")
        assert any(words.startswith(row.sample_id) for row in removed.itertuples())
        assert "clean images" in words or "pattern" in words
        assert ax.get_images()[0].get_array().shape == (32, 32, 3)
    labels = [ax.get_xlabel() for ax in figure.axes]
    assert labels == [ax.get_xlabel() for ax in cleaned.show(4).axes]  # the same ones each time
    broken = cleaned.rejected.show(2).axes[0]
    assert not broken.get_images()
    assert "unsupported format: not" in broken.texts[0].get_text().replace("\n", " ")


class Tags(HTMLParser):
    """The tags that a browser would see, and whether each is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.open.append(tag)
        assert not any(name.startswith("on") or name in ("src", "href") for name, _ in attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_names_in_the_data_are_text_in_a_card_and_in_figures(
    real_images: list[bytes], tmp_path: Path
) -> None:
    hostile = HOSTILE.replace("/", "")
    folder = tmp_path / "in" / hostile
    folder.mkdir(parents=True)
    for number, data in enumerate(real_images[:3]):
        (folder / f"{number}{hostile}.png").write_bytes(data)
    (folder / "broken.png").write_bytes(b"not an image")
    result = clean(tmp_path / "in", tmp_path / f"out{hostile}", quiet=True)
    tags = Tags()
    tags.feed(result._repr_html_())
    assert tags.open == []
    assert tags.seen <= {"div", "strong", "span", "table", "tr", "td", "code", "ul", "li"}
    assert "\n" not in result._repr_html_()
    figure = result.clean.show(3)
    assert r"\nclean" in figure.axes[0].get_xlabel().replace("\n", "")
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_the_card_has_no_colour_of_a_page_and_loads_nothing(cleaned: CleanManifest) -> None:
    card = cleaned._repr_html_()
    assert "http" not in card
    assert set(re.findall(r"[; \"]color:([^;\"]+)", card)) == {
        *("inherit", "#3f88c5", "#d1495b", "#b08900")
    }


def test_a_spectrum_is_a_figure_too(real_images: list[bytes], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "one.png").write_bytes(real_images[0])
    counts = spectrum(tmp_path / "in", quiet=True)
    assert counts.to_json() == {"images": 1, "left_out": 0}
    assert counts.values.shape == (32, 32)
    assert counts.figure().axes[0].get_title() == "in"
    assert list(tmp_path.iterdir()) == [tmp_path / "in"]
    spectrum(tmp_path / "in", tmp_path / "out.png", quiet=True)
    assert (tmp_path / "out.png").read_bytes() == counts._repr_png_()
    assert Image.open(tmp_path / "out.png").format == "PNG"
