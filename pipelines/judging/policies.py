"""What a user can choose for judging, checked without loading what judges."""

from pathlib import Path

from detector import bundled
from detector.inputs import Tiles
from detector.storage import load_card
from pipelines.runs.guards import check_apart
from pipelines.runs.job import Settings
from pipelines.runs.store import Store
from pipelines.sources import open_source
from pipelines.sources.base import Source
from sanitizer.errors import InputError
from sanitizer.policy import Budget, FalseDiscovery, Policy


def choose_policy(name: str, max_clean_loss: float, fdr: float) -> Policy:
    """The policy of a name.

    Raises:
        InputError: an unknown name, or a setting that is out of range, of whichever policy.
    """
    try:
        policies: tuple[Policy, ...] = (Budget(max_clean_loss), FalseDiscovery(fdr))
    except ValueError as error:
        raise InputError(str(error)) from error
    for policy in policies:
        if policy.name == name:
            return policy
    known = ", ".join(policy.name for policy in policies)
    raise InputError(f"no policy {name!r}, known: {known}")


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


def find_detector(name: str) -> str:
    """The name of a bundled detector as it is, or a directory as an absolute path.

    Raises:
        InputError: there is none of that name.
    """
    return bundled.address(name)
