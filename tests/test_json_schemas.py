"""--json: documented schemas that follow from the code, and that what is printed fits."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from commands import run
from jsonschema import Draft202012Validator
from schemas import FOLDER, check_printed

from benchmarks.json_schemas import as_text, commands, schema
from pipelines.jobs.demo import SAMPLE

#: Commands with tests of their own that hold what they print against its schema.
ELSEWHERE = {
    "craft": "test_craft_command.py",
    "demo": "test_cli.py",
    "dry-run": "test_dry_run.py",
    "evaluate": "test_evaluate.py",
    "prove": "test_prove.py",
    "train": "test_train.py",
    "tune": "test_tune.py",
}


@pytest.mark.parametrize("command", commands())
def test_the_schemas_are_those_of_the_code(command: str) -> None:
    """Else run ``python -m benchmarks.json_schemas``, and see what has changed for a reader."""
    file = FOLDER / f"{command}.json"
    assert file.read_text(encoding="utf-8") == as_text(schema(command))
    Draft202012Validator.check_schema(json.loads(file.read_text(encoding="utf-8")))


def test_there_is_no_schema_of_what_is_no_command() -> None:
    assert sorted(file.stem for file in FOLDER.iterdir()) == commands()


@pytest.fixture(scope="module")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample without its truth, and with an image that is none."""
    path = tmp_path_factory.mktemp("json") / "set.parquet"
    table = pq.read_table(str(SAMPLE))
    rows = table.to_pylist()
    rows[0]["image"]["bytes"] = b"not an image"
    columns = ["image", "label"]
    pq.write_table(table.from_pylist(rows, table.schema).select(columns), path)
    return path


@pytest.fixture(scope="module")
def cleaned(small_set: Path) -> Path:
    output = small_set.parent / "cleaned"
    assert run("clean", small_set, output, "--quiet").exit_code == 0
    return output


@pytest.mark.parametrize("command", sorted(set(commands()) - ELSEWHERE.keys()))
def test_what_is_printed_is_json_alone_and_fits_its_schema(
    command: str, small_set: Path, cleaned: Path, tmp_path: Path
) -> None:
    decisions = tmp_path / "decisions.csv"
    removed = pq.read_table(cleaned / "data", columns=["sample_id"])["sample_id"][-1]
    decisions.write_text(f"sample_id,decision\n{removed},keep\n")
    arguments = {
        "apply": (cleaned, decisions),
        "attacks": (),
        "clean": (small_set, tmp_path / "out"),
        "detectors": (),
        "export": (cleaned, tmp_path / "verdicts", "--as", "csv"),
        "features": (small_set, tmp_path / "out"),
        "ingest": (small_set, tmp_path / "out"),
        "poison": (small_set, tmp_path / "out", "--attack", "badnets"),
        "report": (cleaned,),
        "scan": (small_set, tmp_path / "out", "--allow-unjudged"),
        "score": (small_set, tmp_path / "out"),
        "spectrum": (small_set, "--output", tmp_path / "out.png"),
    }[command]
    done = run(command, *arguments, "--json")  # progress is shown, and goes elsewhere
    assert done.exit_code == 0, done.output
    check_printed(command, done.stdout)


@pytest.mark.parametrize(("command", "file"), ELSEWHERE.items())
def test_what_others_print_is_held_against_its_schema_there(command: str, file: str) -> None:
    assert f'check_printed("{command}"' in (Path(__file__).parent / file).read_text()
