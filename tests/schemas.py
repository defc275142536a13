"""What commands print with --json, held against the schemas in docs/json-schema."""

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "json-schema"


def check_printed(command: str, printed: str) -> Any:
    """What was printed, which is JSON and nothing else, as the schema of the command says."""
    value = json.loads(printed)
    schema = json.loads((FOLDER / f"{command}.json").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(value)
    return value
