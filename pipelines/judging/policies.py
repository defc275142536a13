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


def choose_policy(
    name: str, max_clean_loss: float | None = None, fdr: float | None = None
) -> Policy:
    """The policy of a name.

    Args:
        name: of the policy.
        max_clean_loss: of policy budget; None: its own.
        fdr: of policy fdr; None: its own.

    Raises:
        InputError: an unknown name; a setting that is out of range, or of the other policy,
            where it would have no effect.
    """
    settings = {
        Budget.name: ("max clean loss", max_clean_loss),
        FalseDiscovery.name: ("fdr", fdr),
    }
    if name not in settings:
        raise InputError(f"no policy {name!r}, known: {', '.join(settings)}")
    for other, (setting, value) in settings.items():
        if other != name and value is not None:
            raise InputError(
                f"{setting}: has no effect with policy {name}; leave it out, or choose policy "
                f"{other}"
            )
    try:
        if name == Budget.name:
            return Budget() if max_clean_loss is None else Budget(max_clean_loss)
        return FalseDiscovery() if fdr is None else FalseDiscovery(fdr)
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


def find_detector(name: str | Path) -> str:
    """The name of a bundled detector as it is, or a directory as an absolute path.

    Raises:
        InputError: there is none of that name.
    """
    return bundled.address(name)
