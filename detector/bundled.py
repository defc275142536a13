"""Where detectors are: those that come with freqsan by name, all others by their directory."""

from pathlib import Path

from detector.storage import CARD, DetectorError

#: The detector of who does not say which.
DEFAULT_DETECTOR = "freqsan-small"

#: Where the detectors that come with freqsan are.
BUNDLED = Path(__file__).resolve().parent / "weights"


def names() -> list[str]:
    """Names of the detectors that come with freqsan, sorted.

    >>> names()
    ['freqsan-small']
    """
    return sorted(path.parent.name for path in BUNDLED.glob(f"*/{CARD}"))


def find(name_or_path: str | Path) -> Path:
    """The directory of a detector, as an absolute path.

    A bundled name comes first: ``./NAME`` is how to say a directory of the same name.

    Raises:
        DetectorError: there is no such directory, or it holds no card.
    """
    if str(name_or_path) in names():
        return BUNDLED / str(name_or_path)
    path = Path(name_or_path)
    try:
        is_directory, has_card = path.is_dir(), (path / CARD).is_file()
    except OSError as error:  # such as a name that is too long
        raise DetectorError(f"no detector {str(path)!r:.200}: {error.strerror}") from error
    if not is_directory:
        raise DetectorError(
            f"no detector {str(name_or_path)!r:.200}: not a directory, and the bundled ones are "
            f"{', '.join(names()) or 'none'}"
        )
    if not has_card:
        raise DetectorError(f"{path} is no detector: {CARD} is missing")
    return path.absolute()


def address(name_or_path: str | Path) -> str:
    """What finds a detector on any machine and from any folder: its name, or an absolute path.

    Raises:
        DetectorError: there is no such directory.
    """
    return str(name_or_path) if str(name_or_path) in names() else str(find(name_or_path))
