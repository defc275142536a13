"""Write docs/json-schema/: what each command prints with --json, as JSON Schema.

    python -m benchmarks.json_schemas

It follows from the annotations of the functions behind the commands, so that it is in step with
the code once this has run. A field that has a default is not required: what an older version of
freqsan has written, such as the manifest of a finished run, may lack it.
"""

import json
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

import freqsan
from detector.card import Card
from pipelines.cli import main as command_line
from pipelines.jobs.clean import CleanManifest
from pipelines.jobs.demo import Truth
from pipelines.jobs.dry_run import DryRun

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "json-schema"

#: What ``clean``, ``score`` and ``scan`` print with --dry-run beside.
DRY_RUN = "dry-run"

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True)
class Printed:
    """What a command prints."""

    kind: Any  #: a record, or a list of them
    #: Fields that are put beside those of one record, by their names.
    beside: dict[str, Any] = field(default_factory=dict)
    record: str = ""  #: the name of that record


#: Of commands that print something else than what their function returns.
_OTHERS = {
    "demo": Printed(CleanManifest, {"truth": Truth}, "CleanManifest"),
    "detectors": Printed(list[Card], {"identity": str}, "Card"),
    DRY_RUN: Printed(DryRun),
}


def commands() -> list[str]:
    """The commands that have ``--json``, and :data:`DRY_RUN`."""
    having = [
        name
        for name, command in command_line.commands.items()
        if any("--json" in option.opts for option in command.params)
    ]
    return sorted([*having, DRY_RUN])


def schema(command: str) -> dict[str, Any]:
    """What a command prints with ``--json``."""
    printed = _OTHERS.get(command) or Printed(
        typing.get_type_hints(getattr(freqsan, command))["return"]
    )
    kinds = [printed.kind, *printed.beside.values()]
    (whole, *beside), definitions = msgspec.json.schema_components(
        kinds, ref_template="#/$defs/{name}"
    )
    if printed.beside:
        record = definitions[printed.record]
        record["properties"] |= dict(zip(printed.beside, beside, strict=True))
        record["required"] += printed.beside
    for each in definitions.values():
        if "description" in each:  # a docstring: what it raises is for those who call it
            each["description"] = " ".join(each["description"].partition("\n\n")[0].split())
    title = "--dry-run --json" if command == DRY_RUN else f"freqsan {command} --json"
    return {"$schema": DIALECT, "title": title, **whole} | {
        "$defs": dict(sorted(definitions.items()))
    }


def as_text(schema: dict[str, Any]) -> str:
    """As it is in the file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for command in commands():
        (FOLDER / f"{command}.json").write_text(as_text(schema(command)), encoding="utf-8")


if __name__ == "__main__":
    main()
