"""A finding: a trigger that images of one class share, in figures and as a file."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from safetensors import numpy as safetensors

from sanitizer.metrics import Share
from sanitizer.record import Record
from sanitizer.scan.decision import Reason
from sanitizer.scan.evidence import Evidence
from sanitizer.scan.portrait import Portrait
from sanitizer.scan.signature import Signature


@dataclass(frozen=True)
class Finding(Record):
    """A trigger that was found, in figures."""

    name: str  #: such as "finding-1"
    label: str  #: of the class, a :func:`sanitizer.summary.label_key`
    class_name: str  #: for people
    reason: Reason  #: why it is held to be a trigger
    images: Share  #: of the class that carry it, more likely than not
    innocents: float  #: expected among them, by the posteriors
    evidence: Evidence  #: of the images that were searched
    separations: dict[str, float]  #: d' of its images from the others, by view
    strongest: tuple[str, ...]  #: ids of images that carry it most clearly
    weakest: tuple[str, ...]  #: of those that carry it least clearly
    nearest: tuple[str, ...]  #: of those of the class that look most like it and were kept


def pack(signature: Signature, portrait: Portrait) -> bytes:
    """A safetensors file of both."""
    tensors = signature.tensors() | portrait.tensors()
    return safetensors.save({n: np.ascontiguousarray(t) for n, t in tensors.items()})


@dataclass(frozen=True)
class Unpacked:
    """What :func:`pack` has packed."""

    signature: Signature
    portrait: Portrait

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Read a file of a finding.

        Raises:
            ValueError: it is none; the message says what is wrong.
        """
        try:
            tensors = safetensors.load(data)
            return cls(Signature.of_tensors(tensors), Portrait.of_tensors(tensors))
        except ValueError:
            raise
        except KeyError as error:
            raise ValueError(f"{error} is missing") from error
        except Exception as error:
            raise ValueError(f"no safetensors file: {error}") from error
