"""INPUT, looked at once more: what an export needs that OUTPUT does not hold."""

from dataclasses import dataclass
from typing import IO

from pipelines.exporting.names import is_plain
from pipelines.runs.manifest import InputFacts
from pipelines.sources import files
from pipelines.sources.files import Listing
from pipelines.sources.folder import is_image
from sanitizer.errors import FreqsanError, InputError

#: Kinds of INPUT whose samples are files, and whose samples are members of tars.
FILES_KIND, TARS_KIND = "image folder", "webdataset"

#: Other kinds whose samples have the names of files, and what of them is not exported.
NAMED_KINDS = {
    "zip": "what lies in the zip beside the images is not exported",
    "paths": "the table of INPUT is not exported, and has rows on the images that are not there; "
    "--as csv has the verdict on each",
}


@dataclass(frozen=True)
class Origin:
    """An INPUT that is still where it was."""

    listing: Listing

    @classmethod
    def find(cls, facts: InputFacts, moved: str | None, found: files.Found) -> "Origin":
        """The INPUT of a run.

        Args:
            facts: what the manifest says of it.
            moved: where it is now, in the user's words; None: where it was.
            found: is told how many more files were found.

        Raises:
            InputError: it is gone, or cannot be listed.
        """
        location = moved or facts.location
        try:
            listing = files.list_files(location, found=found)
        except FreqsanError as error:
            raise InputError(f"INPUT {error}") from error
        if listing is None or not listing.names:
            raise InputError(
                f"INPUT {location} is not there; put it back, start where it was cleaned, or "
                "give --input with its place"
            )
        return cls(listing)

    @property
    def root(self) -> str:
        """The folder or URL that names are relative to."""
        return self.listing.root

    @property
    def local(self) -> str | None:
        """The folder or file that all lies in, where it is on this machine."""
        return self.listing.local

    def holds(self, name: str) -> bool:
        """Whether a file was listed."""
        return name in self.listing.stamps

    def address(self, name: str) -> str:
        """Of a file, absolute."""
        return f"{self.root}/{name}"

    def open(self, name: str) -> IO[bytes]:
        """A file of INPUT, to read.

        Raises:
            InputError: it is not inside of INPUT, is gone or cannot be read.
        """
        if not is_plain(name):
            raise InputError(f"{files.text(name)!r} is no name of a file in INPUT")
        try:
            return files.open_file(self.root, name, follow_links=False)
        except OSError as error:
            raise InputError(
                f"{self.address(files.text(name))}: cannot be read "
                f"({error.strerror or error}); INPUT must be as it was when it was cleaned"
            ) from error

    def beside(self) -> list[str]:
        """The files that are no images, but for links out of INPUT."""
        stamps = self.listing.stamps
        return [n for n in self.listing.names if not is_image(n) and stamps[n] != files.OUTSIDE]
