"""Write docs/commands.md, the reference of every command, from the commands themselves.

python -m docs.commands
"""

import html
import inspect
import re
from collections.abc import Callable
from pathlib import Path

import click

import freqsan
from pipelines.cli import main

PAGE = Path(__file__).with_name("commands.md")

#: The help of an option, and what click adds to it.
_TOLD = re.compile(r"^(.*?)\s*(?:\[([^\[\]]*)\])?$", flags=re.DOTALL)

#: Types of defaults that are the same in each call.
_PLAIN = (bool, float, int, str, tuple, type(None))

#: What no command can say of itself; the tables follow.
PREFACE = """\
# Every command

<!-- Written by `python -m docs.commands` from the code. Change that, not this page. -->

Each command has a function of the same name, `from freqsan import clean`, which takes the same
arguments and returns a typed record with `to_json()`. Functions raise `freqsan.InputError` and
`freqsan.RunError` where commands print one line and exit with 2 (bad usage or input) and 1 (failed
run); `freqsan --debug COMMAND` shows the traceback of anything else. Ctrl-C and SIGTERM end a
command at once, with one line and exit code 130 or 143; in Python, `KeyboardInterrupt` is raised as
ever.

Functions work in notebooks too, and leave the process as it was: logging, random numbers and the
threads of torch and numpy are the caller's, and so are warnings, but for the filters that Beam and
other libraries add for their own when they are first imported.

Nothing that lies in the data or in the working directory is executed: while a function of freqsan
is at work, no module is imported from there. One thing is out of our hands: `python -m freqsan`
lets Python itself look into the working directory before freqsan is there, as do `python -c` and
notebooks. In a folder that you do not trust, use the command `freqsan`.

Some options have more to them than fits on a line:

- `--workers` are processes on this machine, one a core unless given, or threads where there are
  fewer than four shards. With another runner they are threads in each of its workers, but those on
  Dask are counted where they are started.
- `--runner`, `--dask-scheduler`, `--dask-patience` and whatever follows `--` are told
  [on the page of clusters](cluster.md).
- `--overwrite` removes the files that the earlier run's manifest or plan names, and nothing else.
- `--verify-hashes` is told [on the page of cleaning](clean.md#hashes-of-the-publisher).
"""


def page() -> str:
    """The whole page, as Markdown."""
    parts = [PREFACE, *_overview()]
    for name, command in sorted(main.commands.items()):
        parts += _section(name, command)
    return "\n".join(parts)


def _overview() -> list[str]:
    rows = [
        f"| [`freqsan {name}`](#freqsan-{name}) | {_cell(command.get_short_help_str(limit=200))} |"
        for name, command in sorted(main.commands.items())
    ]
    return ["| command | does |", "|---|---|", *rows, ""]


def _section(name: str, command: click.Command) -> list[str]:
    context = click.Context(
        command, info_name=name, parent=click.Context(main, info_name="freqsan")
    )
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    parts = [f"## freqsan {name}", "", "```text", usage, "```", ""]
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b\n"):  # by which click keeps lines as they are: examples
            parts += ["```sh", paragraph.removeprefix("\b\n"), "```", ""]
        else:
            parts += [" ".join(paragraph.split()), ""]
    options = [one for one in command.params if isinstance(one, click.Option)]
    rows = [_row(option, context) for option in options if not option.hidden]
    if rows:
        parts += ["| option | meaning | unless given |", "|---|---|---|", *rows, ""]
    function = f"def {name}{_signature(getattr(freqsan, name))}: ..."
    return [*parts, "```python", function, "```", ""]


def _row(option: click.Option, context: click.Context) -> str:
    names, told = option.get_help_record(context) or ("", "")
    # What click adds in brackets, such as the default, stands in a column of its own.
    meaning, extra = _TOLD.findall(told)[0]
    without = extra if extra == "required" else extra.partition("default: ")[2].strip("()")
    return f"| {_code(names)} | {_cell(meaning)} | {_code(without) if without else ''} |"


def _code(text: str) -> str:
    """In HTML, as a bar within backticks would end the cell in some renderers."""
    return f"<code>{_cell(html.escape(text, quote=False))}</code>"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "&#124;")


def _signature(function: Callable[..., object]) -> str:
    """The arguments, one a line where they are many; of which types they are, the code says."""
    shown = []
    for one in inspect.signature(function).parameters.values():
        if one.kind is one.KEYWORD_ONLY and "*" not in shown:
            shown.append("*")
        default = repr(one.default) if type(one.default) in _PLAIN else "..."
        default = default.replace("'", '"')
        shown.append(one.name if one.default is one.empty else f"{one.name}={default}")
    line = f"({', '.join(shown)})"
    if len(line) <= 72:
        return line
    return "\n".join(["(", *(f"    {one}," for one in shown), ")"])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
