"""``evaluate``: how many triggers are found and how many clean images are lost, cell by cell."""

import hashlib
import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING

from detector.bundled import DEFAULT_DETECTOR
from pipelines.evaluation.figures import Evaluation
from pipelines.evaluation.planning import Grid
from pipelines.evaluation.records import Cell, CellPlan
from pipelines.evaluation.sets import OpenSet
from pipelines.evaluation.tables import in_brief, page
from pipelines.judging.policies import (
    DEFAULT_POLICY,
    choose_policy,
    find_detector,
    open_trusted,
)
from pipelines.runs import layout
from pipelines.runs.guards import check_output, check_places
from pipelines.runs.interpreters import HOME, safe_environment
from pipelines.runs.job import Settings
from pipelines.runs.progress import Progress
from pipelines.runs.public import public
from pipelines.runs.store import Store
from pipelines.runs.threads import share_cores
from sanitizer.errors import InputError, RunError

if TYPE_CHECKING:
    from pipelines.evaluation.cells import Bench

#: The packages whose code decides what is measured.
_CODE = (
    *("attacks", "detector", "sanitizer"),
    *("pipelines/evaluation", "pipelines/judging", "pipelines/poisoning", "pipelines/sources"),
)


@public
def evaluate(
    inputs: Sequence[str | Path],
    output: str | Path,
    *,
    attacks: Sequence[str] = (),
    rates: Sequence[float] = (0.0, 0.01, 0.05, 0.1),
    encodings: Sequence[str] = ("keep",),
    draws: int = 1,
    seed: int = 0,
    rows: str | None = None,
    clean_label: bool | None = None,
    detector: str | Path = DEFAULT_DETECTOR,
    policy: str = DEFAULT_POLICY,
    max_clean_loss: float | None = None,
    fdr: float | None = None,
    trusted: str | Path | None = None,
    score: bool = True,
    scan: bool = True,
    workers: int = 1,
    split: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    follow_links: bool = False,
    quiet: bool = False,
) -> Evaluation:
    """Poison clean sets in many ways, judge them as ``clean`` does, and compare with the truth.

    A cell is one set in one encoding, poisoned by one attack at one rate in one draw. Each is
    written to ``output/cells/`` when it is finished and is not measured again; one with other
    settings is added. The tables are made of all cells that are there. A set is held in memory,
    encoded, and nothing of it is written.

    Args:
        inputs: sets of clean images with labels, any kind of input that ``clean`` reads.
        output: a directory, new or of an earlier evaluation.
        attacks: names, with settings behind a comma: ``"smooth,trigger=gtsrb"``; none: all.
        rates: as for ``poison``: shares of all images, or for clean-label poison of those of the
            target class; 0: the set without poison.
        encodings: as for ``poison``, but of the whole set, so that an encoding does not tell what
            is poisoned; with ``"keep"`` the other images stay as they came.
        draws: with seeds from ``seed`` on. A draw decides which images are poisoned, the chance of
            attacks that have some, and the target label, unless a trigger was made for one.
        seed: of the first draw.
        rows: ``"A:B"``, from row A to the one before B of each set; None: all.
        clean_label: as for ``poison``.
        detector, policy, max_clean_loss, fdr, trusted: as for ``clean``.
        score: judge single images, too; the slower part.
        scan: search all classes, too.
        workers: processes; each measures a cell at a time and holds a set of its own.
        split, image_column, label_column, follow_links, quiet: as in
            :class:`pipelines.runs.job.Settings`.

    Returns:
        The figures of all cells, as written to ``output/evaluation.json``; for people they are in
        ``output/evaluation.md``.

    Raises:
        InputError: bad usage or input; finished cells are kept.
        RunError: a worker was killed; finished cells are kept.
    """
    settings = Settings(
        split=split,
        image_column=image_column,
        label_column=label_column,
        follow_links=follow_links,
        quiet=quiet,
        workers=workers,
    )
    if not inputs:
        raise InputError("inputs: expected at least one set")
    if not score and not scan:
        raise InputError("neither scores nor a scan: nothing would judge; leave one of them on")
    grid = Grid.checked(
        names=attacks,
        rates=rates,
        encodings=encodings,
        draws=draws,
        seed=seed,
        clean_label=clean_label,
    )
    store, rows_of = Store.at(output), _rows(rows)
    decides = choose_policy(policy, max_clean_loss, fdr)
    address = find_detector(detector) if score else None
    check_output(store)
    if store.exists(layout.MANIFEST):
        raise InputError(f"{store.address} holds another run; give a folder of its own")
    cells = _stored(store)
    known_good = open_trusted(trusted, store, settings) if score else None
    sources = [settings.open(location) for location in inputs]
    for source in sources:
        check_places(source, store)
    opened = [OpenSet.of(source, rows_of, quiet=quiet) for source in sources]
    # Seconds to load, after all that can be refused without them.
    from pipelines.evaluation.cells import Bench
    from pipelines.judging.judging import Judging

    judging = None
    if address is not None:
        judging = Judging.begin(address, decides, known_good, settings, scan=scan)
    options = None if judging is None else judging.options()
    plans = [plan for one in opened for plan in grid.plans(one, options, scan)]
    bench = Bench(
        sets={one.facts: one for one in opened},
        scorer=None if judging is None else judging.scorer(),
        policy=decides,
        code=_code(),
    )
    todo = [plan for plan in plans if not store.exists(layout.cell(plan.file))]
    progress = Progress("evaluating", unit="cells", quiet=quiet)
    progress.start(total=len(plans), done=len(plans) - len(todo))
    for cell in _measured(bench, todo, workers):
        store.write_json(layout.cell(cell.plan.file), cell.to_json())
        cells.append(cell)
        _write_tables(store, cells, bench.code)
        progress.advance(1, in_brief(cell))
    progress.finish()
    return _write_tables(store, cells, bench.code)


def _rows(given: str | None) -> tuple[int, int] | None:
    if given is None:
        return None
    try:
        first, last = map(int, given.replace(",", "").split(":"))
    except ValueError:
        first, last = 0, 0
    if not 0 <= first < last:
        raise InputError(f"rows: expected A:B with 0 <= A < B, got {given!r}")
    return first, last


def _code() -> str:
    """A digest of the code that measures, by which cells of other code are known."""
    digest = hashlib.sha256()
    for package in _CODE:
        for file in sorted((Path(HOME) / package).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _measured(bench: "Bench", plans: Sequence[CellPlan], workers: int) -> Iterator[Cell]:
    """The cells of some plans, as they get finished."""
    from pipelines.evaluation.cells import begin, measure

    if workers == 1 or len(plans) < 2:
        share_cores(1, of_scipy=True)
        yield from map(bench.measure, plans)
        return
    context = multiprocessing.get_context("spawn")
    _start_tracker()
    with (
        safe_environment(),
        ProcessPoolExecutor(workers, context, begin, (bench, workers)) as pool,
    ):
        waiting = [pool.submit(measure, plan) for plan in plans]
        try:
            for finished in as_completed(waiting):
                yield finished.result()
        except BrokenProcessPool as error:
            raise RunError(
                "a worker was killed, as systems do where memory runs out; finished cells are "
                "kept: run the same command again with fewer --workers to go on"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _start_tracker() -> None:
    """Start the helper that multiprocessing wants, and block again what it unblocks.

    Else Ctrl-C and SIGTERM come here and to the workers, and not to the thread that waits for
    them in our command.
    """
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _stored(store: Store) -> list[Cell]:
    """The cells that there are."""
    cells = []
    for name in store.names(layout.CELLS, "*.json"):
        try:
            cells.append(Cell.from_json(store.read_json(name)))
        except ValueError as error:
            raise InputError(
                f"{store.locate(name)} is no cell of this version ({error}); remove it, or "
                "evaluate into another folder"
            ) from error
    return cells


def _write_tables(store: Store, cells: Sequence[Cell], code: str) -> Evaluation:
    """Put together what has been measured so far."""
    evaluation = Evaluation.of(sorted(cells, key=lambda cell: cell.plan.file), code)
    store.write_json(layout.EVALUATION, evaluation.to_json())
    store.write(layout.EVALUATION_PAGE, page(evaluation).encode())
    return evaluation
