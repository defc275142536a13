"""What the folders of an image set stand for: splits, classes, or nothing."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

from pipelines.sources import files


@dataclass(frozen=True)
class Folders:
    """How an image set is laid out.

    The first folder level gives the labels. Where its folders all are called like splits, the
    level below does, over all splits, so that labels mean the same in each. Outer folders that
    hold nothing but one more folder, as ``data`` in ``data/train/cat/1.png`` or the one that most
    zip archives begin with, stand for nothing.
    """

    outer: str  #: those, with a slash at the end; empty where there are none
    has_splits: bool

    @classmethod
    def of(cls, names: Collection[str]) -> Self:
        """How a set of these images is laid out.

        >>> Folders.of(["data/train/cat/1.png", "data/test/cat/2.png"])
        Folders(outer='data/', has_splits=True)
        """
        outer = ""
        while True:
            inner = [name[len(outer) :] for name in names]
            heads = {name.partition("/")[0] for name in inner if "/" in name}
            head = next(iter(heads), "")
            if len(heads) != 1 or head.lower() in files.SPLIT_NAMES:
                break
            if any(name.count("/") < 2 for name in inner):
                break
            outer += f"{head}/"
        return cls(outer, bool(heads) and all(each.lower() in files.SPLIT_NAMES for each in heads))

    def split_of(self, name: str) -> str | None:
        """The split of an image; None for one that lies in none."""
        head, slash, _ = name[len(self.outer) :].partition("/")
        return head if self.has_splits and slash else None

    def class_of(self, name: str) -> str | None:
        """The class of an image, as text; None for one that lies above the classes."""
        folders = name[len(self.outer) :].split("/")[self.has_splits : -1]
        return files.text(folders[0]) if folders else None
