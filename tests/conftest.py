"""Real images for the tests, and image folders made from them."""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import settings
from PIL import Image

# How long an example takes depends on what else the machine does.
settings.register_profile("freqsan", deadline=None)
settings.load_profile("freqsan")

# Several test processes share the cores; torch would take all of them in each.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real image sets: ``$FREQSAN_DATA``, or ``shared/data`` beside the repository."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("FREQSAN_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}; set FREQSAN_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def real_images(data_dir: Path) -> list[bytes]:
    """Forty encoded images, 32x32 PNG, of the set that may be shipped."""
    file = pq.ParquetFile(data_dir / "caltech101_32.parquet")
    batch = next(file.iter_batches(40, columns=["image"]))
    return [row["image"]["bytes"] for row in batch.to_pylist()]


def _touch(path: Path) -> None:
    """Make a file look written to later, whatever the clock's resolution."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


@pytest.fixture
def touch() -> Callable[[Path], None]:
    return _touch


def _save(image: Image.Image, path: Path, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


@pytest.fixture
def image_folder(real_images: list[bytes], tmp_path: Path) -> Path:
    """A folder ``cat/``, ``dog/`` of thirteen real images, each encoded in another way."""
    images = iter([Image.open(io.BytesIO(data)).convert("RGB") for data in real_images])
    root = tmp_path / "images"
    cat, dog = root / "cat", root / "dog"
    _save(next(images), cat / "plain.jpg", quality=90)
    _save(next(images), cat / "plain.png")
    _save(next(images), cat / "plain.webp", quality=90)
    _save(next(images), cat / "plain.bmp")
    _save(next(images), cat / "plain.gif")
    _save(next(images).convert("CMYK"), cat / "cmyk.jpg")
    _save(next(images).convert("L"), cat / "deeper" / "grey.jpeg")
    grey = np.asarray(next(images).convert("L")).astype(np.uint16) * 257
    _save(Image.fromarray(grey), dog / "sixteen-bit.png")
    _save(next(images).convert("P"), dog / "palette.png")
    _save(next(images).convert("LA"), dog / "grey-alpha.png")
    image = next(images)
    image.putalpha(128)
    _save(image, dog / "alpha.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: a quarter turn
    _save(next(images), dog / "turned.JPG", exif=exif)
    _save(next(images).convert("1"), dog / "one-bit.png")
    return root


@pytest.fixture
def write_folder(real_images: list[bytes], tmp_path: Path) -> Callable[..., Path]:
    """Writes real images under the given relative names; returns the folder."""

    def write(*names: str, folder: str = "folder") -> Path:
        root = tmp_path / folder
        for i, name in enumerate(names):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(real_images[i % len(real_images)])
        return root

    return write


@pytest.fixture(scope="session")
def s3_bucket() -> Iterator[str]:
    """An empty bucket on a stand-in for S3 on this machine, as a URL."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as environment:
        for name, value in settings.items():
            environment.setenv(name, value)
        import s3fs

        s3fs.S3FileSystem().mkdir("freqsan-tests")
        yield "s3://freqsan-tests"
    server.stop()
