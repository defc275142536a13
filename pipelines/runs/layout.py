"""Where everything in an OUTPUT is: each file is named here, once, relative to OUTPUT.

A new file in the output is one line here; its writer and its readers use the name.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

#: What the run is, with the checksums of its files. Written last: it is the commit.
MANIFEST = "manifest.json"

#: The dataset card, so that ``load_dataset(OUTPUT)`` gives just the splits.
CARD = "README.md"


@dataclass(frozen=True)
class ShardedFile:
    """A Parquet file of which every shard writes one, ``<prefix>-00003-of-00012.parquet``."""

    prefix: str

    def name(self, shard: int, shards: int) -> str:
        """Of the file of shard number ``shard`` out of ``shards``.

        >>> SCORES.name(3, 12)
        'scores/part-00003-of-00012.parquet'
        """
        return f"{self.prefix}-{shard:05d}-of-{shards:05d}.parquet"

    @property
    def folder(self) -> str:
        """The folder of the files of all shards, relative to OUTPUT."""
        return self.prefix.rpartition("/")[0]

    @property
    def pattern(self) -> str:
        """A glob, relative to OUTPUT, of the files of all shards."""
        return f"{self.prefix}-*.parquet"

    @property
    def name_pattern(self) -> str:
        """The same, relative to the folder."""
        return self.pattern.rpartition("/")[2]

    def shards_of(self, name: str) -> int | None:
        """Out of how many shards a file is; None for one that is not of this kind.

        >>> SCORES.shards_of("scores/part-00003-of-00012.parquet")
        12
        """
        match = self._names.fullmatch(name)
        return int(match[1]) if match else None

    @cached_property
    def _names(self) -> re.Pattern[str]:
        return re.compile(rf"{re.escape(self.prefix)}-[0-9]{{5,}}-of-([0-9]{{5,}})\.parquet")


#: The input's rows by verdict, or all of them; columns untouched.
CLEAN, POISONED, TRAIN = map(ShardedFile, ("data/clean", "data/poisoned", "data/train"))

#: What could not be judged: original bytes and the reason.
REJECTED = ShardedFile("rejected/part")

#: One score row for every input sample.
SCORES = ShardedFile("scores/part")

#: DCT features.
FEATURES = ShardedFile("features/part")

#: All of these kinds.
SHARDED = (CLEAN, POISONED, TRAIN, REJECTED, SCORES, FEATURES)

#: What ``score`` or ``scan`` amounts to; not among the rows, which are read as one table.
SCORE_SUMMARY = "summary.json"

#: What was removed and why: for people, in numbers, and checked.
PAGE = "report/index.html"
SUMMARY = "report/summary.json"
VALIDATION = "report/validation.json"
REPORT_CHECKSUMS = "report/checksums.json"

#: What the scan found: of each finding its figures, and what finds it in other data.
FINDINGS = "findings"
_FINDING = re.compile(rf"{FINDINGS}/(finding-[0-9]+)\.(json|safetensors)")

#: A page of the report for each of them.
FINDING_PAGES = "report/findings"
_FINDING_PAGE = re.compile(rf"{FINDING_PAGES}/finding-[0-9]+\.html")


def finding(name: str) -> str:
    """Of the figures of a finding."""
    return f"{FINDINGS}/{name}.json"


def signature(name: str) -> str:
    """Of the file that finds a finding in other data."""
    return f"{FINDINGS}/{name}.safetensors"


def finding_page(name: str) -> str:
    """Of the page that shows a finding."""
    return f"{FINDING_PAGES}/{name}.html"


def findings_among(names: Iterable[str]) -> list[str]:
    """The findings whose figures are among some files of an OUTPUT.

    >>> findings_among([finding("finding-2"), signature("finding-2"), MANIFEST])
    ['finding-2']
    """
    matches = filter(None, map(_FINDING.fullmatch, names))
    return [match[1] for match in matches if match[2] == "json"]


#: A proof: its figures, its page, its picture, and the runs that it consists of.
PROOF = "proof.json"
PROOF_PAGE = "proof.md"
PROOF_PICTURE = "proof.png"
PROOF_WORK = "proof"

#: An evaluation: its figures, its page, and a file for each cell.
EVALUATION = "evaluation.json"
EVALUATION_PAGE = "evaluation.md"
CELLS = "cells"


def cell(file: str) -> str:
    """Of what was measured in a cell."""
    return f"{CELLS}/{file}"


#: What a run needs until it is finished; it goes with the commit.
WORK = ".freqsan"
PLAN = f"{WORK}/plan.json"
LOCK = f"{WORK}/lock"
FAILURE = f"{WORK}/failure.json"
LISTING = f"{WORK}/listing.arrow"
CLASSES = f"{WORK}/classes.arrow"
POPULATION = f"{WORK}/population.arrow"

#: What takes the place of files of a finished run, see :mod:`pipelines.runs.amending`.
AMENDED = f"{WORK}/amended"

#: Is there from when such files are in place until the report tells of them.
STALE_REPORT = f"{WORK}/stale_report"

#: What workers on other machines are to do, a file for each pass that is under way.
ORDERS = f"{WORK}/orders"

#: The folders that runs write to, an inner one after the outer.
FOLDERS = (
    *("data", "rejected", "scores", "features", FINDINGS),
    *("report", FINDING_PAGES, PROOF_WORK, WORK),
)

#: The files of which there is one.
_SINGLE = (
    *(MANIFEST, CARD, SCORE_SUMMARY, PAGE, SUMMARY, VALIDATION, REPORT_CHECKSUMS),
    *(PROOF, PROOF_PAGE, PROOF_PICTURE),
)

#: What a proof writes: whole runs, each in an OUTPUT of its own, and records beside them.
_RUN_OF_PROOF = re.compile(
    rf"{PROOF_WORK}/(?:train|test|seed-[0-9]+/(?:poisoned|cleaned))/(?P<name>.+)"
)
_RECORD_OF_PROOF = re.compile(
    rf"{PROOF_WORK}/seed-[0-9]+/(?:reference|before|after|detection)\.json"
)
_WORK_FILE = re.compile(
    rf"{re.escape(WORK)}/(?:[a-z]+/[0-9]+\.(?:json|parquet|arrow)|[a-z]+\.(?:json|arrow)|lock)"
)


def receipt(pass_name: str, shard: int) -> str:
    """Of the note that a shard of a pass is finished."""
    return f"{WORK}/{pass_name}/{shard:05d}.json"


def artefact(pass_name: str, shard: int) -> str:
    """Of what a shard of one pass leaves to the next."""
    return f"{WORK}/{pass_name}/{shard:05d}.parquet"


def views(pass_name: str, shard: int) -> str:
    """Of the images of a shard as the scan sees them."""
    return f"{WORK}/{pass_name}/{shard:05d}.arrow"


def is_ours(name: str) -> bool:
    """Whether a run may have written a file of this name; only such are ever removed.

    >>> is_ours("data/clean-00003-of-00012.parquet"), is_ours("data/clean-mine.parquet")
    (True, False)
    """
    if run := _RUN_OF_PROOF.fullmatch(name):
        return _WORK_FILE.fullmatch(run["name"]) is not None or is_ours(run["name"])
    return (
        name in _SINGLE
        or shards_of(name) is not None
        or _FINDING.fullmatch(name) is not None
        or _FINDING_PAGE.fullmatch(name) is not None
        or _RECORD_OF_PROOF.fullmatch(name) is not None
    )


def shards_of(name: str) -> int | None:
    """Out of how many shards a file of any kind is; None for one that is of none."""
    return next(filter(None, (kind.shards_of(name) for kind in SHARDED)), None)


def is_report(name: str) -> bool:
    """Whether a file follows from the results of ``clean``, so that it can be made anew."""
    single = (PAGE, VALIDATION, REPORT_CHECKSUMS)
    return name in single or _FINDING_PAGE.fullmatch(name) is not None


def is_proof_work(name: str) -> bool:
    """Whether a file is of the runs that a proof consists of."""
    return name.startswith(f"{PROOF_WORK}/")
