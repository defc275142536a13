"""One file instead of a folder: the verdicts as CSV, or the files to delete."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from pipelines.exporting.finished import CleanRun
from pipelines.exporting.origin import FILES_KIND, Origin
from pipelines.runs.progress import Progress
from pipelines.sources.files import name_of, text
from sanitizer.errors import InputError, quoted
from sanitizer.summary import label_key

#: The first columns of the verdicts; what a review adds comes after them.
COLUMNS = ("sample_id", "label", "class_name", "score", "p_value", "finding", "verdict", "reason")

#: What score rows hold beside them that is of no use to who decides.
_LEFT_OUT = frozenset(
    ("source", "width", "height", "format", "content_sha256", "scan_log_odds", "detector")
)

#: Bytes of a file that are in memory at a time.
BLOCK = 1 << 20

#: Why a file is not in the list.
GONE = "is not there any more"
CHANGED = "is not what was judged any more"


def write_verdicts(run: CleanRun, split: str | None, target: Path, progress: Progress) -> int:
    """Write a CSV with a line for each sample, as RFC 4180 has it, in UTF-8.

    Args:
        run: of ``clean``.
        split: whose samples; None: all.
        target: the file.
        progress: of the samples.

    Returns:
        How many samples there are.
    """
    count = 0
    options = csv.WriteOptions(quoting_style="needed")
    writer: csv.CSVWriter | None = None
    try:
        for shard in range(run.shards):
            rows = run.scores(shard)
            if split is not None:
                rows = rows.filter(pc.equal(rows["verdict"], split))
            table = _verdicts(run, rows)
            if writer is None:
                writer = csv.CSVWriter(str(target), table.schema, write_options=options)
            writer.write_table(table)
            count += table.num_rows
            progress.advance(table.num_rows)
    finally:
        if writer is not None:
            writer.close()
    return count


def _verdicts(run: CleanRun, rows: pa.Table) -> pa.Table:
    """Score rows as people want them, with the names of the classes."""
    labels = rows["label"].to_pylist()
    names = [None if one is None else run.names.get(label_key(one)) for one in labels]
    columns = {name: rows[name] for name in rows.schema.names if name not in _LEFT_OUT}
    columns["class_name"] = pa.chunked_array([pa.array(names, pa.string())])
    columns["label"] = _for_csv(rows["label"])
    order = [*COLUMNS, *(name for name in columns if name not in COLUMNS)]
    return pa.table({name: columns[name] for name in order})


def _for_csv(labels: pa.ChunkedArray) -> pa.ChunkedArray:
    """Labels of a type that CSV has; of others as JSON."""
    kind = labels.type
    if pa.types.is_dictionary(kind):
        return labels.cast(kind.value_type)
    if pa.types.is_null(kind) or kind.num_fields:
        told = [None if one is None else label_key(one) for one in labels.to_pylist()]
        return pa.chunked_array([pa.array(told, pa.string())])
    return labels


def check_listable(run: CleanRun) -> None:
    """Refuse a list of files where the samples are none.

    Raises:
        InputError: so it is.
    """
    if run.input.kind != FILES_KIND:
        raise InputError(
            f"--as list names the files of a folder of images, and INPUT {run.input.location} is "
            f"of the kind {run.input.kind}; export the clean ones with --as folder or --as "
            "webdataset, or the verdicts with --as csv"
        )


class FileList:
    """Writes the paths of INPUT's files that are still what was judged.

    Args:
        run: of ``clean``.
        split: whose samples.
        origin: INPUT.
        null: whether each path ends with a NUL instead of a line break.
    """

    def __init__(self, run: CleanRun, split: str, origin: Origin, *, null: bool):
        self._run, self._split, self._origin = run, split, origin
        self._end = b"\0" if null else b"\n"
        self.left_out: dict[str, int] = {}

    def write(self, target: Path, progress: Progress) -> int:
        """Write the list; returns how many paths are in it.

        Raises:
            InputError: a path has a line break, and paths end with one.
        """
        count = 0
        with target.open("wb") as file:
            for shard in range(self._run.shards):
                for sample_id, said in self._run.judged(shard, self._split).items():
                    if path := self._path(name_of(sample_id), said.sha256):
                        file.write(path + self._end)
                        count += 1
                    progress.advance(1)
        return count

    def _path(self, name: str, sha256: str | None) -> bytes | None:
        """The path of a file; None where it is no longer what was judged."""
        if not self._origin.holds(name):  # nor is what leads out of INPUT
            why = GONE
        elif sha256 is not None and self._sha256(name) != sha256:
            why = CHANGED
        else:
            path = self._origin.address(name).encode("utf-8", "surrogateescape")
            if self._end == b"\n" and b"\n" in path:
                raise InputError(
                    f"{quoted(text(name))} has a line break in its name, which would end its line; "
                    "give --null, and read the list with xargs -0"
                )
            return path
        self.left_out[why] = self.left_out.get(why, 0) + 1
        return None

    def _sha256(self, name: str) -> str | None:
        """Of a file; None where it cannot be read, or is not in INPUT."""
        digest = hashlib.sha256()
        try:
            with self._origin.open(name) as file:
                while block := file.read(BLOCK):
                    digest.update(block)
        except InputError:
            return None
        return digest.hexdigest()
