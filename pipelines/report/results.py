"""The results of the suites, added up over batches, in Great Expectations' own form."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

#: Failing rows that are named for each expectation.
EXAMPLES = 20

#: The arguments of an expectation that name its columns.
_COLUMN_KEYS = ("column", "column_A", "column_B")


@dataclass(frozen=True)
class ExpectationResult:
    """One expectation and whether the rows met it."""

    suite: str
    type: str  #: Great Expectations' name for it
    columns: list[str]
    parameters: dict[str, Any]  #: its other arguments
    description: str  #: in words
    success: bool
    rows: int | None  #: that were looked at; None where it could not be evaluated
    missing: int | None  #: of them, those that have nothing there
    unexpected: int | None  #: of them, that do not meet it
    examples: list[Any]  #: the first of those, by the column that identifies a row

    @classmethod
    def of(cls, suite: str, one: Mapping[str, Any]) -> Self:
        """Read Great Expectations' own result.

        Raises:
            KeyError, TypeError: it is none.
        """
        config, result = one["expectation_config"], one["result"]
        given = config["kwargs"]
        return cls(
            suite=suite,
            type=config["type"],
            columns=[given[k] for k in _COLUMN_KEYS if k in given],
            parameters={k: v for k, v in given.items() if k not in ("batch_id", *_COLUMN_KEYS)},
            description=config["description"],
            success=bool(one["success"]),
            rows=result.get("element_count"),
            missing=result.get("missing_count"),
            unexpected=result.get("unexpected_count"),
            examples=result.get("partial_unexpected_index_list", []),
        )

    def failure(self) -> str:
        """One line on an expectation that is not met."""
        line = f"{self.suite}: expected that {self.description}, "
        if self.unexpected is None:
            return line + "but this could not be evaluated"
        line += f"but {self.unexpected:,} of {self.rows:,} rows differ"
        if self.examples:
            line += f", such as {json.dumps(self.examples[0], ensure_ascii=False)}"
        return line

    @property
    def observed(self) -> str:
        """What was found, in words."""
        if self.rows is None or self.unexpected is None:
            return "could not be evaluated"
        if self.unexpected:
            return f"{self.unexpected:,} of {self.rows:,} do not"
        if not self.rows:
            return "there are none"
        told = self.rows - (self.missing or 0)
        if not told:
            return "none has one"
        return f"all {self.rows:,}" if told == self.rows else f"all {told:,} that have one"


@dataclass(frozen=True)
class Validation:
    """Whether the files of a run are what they should be, as in ``report/validation.json``.

    That file is Great Expectations' own: the result of each suite as its library writes it, in a
    list as its checkpoints have it.
    """

    json: dict[str, Any]
    expectations: list[ExpectationResult]

    @classmethod
    def of(cls, suites: Sequence["SuiteResult"]) -> Self:
        results = [suite.to_json() for suite in suites]
        passed = sum(result["success"] for result in results)
        return cls.from_json(
            {
                "success": passed == len(results),
                "statistics": {
                    "evaluated_validations": len(results),
                    "successful_validations": passed,
                    "unsuccessful_validations": len(results) - passed,
                    "success_percent": 100 * passed / len(results),
                },
                "validation_results": results,
            }
        )

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """What :attr:`json` was.

        Raises:
            ValueError: it is not Great Expectations' results.
        """
        try:
            return cls(
                value,
                [
                    ExpectationResult.of(suite["suite_name"], one)
                    for suite in value["validation_results"]
                    for one in suite["results"]
                ],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no results of Great Expectations ({error!r})") from error

    @property
    def success(self) -> bool:
        return all(one.success for one in self.expectations)

    @property
    def failures(self) -> list[str]:
        """One line for each expectation that is not met."""
        return [one.failure() for one in self.expectations if not one.success]

    def of_suite(self, name: str) -> list[ExpectationResult]:
        return [one for one in self.expectations if one.suite == name]


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
        # The rest of it is of one batch of several, and of the minute.
        version = self._merged.meta["great_expectations_version"]
        self._merged.meta = {"great_expectations_version": version}
        self._merged.statistics = {
            "evaluated_expectations": evaluated,
            "successful_expectations": successes,
            "unsuccessful_expectations": evaluated - successes,
            "success_percent": 100 * successes / evaluated,
        }

    def to_json(self) -> dict[str, Any]:
        """As Great Expectations writes it."""
        return dict(self._merged.to_json_dict())


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
