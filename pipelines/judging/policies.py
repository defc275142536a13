"""What a user can choose for judging, checked without loading what judges."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from detector import bundled
from detector.inputs import Tiles
from detector.storage import load_card
from pipelines.judging.fetching import fetch
from pipelines.runs.guards import check_apart
from pipelines.runs.job import Settings
from pipelines.runs.store import Store
from pipelines.sources import open_source
from pipelines.sources.base import Source
from pipelines.sources.remote import is_remote
from sanitizer.errors import InputError
from sanitizer.policy import Budget, FalseDiscovery, Policy

if TYPE_CHECKING:
    from pipelines.judging.signatures import KnownTrigger

#: The policy of ``clean`` and ``score`` where the user names none.
DEFAULT_POLICY = FalseDiscovery.name


def choose_policy(
    name: str, max_clean_loss: float | None = None, fdr: float | None = None
) -> Policy:
    """The policy of a name.

    Args:
        name: of the policy.
        max_clean_loss: share of clean images that may be lost; None: the policy's own.
        fdr: of policy fdr; None: its own.

    Raises:
        InputError: an unknown name; a setting that is out of range, or one without effect.
    """
    kinds = {kind.name: kind for kind in (FalseDiscovery, Budget)}
    if name not in kinds:
        raise InputError(f"no policy {name!r}, known: {', '.join(kinds)}")
    if fdr is not None and name != FalseDiscovery.name:
        raise InputError(
            f"fdr: has no effect with policy {name}; leave it out, or choose policy "
            f"{FalseDiscovery.name}"
        )
    given = {"max_clean_loss": max_clean_loss, "fdr": fdr}
    try:
        return kinds[name](**{k: v for k, v in given.items() if v is not None})
    except ValueError as error:
        raise InputError(str(error)) from error


def detector_inputs(name: str) -> Tiles:
    """The sizes of images that a detector judges, and how it cuts them.

    Raises:
        InputError: there is no whole detector of that name.
    """
    card, _ = load_card(bundled.find(name))
    return card.inputs


def open_trusted(location: str | Path | None, store: Store, settings: Settings) -> Source | None:
    """Clean images to calibrate on, which OUTPUT must neither hold nor lie in.

    Raises:
        InputError: they are unreadable, or ``overwrite`` would delete them.
    """
    if location is None:
        return None
    # Links are followed: the user trusts the images, and none of them is copied.
    source = open_source(
        location, image_column=settings.image_column, option="--trusted", follow_links=True
    )
    check_apart(source.root, f"--trusted {location}", source.location, store)
    return source


def open_signatures(paths: Sequence[str | Path]) -> "tuple[KnownTrigger, ...]":
    """Triggers from other sets, by the files of their signatures.

    Raises:
        InputError: a file is missing or no signature.
    """
    if not paths:
        return ()
    from pipelines.judging.signatures import KnownTrigger

    return KnownTrigger.open_all(paths)


def find_detector(name: str | Path) -> str:
    """The name of a bundled detector as it is, or a directory as an absolute path or an address.

    One in a store is read anew, whatever this process has read of it before.

    Raises:
        InputError: there is none of that name.
        Unreachable: its store does not give it.
    """
    if is_remote(str(name)):
        address = str(name).rstrip("/")
        fetch(address)
        return address
    return bundled.address(name)
