"""How triggers are optimised against a classifier. torch lives here.

The module named like an attack holds its ``craft`` function, which optimises and saves nothing.
It takes ``images``, ``labels`` and ``victim`` as :func:`craft` does, ``origin``, the provenance
before the search, with the seed, and ``progress``; it returns :data:`Crafted`.
"""

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np

import attacks
from attacks.tools import artefacts
from attacks.tools.provenance import Provenance
from attacks.victims.model import Victim

#: Called with what is being done, the steps done and the steps in all.
Progress = Callable[[str, int, int], None]

#: Arrays by name as the artefact holds them, and the provenance with what the search adds to it.
Crafted = tuple[dict[str, np.ndarray], Provenance]


def names() -> list[str]:
    """The attacks whose trigger is optimised, sorted."""
    return [n for n in attacks.names() if importlib.util.find_spec(f"{__name__}.{n}")]


def check(name: str) -> None:
    """Raise ValueError unless there is an attack of that name whose trigger is optimised."""
    if name not in names():
        known = ", ".join(attacks.nearest_first(name, names()))
        raise ValueError(f"no attack {name!r} with an optimised trigger, known: {known}")


def craft(
    name: str,
    images: np.ndarray,
    labels: np.ndarray,
    victim: Victim,
    output: Path,
    *,
    seed: int,
    data: str,
    command: str,
    progress: Progress = lambda what, done, total: None,
) -> Provenance:
    """Optimise an attack's trigger and save it as an artefact that the attack takes.

    Args:
        name: one of :func:`names`.
        images: (n, h, w, 3) uint8, clean, all of one size.
        labels: (n,) int64.
        victim: the classifier to optimise against.
        output: the ``.safetensors`` file to write.
        data: what ``images`` are, in words, for the provenance.
        command: which command optimises, for the provenance.
        progress: called now and then.

    Returns:
        The provenance, as in the file.

    Raises:
        ValueError: an attack without an optimised trigger, or too few images.
    """
    check(name)
    if len(images) < 2:
        raise ValueError(f"expected at least 2 images to optimise on, got {len(images)}")
    origin = Provenance(
        attack=name,
        command=command,
        data=data,
        seed=seed,
        images=images.shape,
        classifier=victim.provenance,
    )
    module = importlib.import_module(f"{__name__}.{name}")
    arrays, provenance = module.craft(images, labels, victim, origin=origin, progress=progress)
    artefacts.save(output, arrays, provenance)
    return provenance
