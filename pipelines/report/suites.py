"""What is expected of a run: one Great Expectations suite for each kind of rows."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pipelines.report.results import EXAMPLES, SuiteResult
from sanitizer.images import FORMATS
from sanitizer.records import CLEAN, FREQSAN, POISONED, REJECTED, REVIEW, VERDICTS

if TYPE_CHECKING:
    import pandas as pd

#: The suite on the quality of what was removed.
REMOVED = "removed"

#: As in :meth:`sanitizer.policy.Decision.poisoned`.
ROUNDING = 1e-12


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back the warnings and logs of Great Expectations that do not concern a user."""
    # Some of its loggers set their own level when imported, so the level above them is no use.
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


class Suites:
    """Runs suites over batches of rows and keeps the results, by suite name."""

    def __init__(self) -> None:
        import great_expectations as gx
        import great_expectations.expectations as gxe

        self._gx, self._gxe = gx, gxe
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        # One for all suites: each that is added has the context write all of them down anew.
        asset = context.data_sources.add_pandas("freqsan").add_dataframe_asset("rows")
        self._rows = asset.add_batch_definition_whole_dataframe("all")
        self._results: dict[str, list[Any]] = {}

    def results(self) -> list[SuiteResult]:
        return [SuiteResult(name, batches) for name, batches in self._results.items()]

    def check_samples(self, samples: "pd.DataFrame", limit: float) -> None:
        """The suites over score rows: all of them, and those of each verdict.

        Args:
            samples: with the columns of :data:`pipelines.report.buckets.SCHEMA`.
            limit: the largest p-value that is called poisoned.
        """
        by_review = samples["decided_by"] == REVIEW
        # What judged a sample: its score, else the scan of its class.
        judged_by = samples["score"].fillna(samples["scan_log_odds"])
        # Above 0 where the score or the scan says that it is poisoned.
        suspicious = samples["p_value"] <= limit + ROUNDING
        poisoned_by = samples["scan_log_odds"].mask(suspicious, 1.0)
        samples = samples.assign(
            judged_by=judged_by,
            poisoned_by=poisoned_by,
            has_score=samples["score"].notna(),
            has_p_value=samples["p_value"].notna(),
            # A reviewer may decide against score and scan; what freqsan said has to follow them.
            own_verdict=samples["verdict"].mask(by_review, samples["verdict_before"]),
        )
        self._validate("samples", samples, "sample_id", self._of_all_samples())
        for verdict, expectations in (
            (CLEAN, [*self._of_judged_samples(), *self._of_clean_samples(limit)]),
            (POISONED, [*self._of_judged_samples(), *self._of_poisoned_samples(limit)]),
            (REJECTED, self._of_rejected_samples()),
        ):
            split = samples[samples["own_verdict"] == verdict]
            self._validate(verdict, split, "sample_id", expectations)
        removed = samples[samples["verdict"] == POISONED]
        self._validate(REMOVED, removed, "sample_id", self._of_removed_samples())

    def check_files(self, table: "pd.DataFrame") -> None:
        """The suite over :func:`pipelines.report.tables.file_table`."""
        description = "each file is there and has as many rows as it should"
        self._validate("files", table, "file", [self._equal("expected", "found", description)])

    def check_counts(self, table: "pd.DataFrame") -> None:
        """The suite over :func:`pipelines.report.tables.count_table`."""
        description = "samples read, clean, poisoned and rejected add up"
        self._validate("counts", table, "count", [self._equal("expected", "found", description)])

    def check_classes(self, table: "pd.DataFrame") -> None:
        """The suite over :func:`pipelines.report.tables.class_table`."""
        expectations = [
            self._equal(
                f"{kind}_judged",
                f"{kind}_written",
                f"each class has as many {kind} samples as were {words}",
            )
            for kind, words in (("all", "read"), *((v, f"judged {v}") for v in VERDICTS))
        ]
        self._validate("classes", table, "label", expectations)

    def _validate(
        self, name: str, frame: "pd.DataFrame", identifier: str, expectations: list[Any]
    ) -> None:
        """Run one suite over one batch; failing rows are named by column ``identifier``."""
        batch = self._rows.get_batch(batch_parameters={"dataframe": frame})
        result = batch.validate(
            self._gx.ExpectationSuite(name, expectations=expectations),
            result_format={
                "result_format": "SUMMARY",
                "unexpected_index_column_names": [identifier],
                "partial_unexpected_count": EXAMPLES,
            },
        )
        self._results.setdefault(name, []).append(result)

    def _of_all_samples(self) -> list[Any]:
        return [
            self._present("sample_id", "every sample has an id"),
            self._gxe.ExpectColumnValuesToBeUnique(
                column="sample_id", description="no id occurs twice, in whichever split"
            ),
            self._present("verdict", "every sample has a verdict"),
            self._gxe.ExpectColumnValuesToBeInSet(
                column="verdict",
                value_set=list(VERDICTS),
                description="verdicts are clean, poisoned or rejected",
            ),
            self._gxe.ExpectColumnValuesToBeInSet(
                column="decided_by",
                value_set=[FREQSAN, REVIEW],
                description="freqsan or a review has decided",
            ),
            self._present(
                "own_verdict", "of a sample that a review has decided on, freqsan's verdict is kept"
            ),
        ]

    def _of_judged_samples(self) -> list[Any]:
        return [
            self._present("judged_by", "every judged sample has a score or was scanned"),
            self._gxe.ExpectColumnValuesToBeBetween(
                column="score", min_value=0, max_value=1, description="scores are in [0, 1]"
            ),
            self._gxe.ExpectColumnValuesToBeBetween(
                column="p_value",
                min_value=0,
                strict_min=True,
                max_value=1,
                description="p-values are above 0, at most 1",
            ),
            self._gxe.ExpectColumnPairValuesToBeEqual(
                column_A="has_score",
                column_B="has_p_value",
                description="a sample has a score and a p-value, or neither",
            ),
        ]

    def _of_clean_samples(self, limit: float) -> list[Any]:
        return [
            self._gxe.ExpectColumnValuesToBeBetween(
                column="p_value",
                min_value=limit + ROUNDING,
                strict_min=True,
                max_value=1,
                description=f"a clean sample's p-value is above {limit:g}, at most 1",
            ),
            self._gxe.ExpectColumnValuesToBeBetween(
                column="scan_log_odds",
                max_value=0,
                description="a clean sample more likely carries no trigger that was found",
            ),
        ]

    def _of_poisoned_samples(self, limit: float) -> list[Any]:
        words = (
            f"a poisoned sample's p-value is at most {limit:g}, or it more likely carries a "
            "trigger that was found"
        )
        return [
            self._present("poisoned_by", words),
            self._gxe.ExpectColumnValuesToBeBetween(
                column="poisoned_by", min_value=0, strict_min=True, description=words
            ),
        ]

    def _of_removed_samples(self) -> list[Any]:
        positive = self._gxe.ExpectColumnValuesToBeBetween
        return [
            self._gxe.ExpectColumnValuesToBeInSet(
                column="format",
                value_set=list(FORMATS),
                description=f"a removed image is {', '.join(FORMATS[:-1])} or {FORMATS[-1]}",
            ),
            positive(column="width", min_value=1, description="a removed image has columns"),
            positive(column="height", min_value=1, description="a removed image has rows"),
            self._gxe.ExpectColumnValuesToMatchRegex(
                column="content_sha256",
                regex="^[0-9a-f]{64}$",
                description="the SHA-256 of a removed image is one, to find it by anywhere",
            ),
            self._gxe.ExpectColumnValuesToBeInSet(
                column="verdict_before",
                value_set=[CLEAN, POISONED],
                description="a review removes only what was judged",
            ),
        ]

    def _of_rejected_samples(self) -> list[Any]:
        absent = self._gxe.ExpectColumnValuesToBeNull
        return [
            absent(column="score", description="no rejected sample has a score"),
            absent(column="p_value", description="no rejected sample has a p-value"),
            absent(column="scan_log_odds", description="no rejected sample was scanned"),
        ]

    def _present(self, column: str, description: str) -> Any:
        return self._gxe.ExpectColumnValuesToNotBeNull(column=column, description=description)

    def _equal(self, one: str, other: str, description: str) -> Any:
        return self._gxe.ExpectColumnPairValuesToBeEqual(
            column_A=one, column_B=other, description=description
        )
