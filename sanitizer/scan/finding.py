"""A finding: a trigger that images of one class share, in figures and as a file."""

import json
import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from safetensors import numpy as safetensors

from sanitizer.errors import quoted
from sanitizer.metrics import Share
from sanitizer.record import Record
from sanitizer.scan.decision import Reason
from sanitizer.scan.evidence import Evidence
from sanitizer.scan.portrait import Portrait
from sanitizer.scan.screening import Screening
from sanitizer.scan.signature import Signature


@dataclass(frozen=True)
class Finding(Record):
    """A trigger that was found, in figures.

    Raises:
        ValueError: a negative number of innocent images, or none that is a number.
    """

    name: str  #: such as "finding-1"
    label: str  #: of the class, a :func:`sanitizer.summary.label_key`
    class_name: str  #: for people
    reason: Reason  #: why it is held to be a trigger
    images: Share  #: of the class that carry it, more likely than not
    innocents: float  #: expected among them, by the posteriors
    evidence: Evidence  #: of the images that were searched
    separations: dict[str, float]  #: d' of its images from the others, by view
    screening: Screening  #: how it is found in other data
    strongest: tuple[str, ...]  #: ids of images that carry it most clearly
    weakest: tuple[str, ...]  #: of those that carry it least clearly
    nearest: tuple[str, ...]  #: of those of the class that look most like it and were kept

    def __post_init__(self) -> None:
        if not 0 <= self.innocents < math.inf:
            raise ValueError(f"innocents: expected a number from 0, got {self.innocents}")

    @property
    def whose(self) -> str:
        """The images of its class, in words."""
        if self.label == "null":
            return "images without a label" if self.is_beside_labels else "images"
        return f"images labelled {quoted(self.class_name)}"

    @property
    def is_beside_labels(self) -> bool:
        """Whether other images of the set have labels: else it is compared with mirror images."""
        return self.reason is not Reason.ONE_WAY_ROUND


def pack(signature: Signature, portrait: Portrait) -> bytes:
    """A safetensors file of both."""
    tensors = signature.tensors() | portrait.tensors()
    return safetensors.save({n: np.ascontiguousarray(t) for n, t in tensors.items()})


def labelled(data: bytes, finding: Finding) -> bytes:
    """The file that :func:`pack` made, with the figures of the finding in it."""
    # One entry: several are written in any order, and the same run would not give the same file.
    header = json.dumps({_FORMAT: FORMAT, _FINDING: finding.to_json()})
    return safetensors.save(safetensors.load(data), {_HEADER: header})


def finding_in(data: bytes) -> Finding:
    """The figures in a file that :func:`labelled` made.

    Raises:
        ValueError: there are none, they are out of range, or the file is of another format; the
            message says what is wrong.
    """
    size = int.from_bytes(data[:_LENGTH], "little")
    try:
        header = json.loads(json.loads(data[_LENGTH : _LENGTH + size])["__metadata__"][_HEADER])
        version = header.get(_FORMAT)
        if type(version) is not int or version != FORMAT:
            raise ValueError(
                f"its format is {version!r:.20}, expected {FORMAT}: another version of freqsan "
                "made it; make it anew by a scan with this one"
            )
        return Finding.from_json(header[_FINDING])
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError("no safetensors file") from error
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("no figures of a finding in it") from error


#: Of the files that this version writes and reads: what is in them, and what it means.
FORMAT = 1

#: Bytes of the length of the file's header, and the names of what is in it.
_LENGTH, _HEADER, _FORMAT, _FINDING = 8, "freqsan", "format", "finding"


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
