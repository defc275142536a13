"""``export``: a cleaned set in the form that it came in."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

from pipelines.exporting.destination import BLOCK_BYTES, Destination, ExportPlan, Form, Mark
from pipelines.exporting.finished import CleanRun, opened
from pipelines.exporting.folder import FolderForm
from pipelines.exporting.lists import FileList, check_listable, write_verdicts
from pipelines.exporting.onefile import write_file
from pipelines.exporting.origin import FILES_KIND, NAMED_KINDS, TARS_KIND, Origin
from pipelines.exporting.webdataset import NewTars, OriginalTars
from pipelines.runs.guards import check_apart, check_output
from pipelines.runs.progress import Progress, counting
from pipelines.runs.public import public
from pipelines.runs.store import Store
from pipelines.sources.files import name_of, total_size
from sanitizer.errors import InputError, quoted
from sanitizer.record import Record
from sanitizer.records import CLEAN, POISONED, VERDICTS

FOLDER, WEBDATASET, CSV, LIST = FORMS = ("folder", "webdataset", "csv", "list")

#: What is exported of a set where nothing is said; None: all of it.
_SPLITS = {FOLDER: CLEAN, WEBDATASET: CLEAN, CSV: None, LIST: POISONED}


@dataclass(frozen=True)
class Exported(Record):
    """What was exported."""

    dest: str  #: absolute path or URL of the folder or file
    form: str  #: folder, webdataset, csv or list
    split: str | None  #: clean, poisoned or rejected; None: all of them
    samples: int  #: that are there
    files: int  #: that were written
    bytes: int  #: in them
    left_out: dict[str, int]  #: samples of the split that are not there, by why
    notes: tuple[str, ...]  #: what the user should know, one line each
    output_sha256: str  #: of the manifest of OUTPUT


@public
def export(
    output: str | Path,
    dest: str | Path,
    *,
    as_: str = FOLDER,
    split: str | None = None,
    null: bool = False,
    input: str | Path | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> Exported:
    """Write a cleaned set in the form that it came in, or a table or list of its verdicts.

    An export that was stopped goes on when it is called again; a finished one is left as it is.

    Args:
        output: a finished run of ``clean``; a path, or a URL such as ``s3://bucket/folder``.
        dest: a new or empty folder; of ``"csv"`` and ``"list"`` a file. Also a URL.
        as_: ``"folder"``, image files as they came, else in a folder for each class;
            ``"webdataset"``, tars, of the original members where there are such; ``"csv"``, the
            verdict on each image; or ``"list"``, the paths of the files to delete.
        split: ``"clean"``, ``"poisoned"`` or ``"rejected"``; None: the clean ones of a folder or
            of tars, all verdicts, the poisoned ones of a list.
        null: of a list, each path ends with a NUL, as ``xargs -0`` reads them.
        input: where INPUT is now; None: where it was cleaned.
        overwrite: replace another export, or another file.
        quiet: no progress.

    Returns:
        What was exported.

    Raises:
        InputError: bad usage; no finished run; a ``dest`` that holds something else; or an INPUT
            that is needed and is gone or changed.
        RunError: the run is no longer what was written, or the export failed; what was finished
            is kept for the next call.
    """
    if as_ not in FORMS:
        raise InputError(f"--as: expected {_either(FORMS)}, got {quoted(as_)}")
    if split is not None and split not in VERDICTS:
        raise InputError(f"--split: expected {_either(VERDICTS)}, got {quoted(split)}")
    if null and as_ != LIST:
        raise InputError(f"--null is about --as {LIST}, and has no effect with --as {as_}")
    split = split or _SPLITS[as_]
    store, place = Store.at(output), Store.at(dest)
    with opened(store) as run:
        check_apart(
            None if store.local is None else str(store.local),
            f"OUTPUT {store.address}",
            store.address,
            place,
            "DEST",
        )
        moved = None if input is None else str(input)
        if as_ in (CSV, LIST):
            return _one_file(run, place, as_, split, null, moved, overwrite, quiet)
        assert split is not None
        return _folder(run, place, as_, split, moved, overwrite, quiet)


def _either(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


# --- A folder -------------------------------------------------------------------------------


def _folder(
    run: CleanRun,
    place: Store,
    form: str,
    split: str,
    moved: str | None,
    overwrite: bool,
    quiet: bool,
) -> Exported:
    """Export as files or tars."""
    check_output(place, "DEST")
    progress = Progress("exporting", quiet=quiet)
    plan = ExportPlan(metadata.version("freqsan"), run.sha256, form, split)
    dest = Destination(place, plan)
    with dest.opened(overwrite=overwrite, say=progress.say) as finished:
        if finished is not None:
            progress.say(f"{place.address} already holds this very export: nothing to do")
            return _exported(place, finished)
        origin, notes = _origin(run, place, form, moved, quiet)
        dest.begin(_needed(run, form, split, origin))
        chosen: Form
        if form == FOLDER:
            chosen = FolderForm(run, split, origin, place)
        elif origin is not None:
            chosen = OriginalTars(run, split, origin)
        else:
            chosen = NewTars(run, split)
        return _exported(place, dest.fill(chosen, progress, run.samples(split), notes))


def _exported(place: Store, mark: Mark) -> Exported:
    return Exported(
        dest=place.address,
        form=mark.plan.form,
        split=mark.plan.split,
        samples=mark.samples,
        files=mark.files,
        bytes=mark.bytes,
        left_out=mark.left_out,
        notes=mark.notes,
        output_sha256=mark.plan.output_sha256,
    )


def _origin(
    run: CleanRun, place: Store, form: str, moved: str | None, quiet: bool
) -> tuple[Origin | None, list[str]]:
    """INPUT, where this form needs it, and notes on one that is missed.

    Raises:
        InputError: nothing goes without it, and it is gone.
    """
    wanted = FILES_KIND if form == FOLDER else TARS_KIND
    if run.input.kind != wanted:
        if moved is not None:
            raise InputError(
                f"--input has no effect with --as {form}, as INPUT was of the kind {run.input.kind}"
            )
        beside = NAMED_KINDS.get(run.input.kind) if form == FOLDER else None
        return None, [beside] if beside else []
    try:
        origin = _found(run, moved, quiet)
    except InputError as error:
        if form != FOLDER or moved is not None:
            raise
        return None, [f"nothing but the images is exported, no README or metadata.csv: {error}"]
    _check_apart(origin, place)
    return origin, []


def _found(run: CleanRun, moved: str | None, quiet: bool) -> Origin:
    """INPUT.

    Raises:
        InputError: it is gone, or none of the first samples is there.
    """
    with counting("listing INPUT", unit="files", quiet=quiet) as found:
        origin = Origin.find(run.input, moved, found)
    location = origin.listing.location
    if run.input.kind == FILES_KIND:
        ids = run.scores(0, ["sample_id"])["sample_id"].to_pylist()
        if not any(origin.holds(name_of(one)) for one in ids):
            raise InputError(f"INPUT {location} holds none of the images that were cleaned")
    return origin


def _check_apart(origin: Origin, place: Store) -> None:
    """Refuse a DEST that lies in INPUT, or the other way round.

    Raises:
        InputError: so it is.
    """
    given = f"INPUT {origin.listing.location}"
    check_apart(origin.local, given, origin.root, place, "DEST")


def _needed(run: CleanRun, form: str, split: str, origin: Origin | None) -> int:
    """Bytes that are about to be written, about."""
    samples, size = run.samples(split), run.nbytes(split)
    if form == WEBDATASET:
        return size + 4 * 512 * samples
    beside = total_size(origin.listing.stamps[name] for name in origin.beside()) if origin else 0
    return size + BLOCK_BYTES * samples + beside


# --- One file -------------------------------------------------------------------------------


def _one_file(
    run: CleanRun,
    place: Store,
    form: str,
    split: str | None,
    null: bool,
    moved: str | None,
    overwrite: bool,
    quiet: bool,
) -> Exported:
    """Export a table or a list."""
    progress = Progress("exporting", quiet=quiet)
    left_out: dict[str, int] = {}
    write: Callable[[Path], int]
    if form == CSV:
        if moved is not None:
            raise InputError(f"--input has no effect with --as {CSV}")
        write = partial(write_verdicts, run, split, progress=progress)
    else:
        check_listable(run)
        assert split is not None
        origin = _found(run, moved, quiet)
        _check_apart(origin, place)
        files = FileList(run, split, origin, null=null)
        left_out = files.left_out
        write = partial(files.write, progress=progress)
    progress.start(total=run.samples(split))
    samples, size = write_file(place, write, overwrite=overwrite, say=progress.say)
    progress.finish()
    return Exported(
        dest=place.address,
        form=form,
        split=split,
        samples=samples,
        files=1,
        bytes=size,
        left_out=left_out,
        notes=(),
        output_sha256=run.sha256,
    )
