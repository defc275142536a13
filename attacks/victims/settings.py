"""What a victim is, how it is trained, and what its file says of where it comes from."""

from dataclasses import dataclass

from msgspec import UNSET, UnsetType

from sanitizer.record import Record


@dataclass(frozen=True)
class VictimSettings(Record):
    """A victim's network and how it is trained."""

    name: str
    widths: tuple[int, int, int, int]  #: channels of the four stages
    epochs: int  #: at least; see ``min_steps``
    min_steps: int = 0  #: few images are shown in more epochs, until so many steps are made
    max_images: int | None = None  #: trains on so many at most, chosen by the seed; None: all
    batch: int = 128
    learning_rate: float = 0.2  #: the highest; rises over a fifth of the steps, falls to 0
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    shift: int = 2  #: a batch is moved by up to so many px, mirrored at its borders
    flip: bool = True  #: images are mirrored at random; off where left and right matter

    def steps(self, images: int) -> int:
        """Steps of an epoch over so many images."""
        return -(-images // self.batch)

    def epochs_of(self, images: int) -> int:
        """Epochs of a training on so many images, 1 or more.

        >>> VictimSettings("small", (8, 8, 8, 8), epochs=5, min_steps=400).epochs_of(1_200)
        40
        """
        return max(self.epochs, -(-self.min_steps // self.steps(images)))


#: By name: a quick one for many runs, and a standard one.
VICTIMS = {
    settings.name: settings
    for settings in (
        VictimSettings("quick", (16, 32, 64, 96), epochs=5, min_steps=400, max_images=20_000),
        VictimSettings("standard", (24, 48, 96, 128), epochs=6, min_steps=800),
    )
}


@dataclass(frozen=True, kw_only=True)
class VictimProvenance(Record):
    """What a victim was trained on and how well it does; what is not set is not written."""

    data: str | UnsetType = UNSET  #: in words
    settings: VictimSettings
    seed: int
    history: list[dict[str, float]] | UnsetType = UNSET  #: shares of the watched sets, by epoch
    accuracy: float | UnsetType = UNSET  #: on ``test_images`` images
    test_images: int | UnsetType = UNSET
    command: str | UnsetType = UNSET  #: that trained it
