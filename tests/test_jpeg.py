"""The quality of a JPEG, by its tables."""

import io

import numpy as np
import pytest
from pictures import noise
from PIL import Image

from sanitizer.images import read_header
from sanitizer.jpeg import quality_of


def jpeg(**options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(noise(40, 30, 3)).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("quality", [1, 10, 50, 75, 90, 95, 100])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_the_quality_is_that_it_was_written_with(quality: int, subsampling: str) -> None:
    header = read_header(jpeg(quality=quality, subsampling=subsampling))
    assert header.quality == quality


def test_grey_and_progressive_files_have_a_quality_and_lossless_ones_none() -> None:
    grey = io.BytesIO()
    Image.fromarray(noise(40, 30, 3)).convert("L").save(grey, "JPEG", quality=60)
    assert read_header(grey.getvalue()).quality == 60
    assert read_header(jpeg(quality=85, progressive=True)).quality == 85
    png = io.BytesIO()
    Image.fromarray(noise(40, 30, 3)).save(png, "PNG")
    assert read_header(png.getvalue()).quality is None


def test_tables_of_another_encoder_have_the_nearest_quality() -> None:
    standard = jpeg(quality=80)
    with Image.open(io.BytesIO(standard)) as image:
        table = np.array(image.quantization[0])
    camera = np.maximum(1, table + np.random.default_rng(0).integers(-1, 2, 64)).tolist()
    assert abs((quality_of({0: camera}) or 0) - 80) <= 2
    assert quality_of({}) is None
