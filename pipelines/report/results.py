"""The results of the suites, added up over batches: records, and Great Expectations' own pages."""

import copy
import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from sanitizer.record import Record

#: Failing rows that are named for each expectation.
EXAMPLES = 20

#: What a Data Docs page may load: nothing but what is in it.
POLICY = (
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
)

#: The arguments of an expectation that name its columns.
_COLUMN_KEYS = ("column", "column_A", "column_B")


@dataclass(frozen=True)
class ExpectationResult(Record):
    """One expectation and whether the rows met it."""

    suite: str
    type: str  #: Great Expectations' name for it
    columns: list[str]
    parameters: dict[str, Any]  #: its other arguments
    description: str  #: in words
    success: bool
    rows: int | None  #: that were looked at; None where it could not be evaluated
    unexpected: int | None  #: of them, that do not meet it
    examples: list[Any]  #: the first of those, by the column that identifies a row

    def failure(self) -> str:
        """One line on an expectation that is not met."""
        line = f"{self.suite}: expected that {self.description}, "
        if self.unexpected is None:
            return line + "but this could not be evaluated"
        line += f"but {self.unexpected:,} of {self.rows:,} rows differ"
        if self.examples:
            line += f", such as {json.dumps(self.examples[0], ensure_ascii=False)}"
        return line


@dataclass(frozen=True)
class Validation(Record):
    """Whether the files of a run are what they should be, as in ``report/validation.json``."""

    success: bool  #: there are no failures
    failures: list[str]  #: one line each
    rows: int  #: samples read
    expectations: list[ExpectationResult]

    @classmethod
    def of(cls, rows: int, expectations: Iterable[ExpectationResult]) -> Self:
        checked = list(expectations)
        failures = [one.failure() for one in checked if not one.success]
        return cls(not failures, failures, rows, checked)


class SuiteResult:
    """The results of one suite, those of its batches added up.

    Args:
        name: the suite's.
        batches: Great Expectations' result of each batch; at least one.
    """

    def __init__(self, name: str, batches: Sequence[Any]):
        self.name = name
        self._merged = batches[0]
        for parts in zip(*(batch.results for batch in batches), strict=True):
            parts[0].success = all(part.success for part in parts)
            parts[0].result = _total([part.result for part in parts])
        successes = sum(r.success for r in self._merged.results)
        evaluated = len(self._merged.results)
        self._merged.success = successes == evaluated
        self._merged.statistics = {
            "evaluated_expectations": evaluated,
            "successful_expectations": successes,
            "unsuccessful_expectations": evaluated - successes,
            "success_percent": 100 * successes / evaluated,
        }

    def expectations(self) -> list[ExpectationResult]:
        return [self._record(one) for one in self._merged.results]

    def _record(self, one: Any) -> ExpectationResult:
        config, result = one.expectation_config, one.result
        return ExpectationResult(
            suite=self.name,
            type=config.type,
            columns=[config.kwargs[k] for k in _COLUMN_KEYS if k in config.kwargs],
            parameters={
                k: v for k, v in config.kwargs.items() if k not in ("batch_id", *_COLUMN_KEYS)
            },
            description=config.description,
            success=bool(one.success),
            rows=result.get("element_count"),
            unexpected=result.get("unexpected_count"),
            examples=result.get("partial_unexpected_index_list", []),
        )

    def escaped(self) -> Any:
        """Great Expectations' result with ids and labels escaped.

        It writes values into its pages as they are, and an id may hold a script.
        """
        escaped = copy.deepcopy(self._merged)
        for one in escaped.results:
            one.result = _escaped(one.result)
        return escaped


class DataDocs:
    """Renders results as Great Expectations does; of its templates each is compiled once."""

    def __init__(self) -> None:
        from great_expectations.render.renderer import ValidationResultsPageRenderer
        from great_expectations.render.view import DefaultJinjaPageView

        self._renderer, self._view = ValidationResultsPageRenderer(), DefaultJinjaPageView()

    def page(self, suite: SuiteResult) -> str:
        """The page of a suite, which loads nothing."""
        page = str(self._view.render(self._renderer.render(suite.escaped())))
        # Great Expectations takes styles and scripts from the web; nothing may leave this page.
        return page.replace("<head>", f"<head>{POLICY}", 1)


def _total(results: list[dict[str, Any]]) -> dict[str, Any]:
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
