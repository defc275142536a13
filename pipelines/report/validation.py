"""A finished run's own files, checked by a Great Expectations suite.

What is checked is read back from disk, so that what a user loads is what was judged. Memory
is bounded: score rows are first spread over buckets by a hash of their ``sample_id``, and the
suites see one bucket after the other. Equal ids meet in the same bucket, so ids that are
unique in every bucket are unique. Counts by file and by class are added up on the way and
are tables of their own, so that every check is an expectation and stands in one list.

Results go to ``report/validation.json`` and, rendered by Great Expectations, to one page a
suite in ``report/data_docs/``. Both are over all buckets.
"""

import copy
import html
import json
import logging
import math
import shutil
import subprocess
import sys
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sanitizer.records import CLEAN, POISONED, REJECTED, VERDICTS
from sanitizer.summary import label_key

if TYPE_CHECKING:
    import pandas as pd

#: Score rows that a suite sees at a time, give or take the luck of the hash.
BATCH_ROWS = 100_000

#: Beyond so many the buckets grow instead: each is an open file while rows are spread.
MAX_BUCKETS = 256

#: What a Data Docs page may load: nothing but what is in it.
POLICY = (
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
)

#: Failing rows that are named for each expectation.
EXAMPLES = 20

#: As in :meth:`sanitizer.policy.ConformalPolicy.judge`.
ROUNDING = 1e-12

#: What the suites look at; labels are only counted. Nullable throughout: that nothing is
#: null is for the suites to find, with the ids of what is.
SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("score", pa.float64()),
        ("p_value", pa.float64()),
        ("verdict", pa.string()),
    ]
)

#: The files of a shard, and which rows of its scores each holds.
FILES = {
    "scores/part": VERDICTS,
    "data/clean": (CLEAN,),
    "data/poisoned": (POISONED,),
    "rejected/part": (REJECTED,),
}


@dataclass(frozen=True)
class Validation:
    """The outcome: ``success`` is that there are no ``failures``, one line each."""

    failures: list[str]

    @property
    def success(self) -> bool:
        return not self.failures


def validate_run(output: Path, rows: Sequence[int], summary: Mapping[str, Any]) -> Validation:
    """Check the files of a ``clean`` run and write what was found beside its report.

    Args:
        output: the run's directory, with ``data/``, ``rejected/`` and ``scores/``.
        rows: how many samples were read from each shard.
        summary: from :func:`sanitizer.summary.finish_summary`, with ``max_clean_loss``.

    Raises:
        OSError, pyarrow.ArrowInvalid: a file of ``scores/`` cannot be read.
    """
    report = output / "report"
    buckets = report / ".buckets"
    _make_empty(buckets)
    try:
        found = _spread(output, len(rows), buckets)
        with _quiet():
            suites = _Suites()
            for bucket in sorted(buckets.iterdir()):
                with pa.OSFile(str(bucket)) as file:
                    samples = pa.ipc.open_file(file).read_pandas()
                suites.check_samples(samples, summary["max_clean_loss"])
            suites.check_tables(output, rows, summary, found)
            results = suites.results()
            _make_empty(report / "data_docs")
            for suite in results:
                page = report / "data_docs" / f"{suite.name}.html"
                page.write_text(suite.data_docs_page(), encoding="utf-8")
    finally:
        shutil.rmtree(buckets)
    expectations = [expectation for suite in results for expectation in suite.described()]
    validation = Validation([_failure(e) for e in expectations if not e["success"]])
    described = {
        "success": validation.success,
        "failures": validation.failures,
        "rows": sum(rows),
        "expectations": expectations,
    }
    text = json.dumps(described, indent=2, ensure_ascii=False, allow_nan=False)
    (report / "validation.json").write_text(text + "\n", encoding="utf-8")
    return validation


class Validator:
    """:func:`validate_run` in a process of its own, which starts at once.

    Great Expectations takes seconds to import and a hundred megabytes: beside the work that
    is to be validated the first costs no time, and in a process that ends the second is
    given back. Without a run to validate the process ends when this one does.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.report.validation"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def validate(self, output: Path, rows: Sequence[int], summary: Mapping[str, Any]) -> Validation:
        """See :func:`validate_run`.

        Raises:
            RuntimeError: the process failed; what it said is on standard error.
        """
        order = json.dumps([str(output), list(rows), summary])
        answer, _ = self._process.communicate(order)
        if self._process.returncode != 0:
            raise RuntimeError(f"the validation ended with {self._process.returncode}")
        return Validation(json.loads(answer))

    def close(self) -> None:
        """End the process, if it has not ended."""
        self._process.kill()
        self._process.communicate()


def _serve() -> None:
    """The other side of :class:`Validator`: one order on standard input, or none."""
    with _quiet():
        import great_expectations.expectations  # noqa: F401  (before the order comes)
    if order := sys.stdin.read():
        output, rows, summary = json.loads(order)
        print(json.dumps(validate_run(Path(output), rows, summary).failures))


def _make_empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


# --- One pass over the score rows: count them, and spread them over buckets ---------------


@dataclass
class _Found:
    """What the score rows on disk amount to."""

    verdicts: dict[int, Counter[str]] = field(default_factory=dict)  #: by shard
    labels: Counter[tuple[str, str]] = field(default_factory=Counter)  #: by label key, verdict


def _spread(output: Path, shards: int, buckets: Path) -> _Found:
    """Write every score row to the bucket of its id, as Arrow files; returns the counts."""
    found = _Found()
    files = {k: _shard_file(output, "scores/part", k, shards) for k in range(shards)}
    files = {k: file for k, file in files.items() if file.exists()}
    total = sum(pq.read_metadata(file).num_rows for file in files.values())
    count = min(MAX_BUCKETS, max(1, math.ceil(total / BATCH_ROWS)))
    with ExitStack() as stack:
        writers = [
            stack.enter_context(pa.ipc.new_file(str(buckets / f"{i:03d}.arrow"), SCHEMA))
            for i in range(count)
        ]
        for block in _blocks(files, found):
            bucket = np.array(
                [zlib.crc32((i or "").encode()) % count for i in block["sample_id"].to_pylist()]
            )
            for i in np.unique(bucket):
                writers[i].write_table(block.filter(pa.array(bucket == i)))
    return found


def _blocks(files: Mapping[int, Path], found: _Found) -> Iterator[pa.Table]:
    """The score rows in blocks of about ``BATCH_ROWS``, counted into ``found``."""
    waiting: list[pa.RecordBatch] = []
    for shard, path in files.items():
        verdicts = found.verdicts.setdefault(shard, Counter())
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=[*SCHEMA.names, "label"]):
                verdicts.update(_value_counts(batch["verdict"]))
                found.labels.update(_label_counts(batch))
                waiting.append(batch.select(SCHEMA.names).cast(SCHEMA))
                if sum(b.num_rows for b in waiting) >= BATCH_ROWS:
                    yield pa.Table.from_batches(waiting)
                    waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting)


def _value_counts(values: pa.Array) -> dict[Any, int]:
    return {item["values"]: item["counts"] for item in pc.value_counts(values).to_pylist()}


def _label_counts(batch: pa.RecordBatch) -> Counter[tuple[str, str]]:
    """Rows by label key and verdict."""
    labels = batch["label"]
    if pa.types.is_dictionary(labels.type):
        labels = labels.dictionary_decode()
    found: Counter[tuple[str, str]] = Counter()
    for verdict in VERDICTS:
        mine = labels.filter(pc.equal(batch["verdict"], verdict))
        if pa.types.is_nested(labels.type):  # which Arrow cannot count
            found.update((label_key(label), verdict) for label in mine.to_pylist())
        else:
            for label, count in _value_counts(mine).items():
                found[label_key(label), verdict] += count
    return found


def _shard_file(output: Path, prefix: str, shard: int, shards: int) -> Path:
    return output / f"{prefix}-{shard:05d}-of-{shards:05d}.parquet"


# --- The suites ---------------------------------------------------------------------------


@contextmanager
def _quiet() -> Iterator[None]:
    """Great Expectations warns and logs of what is none of a user's business."""
    # Some of its loggers set their own level when imported, so the level above them is no use.
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


class _Suites:
    """Great Expectations suites and their results so far, by suite name."""

    def __init__(self) -> None:
        import great_expectations as gx
        import great_expectations.expectations as gxe

        self._gx, self._gxe = gx, gxe
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        self._source = context.data_sources.add_pandas("freqsan")
        self._batches: dict[str, Any] = {}
        self._found: dict[str, list[Any]] = {}

    def _validate(
        self, name: str, frame: "pd.DataFrame", identifier: str, expectations: list[Any]
    ) -> None:
        """Run one suite over one batch; failing rows are named by column ``identifier``."""
        if name not in self._batches:
            asset = self._source.add_dataframe_asset(name)
            self._batches[name] = asset.add_batch_definition_whole_dataframe("all")
        batch = self._batches[name].get_batch(batch_parameters={"dataframe": frame})
        found = batch.validate(
            self._gx.ExpectationSuite(name, expectations=expectations),
            result_format={
                "result_format": "SUMMARY",
                "unexpected_index_column_names": [identifier],
                "partial_unexpected_count": EXAMPLES,
            },
        )
        self._found.setdefault(name, []).append(found)

    def results(self) -> "list[_SuiteResult]":
        return [_SuiteResult(name, batches) for name, batches in self._found.items()]

    def check_samples(self, samples: "pd.DataFrame", max_clean_loss: float) -> None:
        """The suites over score rows: all of them, and those of each verdict."""
        gxe = self._gxe
        limit = max_clean_loss + ROUNDING
        every = [
            gxe.ExpectColumnValuesToNotBeNull(
                column="sample_id", description="every sample has an id"
            ),
            gxe.ExpectColumnValuesToBeUnique(
                column="sample_id", description="no id occurs twice, in whichever split"
            ),
            gxe.ExpectColumnValuesToNotBeNull(
                column="verdict", description="every sample has a verdict"
            ),
            gxe.ExpectColumnValuesToBeInSet(
                column="verdict",
                value_set=list(VERDICTS),
                description="verdicts are clean, poisoned or rejected",
            ),
        ]
        judged = [
            gxe.ExpectColumnValuesToNotBeNull(
                column="score", description="every judged sample has a score, and none is NaN"
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="score", min_value=0, max_value=1, description="scores are in [0, 1]"
            ),
            gxe.ExpectColumnValuesToNotBeNull(
                column="p_value", description="every judged sample has a p-value, and none is NaN"
            ),
        ]
        clean = gxe.ExpectColumnValuesToBeBetween(
            column="p_value",
            min_value=limit,
            strict_min=True,
            max_value=1,
            description=f"a clean sample's p-value is above {max_clean_loss:g}, at most 1",
        )
        poisoned = gxe.ExpectColumnValuesToBeBetween(
            column="p_value",
            min_value=0,
            strict_min=True,
            max_value=limit,
            description=f"a poisoned sample's p-value is above 0, at most {max_clean_loss:g}",
        )
        unjudged = [
            gxe.ExpectColumnValuesToBeNull(
                column="score", description="no rejected sample has a score"
            ),
            gxe.ExpectColumnValuesToBeNull(
                column="p_value", description="no rejected sample has a p-value"
            ),
        ]
        self._validate("samples", samples, "sample_id", every)
        for verdict, suite in (
            (CLEAN, [*judged, clean]),
            (POISONED, [*judged, poisoned]),
            (REJECTED, unjudged),
        ):
            split = samples[samples["verdict"] == verdict]
            self._validate(verdict, split, "sample_id", suite)

    def check_tables(
        self, output: Path, rows: Sequence[int], summary: Mapping[str, Any], found: _Found
    ) -> None:
        """The suites over counts: by file, in total and by class."""
        same = {"column_A": "expected", "column_B": "found"}
        equal = self._gxe.ExpectColumnPairValuesToBeEqual
        self._validate(
            "files",
            _files(output, rows, found),
            "file",
            [equal(**same, description="each file is there and has as many rows as it should")],
        )
        self._validate(
            "counts",
            _counts(rows, summary, found),
            "count",
            [equal(**same, description="samples read, clean, poisoned and rejected add up")],
        )
        self._validate(
            "classes",
            _classes(summary, found),
            "label",
            [
                equal(
                    column_A=f"{verdict}_judged",
                    column_B=f"{verdict}_written",
                    description=f"each class has as many {verdict} samples as were {what}",
                )
                for verdict, what in (("all", "read"), *((v, f"judged {v}") for v in VERDICTS))
            ],
        )


def _files(output: Path, rows: Sequence[int], found: _Found) -> "pd.DataFrame":
    """Rows expected and found in each Parquet file; -1 for a file that is or should be absent."""
    import pandas as pd

    expected: dict[str, int] = {}
    for prefix, verdicts in FILES.items():
        for shard, read in enumerate(rows):
            file = _shard_file(output, prefix, shard, len(rows)).relative_to(output).as_posix()
            counts = found.verdicts.get(shard, Counter())
            expected[file] = read if len(verdicts) > 1 else counts[verdicts[0]]
    present = {
        file.relative_to(output).as_posix(): _row_count(file)
        for folder in ("scores", "data", "rejected")
        for file in (output / folder).glob("[!.]*.parquet")
    }
    names = [*expected, *sorted(present.keys() - expected.keys())]
    return pd.DataFrame(
        {
            "file": names,
            "expected": [expected.get(name, -1) for name in names],
            "found": [present.get(name, -1) for name in names],
        }
    )


def _row_count(file: Path) -> int:
    try:
        return int(pq.read_metadata(file).num_rows)
    except (pa.ArrowInvalid, OSError):
        return -2  # no Parquet file, or a broken one: equal to nothing that is expected


def _counts(rows: Sequence[int], summary: Mapping[str, Any], found: _Found) -> "pd.DataFrame":
    import pandas as pd

    written = sum(found.verdicts.values(), Counter())
    return pd.DataFrame(
        {
            "count": ["read", "judged", *VERDICTS],
            "expected": [sum(rows), *(summary["counts"][k] for k in ("read", *VERDICTS))],
            "found": [*[sum(written.values())] * 2, *(written[verdict] for verdict in VERDICTS)],
        }
    )


def _classes(summary: Mapping[str, Any], found: _Found) -> "pd.DataFrame":
    """Samples of each class and verdict, as they were judged and as they were written."""
    import pandas as pd

    judged = {c["label"]: c for c in summary["per_class"]}
    labels = sorted(judged.keys() | {label for label, _ in found.labels})
    columns: dict[str, list[Any]] = {"label": labels}
    columns["all_judged"] = [judged.get(label, {}).get("read", 0) for label in labels]
    columns["all_written"] = [sum(found.labels[label, v] for v in VERDICTS) for label in labels]
    for v in VERDICTS:
        columns[f"{v}_judged"] = [judged.get(label, {}).get(v, 0) for label in labels]
        columns[f"{v}_written"] = [found.labels[label, v] for label in labels]
    return pd.DataFrame(columns)


# --- Results, over all batches ------------------------------------------------------------

#: The arguments of an expectation that name its columns.
_COLUMN_KEYS = ("column", "column_A", "column_B")


def _failure(one: Mapping[str, Any]) -> str:
    """One line on a failed expectation."""
    line = f"{one['suite']}: expected that {one['description']}, "
    if one["unexpected"] is None:
        return line + "but this could not be evaluated"
    line += f"but {one['unexpected']:,} of {one['rows']:,} rows differ"
    if one["examples"]:
        line += f", such as {json.dumps(one['examples'][0], ensure_ascii=False)}"
    return line


class _SuiteResult:
    """The results of one suite, those of its batches added up."""

    def __init__(self, name: str, batches: list[Any]):
        self.name = name
        self._merged = batches[0]
        for parts in zip(*(batch.results for batch in batches), strict=True):
            parts[0].success = all(part.success for part in parts)
            parts[0].result = _added([part.result for part in parts])
        successes = sum(r.success for r in self._merged.results)
        evaluated = len(self._merged.results)
        self._merged.success = successes == evaluated
        self._merged.statistics = {
            "evaluated_expectations": evaluated,
            "successful_expectations": successes,
            "unsuccessful_expectations": evaluated - successes,
            "success_percent": 100 * successes / evaluated,
        }

    def described(self) -> list[dict[str, Any]]:
        """Each expectation as JSON, in words and numbers."""
        return [self._described(one) for one in self._merged.results]

    def _described(self, one: Any) -> dict[str, Any]:
        config = one.expectation_config
        result = one.result
        examples = result.get("partial_unexpected_index_list", [])
        parameters = {
            k: v for k, v in config.kwargs.items() if k not in ("batch_id", *_COLUMN_KEYS)
        }
        return {
            "suite": self.name,
            "type": config.type,
            "columns": [config.kwargs[k] for k in _COLUMN_KEYS if k in config.kwargs],
            "parameters": parameters,
            "description": config.description,
            "success": bool(one.success),
            "rows": result.get("element_count"),
            "unexpected": result.get("unexpected_count"),
            "examples": examples,
        }

    def data_docs_page(self) -> str:
        """The suite's results as Great Expectations renders them.

        Ids and labels are escaped first: Great Expectations writes values into its pages as
        they are, and an id may hold a script.
        """
        from great_expectations.render.renderer import ValidationResultsPageRenderer
        from great_expectations.render.view import DefaultJinjaPageView

        escaped = copy.deepcopy(self._merged)
        for one in escaped.results:
            one.result = _escaped(one.result)
        page = str(DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(escaped)))
        # Great Expectations takes styles and scripts from the web; nothing may leave this page.
        return page.replace("<head>", f"<head>{POLICY}", 1)


def _added(results: list[dict[str, Any]]) -> dict[str, Any]:
    """The ``result`` of an expectation over all batches; empty if one could not evaluate it."""
    if not all("unexpected_count" in result for result in results):
        return {}
    rows, missing, unexpected = (
        sum(result.get(key, 0) for result in results)
        for key in ("element_count", "missing_count", "unexpected_count")
    )
    values, rows_named = (
        [_plain(item) for result in results for item in result.get(key, [])][:EXAMPLES]
        for key in ("partial_unexpected_list", "partial_unexpected_index_list")
    )
    return {
        "element_count": rows,
        "missing_count": missing,
        "missing_percent": 100 * missing / max(rows, 1),
        "unexpected_count": unexpected,
        "unexpected_percent": 100 * unexpected / max(rows - missing, 1),
        "partial_unexpected_list": values,
        "partial_unexpected_index_list": rows_named,
    }


def _plain(value: Any) -> Any:
    """A value as JSON can hold it: numbers of Python's own, and NaN and infinity in words."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | int):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else str(value)


def _escaped(value: Any) -> Any:
    """The same with markup in strings, and the dollar of GX's own templates, made harmless."""
    if isinstance(value, Mapping):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return html.escape(value).replace("$", "&#36;") if isinstance(value, str) else value


if __name__ == "__main__":
    _serve()
