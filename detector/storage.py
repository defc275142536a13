"""A detector's directory: ``weights.safetensors`` and ``detector.json``.

Both are read with suspicion, for the directory may be a stranger's, and nothing is unpickled.
Each is written as a whole or not at all.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec

from detector.calibration import Calibration
from detector.card import Card
from detector.weights import MAX_FILE, TensorForm, file_size, read_weights
from sanitizer.errors import InputError
from sanitizer.files import write_atomically

WEIGHTS, CARD = "weights.safetensors", "detector.json"

#: Bytes that a card may have at most.
MAX_CARD = 16 << 20


class DetectorError(InputError):
    """There is no such detector, or its directory does not hold a whole one; one line."""


def load_card(directory: Path) -> tuple[Card, Calibration]:
    """The card of a detector, and its calibration.

    Raises:
        DetectorError: in one line, what is missing or wrong.
    """
    path = directory / CARD
    with _explained(path):
        file_size(path, MAX_CARD)
        data = path.read_bytes()
    try:
        stored = msgspec.json.decode(data)
    except (ValueError, RecursionError) as error:
        raise DetectorError(f"{path} is not valid JSON: {one_line(error)}") from error
    if not isinstance(stored, dict):
        raise DetectorError(f"{path}: expected a JSON object, got {type(stored).__name__}")
    try:
        return Card.from_json(stored), Calibration.from_json(stored.get("calibration"))
    except (ValueError, OverflowError) as error:
        raise DetectorError(f"{path} is no detector's card: {one_line(error)}") from error


def load_weights(directory: Path, expected: Mapping[str, TensorForm], sha256: str = "") -> bytes:
    """The whole file of weights, if it holds the expected tensors.

    Args:
        sha256: of the file, in hexadecimal digits; empty: not known.

    Raises:
        DetectorError: in one line, what is missing or wrong.
    """
    path = directory / WEIGHTS
    with _explained(path):
        weights = read_weights(path, expected)
    found = hashlib.sha256(weights).hexdigest()
    if sha256 and found != sha256:
        raise DetectorError(
            f"{path} is damaged, or of another detector: its SHA-256 is {found[:12]}…, {CARD} "
            f"expects {sha256[:12]}…"
        )
    return weights


def save(directory: Path, weights: bytes, card: Card, calibration: Calibration) -> None:
    """Write both files; the card comes last."""
    write_atomically(directory / WEIGHTS, weights)
    card = replace(card, weights_sha256=hashlib.sha256(weights).hexdigest())
    save_card(directory, card, calibration)


def save_card(directory: Path, card: Card, calibration: Calibration) -> None:
    """Write ``detector.json``, one calibration group a line."""
    head = json.dumps(card.to_json(), indent=2)[:-2]
    groups = ",\n    ".join(json.dumps(group) for group in calibration.to_json())
    text = f'{head},\n  "calibration": [\n    {groups}\n  ]\n}}\n'
    write_atomically(directory / CARD, text.encode())


def identity(weights: bytes, card: Card, calibration: Calibration) -> str:
    """Name and digest of a detector: two with the same identity give the same p-values.

    The digest is the first 12 hexadecimal digits of a SHA-256 over the weights, the network's
    settings, the temperature, the inputs, the combinations and the calibration.
    """
    settings = [card.settings.to_json(), card.temperature, card.inputs.to_json()]
    settings += [one.to_json() for one in card.combinations]
    digest = hashlib.sha256(weights)
    digest.update(json.dumps([*settings, calibration.digest()], sort_keys=True).encode())
    return f"{card.name}@{digest.hexdigest()[:12]}"


def identity_of(directory: Path) -> str:
    """The identity of a detector by its files, without building it.

    Raises:
        DetectorError: in one line, what is missing or wrong.
    """
    card, calibration = load_card(directory)
    with _explained(directory / WEIGHTS):
        file_size(directory / WEIGHTS, MAX_FILE)
        weights = (directory / WEIGHTS).read_bytes()
    return identity(weights, card, calibration)


def one_line(error: Exception) -> str:
    """The first line of what an error says."""
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Failures with a file as a DetectorError."""
    try:
        yield
    except FileNotFoundError as error:
        raise DetectorError(f"{path.parent} is no detector: {path.name} is missing") from error
    except OSError as error:
        raise DetectorError(f"{path} cannot be read: {one_line(error)}") from error
    except ValueError as error:
        raise DetectorError(f"{path} is refused: {one_line(error)}") from error
