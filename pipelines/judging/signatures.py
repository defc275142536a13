"""Triggers that were found in another set, to be looked for in this one."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from pipelines.sources.files import open_file
from pipelines.sources.remote import is_remote
from sanitizer.errors import InputError, shortened
from sanitizer.scan.canonical import Compact
from sanitizer.scan.finding import Finding, Unpacked, finding_in
from sanitizer.scan.signature import Signature
from sanitizer.summary import SignatureFacts

#: A larger file is none of ours.
MAX_BYTES = 4 << 20


@dataclass(frozen=True)
class KnownFinding(Finding):
    """A finding of another set: its images are none of this one."""

    path: str = ""  #: of its file, as the user gave it

    @property
    def whose(self) -> str:
        return f"{super().whose} of the set where {shortened(self.path)} was made"


@dataclass(frozen=True)
class KnownTrigger:
    """A trigger that was found in another set."""

    path: str  #: as the user gave it
    name: str  #: of its file; where several have that name, its path
    finding: Finding
    signature: Signature
    sha256: str  #: of its file

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Read the signature of a finding.

        Raises:
            InputError: there is none at the path; one line says what is wrong.
            Unreachable: the store that it is in does not give it.
        """
        try:
            data = _content(str(path))
        except OSError as error:
            raise InputError(
                f"--signature {path}: {error.strerror or 'no such file'}; expected a file "
                "findings/NAME.safetensors of an earlier run"
            ) from error
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
        name = str(path).rpartition("/")[2] if is_remote(str(path)) else Path(path).name
        return cls(str(path), name, finding, signature, hashlib.sha256(data).hexdigest())

    @classmethod
    def open_all(cls, paths: Iterable[str | Path]) -> tuple[Self, ...]:
        """Read several, each once.

        Raises:
            InputError: as :meth:`open`.
        """
        known = [cls.open(path) for path in dict.fromkeys(map(str, paths))]
        times = Counter(one.name for one in known)
        return tuple(replace(one, name=one.path) if times[one.name] > 1 else one for one in known)

    def log_odds(self, images: Compact) -> np.ndarray:
        """(n,) of carrying it, for n images of any class."""
        return self.finding.screening.log_odds(self.signature.scores(images))

    @property
    def named(self) -> Finding:
        """Its finding, by the name of its file: those of this set have names of their own."""
        return KnownFinding(**vars(self.finding) | {"name": self.name, "path": self.path})

    def facts(self, carriers: Mapping[str, int]) -> SignatureFacts:
        """What is told of it.

        Args:
            carriers: images of this set that carry each trigger, by its name.
        """
        finding = self.finding
        return SignatureFacts(
            name=self.name,
            path=self.path,
            whose=finding.whose,
            made_of=finding.images,
            found=finding.screening.found,
            false_alarms=finding.screening.false_alarms,
            images=carriers.get(self.name, 0),
        )


def _content(path: str) -> bytes:
    """What a file holds, here or in a store.

    Raises:
        OSError: it is missing or cannot be read.
        ValueError: it is too large.
        Unreachable: the store that it is in does not give it.
    """
    if is_remote(path):
        root, _, name = path.rpartition("/")
        with open_file(root, name) as file:
            data = file.read(MAX_BYTES + 1)
    else:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES:,} bytes")
    return data
