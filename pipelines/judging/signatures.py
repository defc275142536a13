"""Triggers that were found in another set, to be looked for in this one."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from sanitizer.errors import InputError
from sanitizer.scan.canonical import Compact
from sanitizer.scan.finding import Finding, Unpacked, finding_in
from sanitizer.scan.signature import Signature

#: A larger file is none of ours.
MAX_BYTES = 4 << 20


@dataclass(frozen=True)
class KnownTrigger:
    """A trigger that was found in another set."""

    path: str  #: as the user gave it
    finding: Finding
    signature: Signature
    sha256: str  #: of its file

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Read the signature of a finding.

        Raises:
            InputError: there is none at the path; one line says what is wrong.
        """
        try:
            if Path(path).stat().st_size > MAX_BYTES:
                raise ValueError(f"it has more than {MAX_BYTES:,} bytes")
            data = Path(path).read_bytes()
        except OSError as error:
            raise InputError(f"--signature {path}: {error.strerror or error}") from error
        except ValueError as error:
            raise InputError(f"--signature {path} is no signature: {error}") from error
        try:
            finding = finding_in(data)
            signature = Unpacked.of(data).signature
            threshold, farthest = finding.screening.threshold, signature.farthest
            if not abs(threshold) < farthest:
                raise ValueError(
                    f"threshold: expected between -{farthest:g} and {farthest:g}, where its "
                    f"scores are, got {threshold:g}"
                )
        except ValueError as error:
            raise InputError(
                f"--signature {path} is no signature of a finding: {error}; expected a file "
                "findings/NAME.safetensors of an earlier run"
            ) from error
        return cls(str(path), finding, signature, hashlib.sha256(data).hexdigest())

    @classmethod
    def open_all(cls, paths: Iterable[str | Path]) -> tuple[Self, ...]:
        """Read several.

        Raises:
            InputError: as :meth:`open`.
        """
        return tuple(map(cls.open, paths))

    def log_odds(self, images: Compact) -> np.ndarray:
        """(n,) of carrying it, for n images of any class."""
        return self.finding.screening.log_odds(self.signature.scores(images))

    @property
    def named(self) -> Finding:
        """Its finding, by the name of its file: those of this set have names of their own."""
        return replace(self.finding, name=Path(self.path).name)

    @property
    def words(self) -> str:
        """How well it is told, as far as that was measured, as a sentence."""
        screening = self.finding.screening
        alarms = screening.false_alarms
        false = (
            f"{alarms.count:,} of {alarms.of:,} innocent images"
            if alarms.of
            else "of innocent images nobody knows how many"
        )
        return (
            f"{self.path} was found on {self.finding.images.count:,} images labelled "
            f"{self.finding.class_name!r}: it finds {screening.found.count:,} of "
            f"{screening.found.of:,} of them again, and {false} beside."
        )
