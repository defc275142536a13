"""The libraries by which people read image sets, as they are installed."""

import importlib.util
from pathlib import Path
from typing import Any

import torch

#: Keeps what it declares for as long as the process lives.
_declared: list[Any] = []


def classes_seen(folder: Path) -> dict[str, str]:
    """The class of each file by ``torchvision.datasets.ImageFolder``, by relative path.

    Every image is decoded. Their number, the index of the class, must be the place of its name.
    """
    _load_operators()
    from torchvision.datasets import ImageFolder

    read = ImageFolder(str(folder))
    told = {}
    for (path, label), (image, again) in zip(read.samples, read, strict=True):
        assert image.size[0] > 0
        assert again == label
        told[Path(path).relative_to(folder).as_posix()] = read.classes[label]
    return told


def _load_operators() -> None:
    """Let torchvision be imported where its compiled operators do not fit this torch.

    The wheels of the package index are compiled for CUDA, and beside a torch for the CPU the import
    ends at an operator that is not there. Reading folders needs none of them.
    """
    if _declared:
        return
    spec = importlib.util.find_spec("torchvision")
    assert spec is not None
    assert spec.origin is not None
    try:
        torch.ops.load_library(str(next(Path(spec.origin).parent.glob("_C*.so"))))
        _declared.append(None)
    except OSError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(library)


def loaded(kind: str, **how: Any) -> list[dict[str, Any]]:
    """All rows by ``load_dataset``, which must be the same when they are streamed.

    Images are decoded, and come out as their size.
    """
    from datasets import load_dataset

    whole = load_dataset(kind, split="train", **how)
    streamed = load_dataset(kind, split="train", streaming=True, **how)
    rows = [_sized(row) for row in whole]
    assert [_sized(row) for row in streamed] == rows
    return rows


def _sized(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v.size if hasattr(v, "getbands") else v for k, v in row.items()}
