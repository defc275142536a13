"""Write the tables and pictures of docs/attacks.md from the finished rows.

    python -m benchmarks.attack_docs

The text around the tables is kept; each table stands between two comments of its name.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

import attacks
from attacks import Role
from benchmarks.attack_rows import CLEAN_LABEL_RATE, NONE, PAPER, Reported, Row, row_specs
from benchmarks.attack_table import finished
from benchmarks.detection_data import decoded
from pipelines.jobs.demo import SAMPLE
from pipelines.poisoning.preview import difference
from sanitizer import png
from sanitizer.spectrum import log_spectra

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE, PICTURES = DOCS / "attacks.md", DOCS / "pictures"

#: By attack, what its source reports.
REPORTED = {
    name: Reported.from_json(value)
    for name, value in json.loads(
        Path(__file__).with_name("attack_sources.json").read_text(encoding="utf-8")
    ).items()
}

#: Images of the demo's sample that triggers are shown on, and how much they are enlarged.
SHOWN, SCALE, GAP = (31, 23), 3, 4

#: What log(1 + |DCT|) is white at.
BRIGHTEST = 7.0


def main() -> None:
    rows = {row.name: row for row in finished()}
    text = PAGE.read_text(encoding="utf-8")
    for name, make in TABLES.items():
        table = "\n".join(make(rows))
        text, places = re.subn(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
            lambda match, table=table: f"{match[1]}{table}\n{match[2]}",
            text,
            flags=re.DOTALL,
        )
        if places != 1:
            raise SystemExit(f"{PAGE}: expected one place for the table {name}, got {places}")
    PAGE.write_text(text, encoding="utf-8")
    draw()


def draw() -> None:
    """One picture an attack: before, after, difference x5, and both spectra, for two images."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    table = pq.read_table(str(SAMPLE))
    innocent = np.flatnonzero(~table["is_poisoned"].to_numpy())
    images = np.stack(decoded(table["image"].combine_chunks(), innocent[list(SHOWN)]))
    for name in attacks.names():
        after = attacks.get(name)(images, Role.POISON)
        columns = (images, after, difference(images, after), _spectra(images), _spectra(after))
        rows = [np.stack([column[i] for column in columns]) for i in range(len(images))]
        (PICTURES / f"{name}.png").write_bytes(png.encode(_tiled(rows), optimize=True))


def _spectra(images: np.ndarray) -> np.ndarray:
    """Log spectra as grey pixels, (n, h, w, 3) uint8; the lowest frequency upper left."""
    grey = np.clip(255 * log_spectra(images) / BRIGHTEST, 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def _tiled(rows: list[np.ndarray]) -> np.ndarray:
    """(columns, h, w, 3) uint8 rows, enlarged, on white."""
    side = rows[0].shape[1] * SCALE + GAP
    canvas = np.full((len(rows) * side - GAP, len(rows[0]) * side - GAP, 3), 255, np.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            large = picture.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
            canvas[i * side :, j * side :][: side - GAP, : side - GAP] = large
    return canvas


def cifar10_table(rows: dict[str, Row]) -> Iterator[str]:
    """All attacks at 10 % on CIFAR-10."""
    yield "| attack | poison | victim | accuracy | ASR | source: accuracy / ASR | picture |"
    yield "|---|---|---|---|---|---|---|"
    yield from (_line(row) for row in _rows_of(rows, "cifar10", NONE))
    for name in attacks.names():
        for row in _rows_of(rows, "cifar10", name):
            if row.rate in (0.1, CLEAN_LABEL_RATE.get(name)) and not _compares_smooth(row):
                yield _line(row, REPORTED[name], f"![{name}](pictures/{name}.png)")


def one_percent_table(rows: dict[str, Row]) -> Iterator[str]:
    """Some attacks at 1 % on CIFAR-10."""
    yield "| attack | poison | victim | accuracy | ASR | source: accuracy / ASR |"
    yield "|---|---|---|---|---|---|"
    for name in attacks.names():
        for row in _rows_of(rows, "cifar10", name):
            if row.rate == 0.01:
                yield _line(row, REPORTED[name].one_percent, cells=6)


def gtsrb_table(rows: dict[str, Row]) -> Iterator[str]:
    """The paper's attacks at 10 % on GTSRB."""
    yield "| attack | poison | victim | accuracy | ASR | source: accuracy / ASR |"
    yield "|---|---|---|---|---|---|"
    yield from (_line(row, cells=6) for row in _rows_of(rows, "gtsrb", NONE))
    for name in PAPER:
        for row in _rows_of(rows, "gtsrb", name):
            yield _line(row, REPORTED[name].gtsrb, cells=6)


def smooth_table(rows: dict[str, Row]) -> Iterator[str]:
    """The smooth trigger against the naive ones, by epoch."""
    compared = [row for row in rows.values() if _compares_smooth(row)]
    yield "| trigger | accuracy | ASR | ASR after each epoch, % |"
    yield "|---|---|---|---|"
    for row in compared:
        epochs = ", ".join(f"{asr:.1%}".rstrip("%") for asr in row.asr_by_epoch or ())
        title = "no poison" if row.attack == NONE else row.attack
        if row.attack == "lowpass":
            title = f"low-pass, design {row.settings['pattern']}"
        yield f"| {title} | {_accuracy(row)} | {_asr(row)} | {epochs} |"
    naive = [row for row in compared if row.attack == "lowpass"]
    if naive:
        shares = [(row.accuracy, row.asr) for row in naive]
        mean_accuracy, mean_asr = (f"{mean:.1%}" for mean in np.mean(shares, axis=0))
        yield f"| mean of the {len(naive)} naive designs | {mean_accuracy} | {mean_asr} | |"


def sources_table(rows: dict[str, Row]) -> Iterator[str]:
    """Where the sources' figures come from."""
    yield "| attack | accuracy / ASR | measured on | where |"
    yield "|---|---|---|---|"
    for name in attacks.names():
        reported = REPORTED[name]
        for figures in (reported, reported.one_percent, reported.gtsrb):
            if figures is not None:
                setting = figures.setting or ""
                yield f"| `{name}` | {_percents(figures)} | {setting} | {figures.where} |"


def commands_table(rows: dict[str, Row]) -> Iterator[str]:
    """The command of each row."""
    yield "```sh"
    for name in rows:
        yield f"python -m benchmarks.attack_table DATA_DIR --only {name}"
    yield "```"


TABLES: dict[str, Callable[[dict[str, Row]], Iterator[str]]] = {
    "cifar10": cifar10_table,
    "one percent": one_percent_table,
    "gtsrb": gtsrb_table,
    "smooth": smooth_table,
    "sources": sources_table,
    "commands": commands_table,
}


def _compares_smooth(row: Row) -> bool:
    return row.victim == "standard" and row.attack in (NONE, "smooth", "lowpass")


def _rows_of(rows: dict[str, Row], data: str, attack: str) -> list[Row]:
    """The finished rows of an attack on a data set, in the order of the specs."""
    specs = [s.name for s in row_specs() if (s.data, s.attack) == (data, attack)]
    return [rows[name] for name in specs if name in rows]


def _line(row: Row, reported: Reported | None = None, picture: str = "", cells: int = 7) -> str:
    if row.planted is None:
        poison, title = "none", "none"
    else:
        share = row.planted.poison / row.train_images
        covers = row.planted.cover / row.train_images
        kind = "clean label" if row.clean_label else "dirty label"
        poison = f"{share:.1%}, {kind}" + (f", covers {covers:.1%}" if covers else "")
        title = f"`{row.attack}`"
    victim = f"{row.victim}, {row.images:,} images" if row.images else row.victim
    values = [title, poison, victim, _accuracy(row), _asr(row)]
    return f"| {' | '.join([*values, _percents(reported), picture][:cells])} |"


def _accuracy(row: Row) -> str:
    low, high = row.accuracy_interval
    return f"{row.accuracy:.1%} [{low:.1%}, {high:.1%}]"


def _asr(row: Row) -> str:
    if row.asr is None or row.asr_interval is None:
        return ""
    low, high = row.asr_interval
    return f"{row.asr:.1%} [{low:.1%}, {high:.1%}]"


def _percents(reported: Reported | None) -> str:
    if reported is None:
        return ""
    if reported.asr is None:
        return "none"
    accuracy = "-" if reported.accuracy is None else f"{reported.accuracy:g}"
    return f"{accuracy} / {reported.asr:g}"


if __name__ == "__main__":
    main()
