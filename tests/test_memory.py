"""What is held in memory does not grow with the number of images or their size."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from peaks import MIB, peak_of, peak_of_freqsan
from PIL import Image

import attacks

#: Puts an attack on one image of noise, by name, height and width.
APPLY = """
import sys
import numpy as np
import attacks
name, height, width = sys.argv[1], *map(int, sys.argv[2:])
shape = 1, height, width, 3
attacks.get(name)(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
"""

#: Attacks that take seconds for a megapixel.
SLOW = ("adaptive_blend", "blend", "gan_tri", "issba", "lira", "refool")


@pytest.mark.parametrize(
    ("name", "height", "width"),
    [
        *((name, 1000, 1000) for name in SLOW),
        *((name, 2000, 3000) for name in attacks.names() if name not in SLOW),
        ("bpp", 12_000, 300),
    ],
)
def test_a_trigger_takes_about_ten_images(name: str, height: int, width: int) -> None:
    images = 11 * height * width * 3 / MIB
    assert peak_of("-c", APPLY, name, height, width) < 80 + max(images, 160)


def flat(width: int, height: int) -> bytes:
    """A grey JPEG, small until it is decoded."""
    out = io.BytesIO()
    Image.new("RGB", (width, height), "grey").save(out, "JPEG")
    return out.getvalue()


#: Reads a set, in batches as large as they come.
READ = """
import sys
from pipelines.sources import open_source
source = open_source(sys.argv[1], image_column="image")
for shard in source.shards:
    for samples in source.reader.read(shard, 2048):
        pass
"""

#: Trains for a few steps on so many views, and takes up the checkpoint of that.
TRAIN = """
import sys
from pathlib import Path
import numpy as np
from detector.training.loop import TrainSettings, train
from pipelines.jobs.train import MAX_POOL, Views
pool, rng = Views(MAX_POOL, 0), np.random.default_rng(0)
view = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
for _ in range(int(sys.argv[1])):
    pool.offer(view)
for _ in range(2):
    train(
        pool.kept, {}, TrainSettings(epochs=1, pairs=64), checkpoint_dir=Path(sys.argv[2])
    )
"""


def repeated(path: Path, image: bytes, count: int) -> Path:
    """A Parquet file with the same labelled image in many rows."""
    images = pa.array([image] * count, pa.binary())
    table = pa.table({"image": images, "label": [0] * count})
    pq.write_table(table, path, row_group_size=50, use_dictionary=False)
    return path


def by_dictionary(folder: Path, image: bytes, rows: int) -> Path:
    """A Parquet file that holds an image once and names it in each row."""
    table = pa.table({"image": pa.array([image] * rows, pa.binary())})
    pq.write_table(table, folder / "set.parquet")
    return folder / "set.parquet"


def by_prefix(folder: Path, image: bytes, rows: int) -> Path:
    """A Parquet file of which each row says that it begins like the one before."""
    table = pa.table({"image": pa.array([image] * rows, pa.binary())})
    pq.write_table(
        table,
        folder / "set.parquet",
        use_dictionary=False,
        column_encoding={"image": "DELTA_BYTE_ARRAY"},
    )
    return folder / "set.parquet"


def by_views(folder: Path, image: bytes, rows: int) -> Path:
    """A saved dataset whose rows are views of one and the same bytes."""
    view = np.array([len(image), int.from_bytes(image[:4], "little"), 0, 0], np.int32)
    buffers = [None, pa.py_buffer(np.tile(view, rows)), pa.py_buffer(image)]
    images = pa.Array.from_buffers(pa.binary_view(), rows, buffers)
    batch = pa.record_batch([images], ["image"])
    with pa.ipc.new_stream(str(folder / "data.arrow"), batch.schema) as writer:
        writer.write_batch(batch)
    (folder / "state.json").write_text('{"_data_files": [{"filename": "data.arrow"}]}')
    return folder


@pytest.mark.parametrize("written", [by_dictionary, by_prefix, by_views])
def test_an_image_in_many_rows_is_not_held_so_many_times(
    tmp_path: Path, written: Callable[[Path, bytes, int], Path]
) -> None:
    path = written(tmp_path, bytes(MIB), 600)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 2 * MIB
    assert peak_of("-c", READ, path) < 350


def test_training_keeps_views_and_not_what_they_are_of(tmp_path: Path) -> None:
    def peak(count: int) -> float:
        strips = repeated(tmp_path / "strips.parquet", flat(20_000, 16), count)
        photos = repeated(tmp_path / "photos.parquet", flat(4000, 3000), count)
        output = tmp_path / "detector"
        return peak_of_freqsan(
            *("train", strips, "--calibrate-on", photos, "--output", output, "--quiet"),
            error="give more clean images",  # seen when all were read
        )

    assert peak(60) - peak(10) < 150


def test_the_pool_is_in_memory_once_also_where_its_checkpoint_is_written_and_read(
    tmp_path: Path,
) -> None:
    def peak(views: int) -> float:
        return peak_of("-c", TRAIN, views, tmp_path / str(views))

    few, many = 10_000, 110_000
    size = (many - few) * 32 * 32 * 3 / MIB
    assert 0.8 * size < peak(many) - peak(few) < 1.3 * size


def test_crafting_does_not_collect_encoded_images(tmp_path: Path) -> None:
    def peak(count: int) -> float:
        # A megabyte each, and none of them decodes, so that nothing is trained.
        images = repeated(tmp_path / "set.parquet", b"\x89PNG" + bytes(MIB), count)
        output = tmp_path / "trigger.safetensors"
        return peak_of_freqsan(
            *("craft", "l2_inv", images, "--output", output, "--quiet"), error="found 0 images"
        )

    assert peak(700) - peak(200) < 250
