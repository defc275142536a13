"""Full float32 arithmetic for as long as something is scored, whatever the process has chosen.

A process may allow torch to round the factors of its products to fewer bits: TF32 on a GPU,
bfloat16 on a CPU, either by autocast. That is fine for training, and moves scores by far more
than machines differ otherwise.
"""

import threading
from typing import Any

import torch

#: Settings of the whole process, and their value in full precision. Older versions of torch
#: have fewer.
_EXACT: list[tuple[Any, str, object]] = [
    (place, name, value)
    for place, name, value in (
        (torch.backends.cuda.matmul, "fp32_precision", "ieee"),
        (getattr(torch.backends.mkldnn, "matmul", None), "fp32_precision", "ieee"),
        (getattr(torch.backends.mkldnn, "conv", None), "fp32_precision", "ieee"),
        (torch.backends.cudnn, "allow_tf32", False),
    )
    if hasattr(place, name)
]


class FullPrecision:
    """A context that threads may share: the last one out leaves the settings as they were.

    It is for all threads of the process; what others compute meanwhile is in full precision too.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before: list[object] = []
        self._products_before = ""

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._products_before = torch.get_float32_matmul_precision()
                self._before = [getattr(place, name) for place, name, _ in _EXACT]
                torch.set_float32_matmul_precision("highest")
                self._set([value for _, _, value in _EXACT])
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                torch.set_float32_matmul_precision(self._products_before)
                self._set(self._before)

    @staticmethod
    def _set(values: list[object]) -> None:
        for (place, name, _), value in zip(_EXACT, values, strict=True):
            setattr(place, name, value)


full_precision = FullPrecision()
