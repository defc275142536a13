"""A split as a folder of images, byte for byte.

Of a folder of images, a zip and a table of paths each file gets its own name back. Images that came
otherwise get a folder for each class, as ``torchvision`` and ``load_dataset("imagefolder")`` read
them.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence

from pipelines.exporting.destination import Written, ignores_case
from pipelines.exporting.finished import CleanRun, Image, Judged
from pipelines.exporting.names import Names, NameSet, is_plain, made_of, split_word, with_extension
from pipelines.exporting.origin import FILES_KIND, NAMED_KINDS, Origin
from pipelines.exporting.sides import Sides
from pipelines.runs.store import Store
from pipelines.sources.files import SPLIT_NAMES, name_of, text
from pipelines.sources.folder import is_image
from sanitizer.errors import quoted
from sanitizer.records import REJECTED
from sanitizer.summary import label_key

#: Where images without a label go, beside the folders of the classes.
UNLABELLED = "unlabelled"

#: Why there is no file for a sample.
NO_BYTES = "had no bytes that could be read, as a broken link has none"
SAME_FILE = "is the same file of INPUT as another"


class FolderForm:
    """Writes a folder; its pieces are the shards, and what lies beside the images.

    Args:
        run: of ``clean``.
        split: that is exported.
        origin: INPUT, if it is a folder of images and still there; None: nothing lies beside.
        dest: DEST, which is there.
    """

    def __init__(self, run: CleanRun, split: str, origin: Origin | None, dest: Store):
        self._run, self._split, self._origin = run, split, origin
        self._as_files = run.input.kind in (FILES_KIND, *NAMED_KINDS)
        self._takes_any = dest.local is not None  # names that are not text, too
        self._taken = Names(folded=ignores_case(dest) or not self._as_files)
        self._classes = {} if self._as_files else class_folders(run.names)
        self._exported = NameSet()
        self._sides: Sides | None = None
        self._renamed: dict[str, str] = {}  # the first few
        self._renamings = 0
        self._tops: set[str] = set()  # folders on top, two at most
        self._splits: dict[str | None, str] = {}  # that load_dataset sees, with a name of each

    @property
    def pieces(self) -> int:
        return self._run.shards + (self._origin is not None)

    def names(self, piece: int) -> list[str]:
        """The names of the images of a shard in order, empty where there is no file for one."""
        if piece == self._run.shards:
            assert self._origin is not None
            top = next(iter(self._tops)) if len(self._tops) == 1 else ""
            folder = top if top.lower() in SPLIT_NAMES else None
            self._sides = Sides(self._origin, self._exported, folder)
            # In an object store a file may have the name of a folder.
            return [name for name in self._sides.names() if self._taken.take(name) == name]
        judged = self._run.judged(piece, self._split)
        images = self._run.images(piece, self._split, data=False)
        return [self._name(one, self._run.said_of(one.sample_id, judged)) for one in images]

    def write(self, dest: Store, piece: int, names: Sequence[str]) -> Written:
        if piece == self._run.shards:
            assert self._sides is not None
            return self._sides.write(dest, names)
        sizes: dict[str, int] = {}
        left_out = Counter[str]()
        for name, image in zip(names, self._run.images(piece, self._split), strict=True):
            if image.data is None or not name:
                left_out[NO_BYTES if image.data is None else SAME_FILE] += 1
                continue
            dest.write(name, image.data, synced=False)
            sizes[name] = len(image.data)
        return Written(sizes, len(sizes), dict(left_out))

    def notes(self) -> list[str]:
        """What the user should know."""
        told = self._sides.notes() if self._sides else []
        if self._renamings:
            was, name = next(iter(self._renamed.items()))
            told.append(
                f"{self._renamings:,} files could not have the names that they had in INPUT, such "
                f"as {quoted(was)}, which is {quoted(name)}"
            )
        changed = {
            name: folder
            for key, folder in self._classes.items()
            if (name := self._run.names[key]) != folder and not folder.isdecimal()
            if key != "null"
        }
        if changed:
            name, folder = next(iter(changed.items()))
            told.append(
                f"{len(changed):,} classes have names that no folder should have, such as "
                f"{quoted(name)}, whose folder is {quoted(folder)}"
            )
        if len(self._splits) > 1:
            words = [quoted(name) for split, name in self._splits.items() if split is not None]
            told.append(
                f"load_dataset takes names such as {words[0]} for a split, and passes over all "
                'that has none: read it with load_dataset("imagefolder", data_files="DEST/**")'
            )
        return told

    def _name(self, image: Image, judged: Judged) -> str:
        if self._split == REJECTED and image.data is None:
            return ""
        name = (self._own_name if self._as_files else self._class_name)(image, judged)
        if not name:
            return ""
        self._exported.add(name)
        if len(self._tops) < 2:
            self._tops.add(name.partition("/")[0] if "/" in name else "")
        self._splits.setdefault(split_word(name), name)
        return name

    def _own_name(self, image: Image, judged: Judged) -> str:
        """The name that the file had, unless it cannot have it in DEST; empty if it is there."""
        own = name_of(image.path or image.sample_id)
        other = made_of(with_extension(one_part(image.sample_id), judged.format))
        fits = is_plain(own) and is_image(own) and (self._takes_any or text(own) == own)
        if fits and self._taken.has(own) and not self._taken.folded:
            return ""  # a table beside the images may have several rows for one
        name = self._taken.take(*([own, other] if fits else [other]))
        if name != own:
            self._renamings += 1
            if not self._renamed:
                self._renamed[image.sample_id] = name
        return name

    def _class_name(self, image: Image, judged: Judged) -> str:
        """A name in the folder of its class: its own, where it is plain and free."""
        folder = self._classes.get(label_key(judged.label))
        base = (image.path or "").rpartition("/")[2]
        made = one_part(image.sample_id)
        wanted = [base, made] if base and made_of(base) == base else [made]
        names = [made_of(with_extension(one, judged.format)) for one in wanted]
        return self._taken.take(*(f"{folder}/{name}" if folder else name for name in names))


def one_part(sample_id: str) -> str:
    """An id without what stands between its parts."""
    return sample_id.replace("/", "-").replace("#", "-")


def class_folders(names: Mapping[str, str]) -> dict[str, str]:
    """The folder of each class, by the ``label_key`` of its label; none where there are no labels.

    Numbers get zeros in front, so that their order is that of their folders, by which
    ``torchvision`` counts.

    Args:
        names: of the classes, by the same.

    >>> class_folders({"2": "2", "10": "10"}), class_folders({"0": "a/b", "1": "A:b"})
    ({'2': '02', '10': '10'}, {'0': 'a-b', '1': 'A-b-2'})
    """
    if names.keys() <= {"null"}:
        return {}
    taken = Names(folded=True)
    labels = [key for key in names if key != "null"]
    width = max(map(len, labels))
    bare = all(type(json.loads(key)) is int and names[key] == key for key in labels)
    folders = {key: taken.take(made_of(key.zfill(width) if bare else names[key])) for key in labels}
    return folders | ({"null": taken.take(UNLABELLED)} if "null" in names else {})
