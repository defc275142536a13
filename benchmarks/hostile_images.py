"""``freqsan clean`` on very many damaged and forged images; see :mod:`benchmarks.mutations`.

    python -m benchmarks.hostile_images                 # 100,000, in batches
    python -m benchmarks.hostile_images --images 5000   # a quicker look

Every image must end in one verdict, be where that says, bit for bit, and be rejected only for a
reason that Pillow alone agrees with. A batch is a run in a process of its own; its figures are
added to ``--rows`` as it ends, and a batch whose figures are there is not run again. It fails if
a run ends otherwise than done, or if anything is not as it must be.
"""

import argparse
import io
import json
import struct
import tempfile
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
from PIL import Image

from benchmarks.children import DONE, call
from benchmarks.mutations import Mutant, mutants
from freqsan import clean
from sanitizer.images import FORMATS, MAX_METADATA_READS, MAX_PIXELS, MAX_SCANS
from sanitizer.tiff import MAX_ENTRIES, MAX_PIECES

#: A file with more bytes is not read.
MAX_BYTES = 256 << 20

BATCH = 5_000

#: Seconds for a batch; some twenty times what it takes.
DEADLINE = 1_200

ROWS = Path("benchmarks/rows/hostile_images.jsonl")


@dataclass(frozen=True)
class Batch:
    """Figures of a run."""

    seed: int
    start: int  #: number of its first mutant
    images: int
    ending: str
    seconds: float
    peak: int  #: MiB, of the process
    outcomes: dict[str, int]  #: by extension and outcome, such as ``"png clean"``
    problems: list[str]  #: that should not be


def main() -> None:
    """Run the batches that are missing, and print the figures of all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=Path, default=ROWS)
    options = parser.parse_args()
    options.rows.parent.mkdir(parents=True, exist_ok=True)
    options.rows.touch()
    lines = options.rows.read_text().splitlines()
    batches = [Batch(**json.loads(line)) for line in lines]
    done = {(batch.seed, batch.start, batch.images) for batch in batches}
    for start in range(0, options.images, BATCH):
        count = min(BATCH, options.images - start)
        if (options.seed, start, count) not in done:
            batch = run(options.seed, start, count)
            with options.rows.open("a") as file:
                file.write(json.dumps(asdict(batch)) + "\n")
            batches.append(batch)
            print(f"{start + count:,} images, {batch.seconds:.0f} s", flush=True)
    tell([batch for batch in batches if batch.seed == options.seed])


def run(seed: int, start: int, count: int) -> Batch:
    """Clean a batch and look at what became of it."""
    attacked = {mutant.name: mutant for mutant in mutants(count, seed, start)}
    with tempfile.TemporaryDirectory() as folder:
        images, output = Path(folder, "in"), Path(folder, "out")
        write(attacked, images)
        ending = call(_clean, images, output, deadline=DEADLINE)
        finished = ending.kind == DONE
        found = problems(output, attacked) if finished else [ending.words]
        outcomes = outcomes_of(output, attacked) if finished else Counter()
    return Batch(
        *(seed, start, count, ending.kind, ending.seconds, ending.peak), dict(outcomes), found
    )


def _clean(images: Path, output: Path) -> None:
    clean(images, output, workers=2, quiet=True, allow_unjudged=True)


def tell(batches: list[Batch]) -> None:
    """Print the tables, and fail if something is wrong."""
    outcomes: Counter[str] = Counter()
    for batch in batches:
        outcomes.update(batch.outcomes)
    suffixes = sorted({name.partition(" ")[0] for name in outcomes})
    kinds = sorted({name.partition(" ")[2] for name in outcomes})
    print(f"| outcome | {' | '.join(suffixes)} | all |\n|---|{'---|' * (len(suffixes) + 1)}")
    for kind in kinds:
        counts = [outcomes[f"{suffix} {kind}"] for suffix in suffixes]
        print(f"| {kind} | {' | '.join(f'{n:,}' for n in (*counts, sum(counts)))} |")
    wrong = [problem for batch in batches for problem in batch.problems]
    print(
        f"{sum(batch.images for batch in batches):,} images in {len(batches)} runs, "
        f"{sum(batch.seconds for batch in batches):,.0f} s, peak {max(b.peak for b in batches)} "
        f"MiB; {len(wrong)} problems"
    )
    if wrong:
        raise SystemExit("\n".join(wrong[:20]))


# --- What must hold -------------------------------------------------------------------------


def write(attacked: Mapping[str, Mutant], folder: Path) -> None:
    """Make an image folder of mutants."""
    folder.mkdir()
    for name, mutant in attacked.items():
        (folder / name).write_bytes(mutant.data)


def rows_of(output: Path, prefix: str) -> list[dict[str, Any]]:
    """The rows of the files of one kind in a cleaned set."""
    files = sorted(output.glob(f"{prefix}-*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def outcomes_of(output: Path, attacked: Mapping[str, Mutant]) -> Counter[str]:
    """How many images of each extension ended how."""
    return Counter(
        f"{attacked[row['sample_id']].suffix} {outcome_of(row)}"
        for row in rows_of(output, "scores/part")
    )


def outcome_of(row: Mapping[str, Any]) -> str:
    """Of a score row: its verdict, or the kind of its reason where it is rejected."""
    verdict, reason = str(row["verdict"]), str(row["reason"])
    return reason.partition(":")[0] if verdict == "rejected" else verdict


def problems(output: Path, attacked: Mapping[str, Mutant]) -> list[str]:
    """What is not as it must be in a cleaned set; one line each.

    Args:
        output: OUTPUT of ``clean``.
        attacked: all images that were given, by the name of their file.
    """
    scores = rows_of(output, "scores/part")
    verdicts = {row["sample_id"]: row["verdict"] for row in scores}
    found = []
    if Counter(row["sample_id"] for row in scores) != Counter(dict.fromkeys(attacked, 1)):
        found.append("the score rows are not those of the images")
    places: Counter[str] = Counter()
    for verdict, prefix in (
        ("clean", "data/clean"),
        ("poisoned", "data/poisoned"),
        ("rejected", "rejected/part"),
    ):
        for row in rows_of(output, prefix):
            name = row["sample_id"]
            data = row["bytes"] if verdict == "rejected" else row["image"]["bytes"]
            given = attacked[name].data
            places[name] += 1
            if verdicts.get(name) != verdict or (data != given and len(given) <= MAX_BYTES):
                found.append(f"{name}: is in {prefix} by mistake or with other bytes")
    if places != Counter(dict.fromkeys(attacked, 1)):
        found.append("the images of the splits are not those that were given")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of much that is wrong with them
        return found + [
            f"{row['sample_id']}: {row['verdict']} is not true, {row['reason']}"
            for row in scores
            if not _is_true(row, attacked[row["sample_id"]].data)
        ]


def _is_true(row: Mapping[str, Any], data: bytes) -> bool:
    """Whether Pillow alone agrees with a score row."""
    if row["verdict"] == "rejected":
        holds = TRUE_OF.get(outcome_of(row))
        return holds is not None and row["score"] is None and holds(data)
    with _opened(data) as image:
        image.load()  # what is judged can be trained on
        size = image.size
    return size == (row["width"], row["height"]) and size[0] * size[1] <= MAX_PIXELS


def _opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def _is_undecodable(data: bytes) -> bool:
    try:
        with _opened(data) as image:
            for frame in range(getattr(image, "n_frames", 1)):
                image.seek(frame)
                image.load()
            image.convert("RGB")
    except Exception:  # noqa: BLE001  (Pillow's plugins raise nearly anything)
        return True
    return False


class _Tags(NamedTuple):
    """The directory of a TIFF, as far as it can be read."""

    entries: list[tuple[int, int, int]]  #: tag, type, number of values
    following: int | None  #: where the next one is; None where this one does not end


def _tags_of(data: bytes) -> _Tags:
    entries: list[tuple[int, int, int]] = []
    order = "<" if data[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):
            entries.append(struct.unpack_from(order + "HHI", data, at))
        return _Tags(entries, *struct.unpack_from(order + "I", data, start + 2 + 12 * count))
    except struct.error:
        return _Tags(entries, None)


def _is_tiff(data: bytes) -> bool:
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


#: Tags that hold whole numbers, and the types of those.
_NUMBERS, _WHOLE = (
    {*range(256, 260), 262, 273, *range(277, 280), 284, *range(322, 326), 339},
    {1, 3, 4, 13, 16},
)


#: Tags that lead to further directories.
_INNER = {34665, 34853, 40965}


def _is_an_odd_tiff(data: bytes) -> bool:
    """Whether a TIFF is damaged, though Pillow may make something up in place of it."""
    entries, following = _tags_of(data)
    known = {tag: (kind, count) for tag, kind, count in entries}
    odd = any(t in _NUMBERS and (k not in _WHOLE or not 0 < n < len(data)) for t, k, n in entries)
    unlike = [
        known.get(a, (0, 0))[1] != known.get(b, (0, 0))[1] for a, b in ((273, 279), (324, 325))
    ]
    odd = odd or len(known) < len(entries) or bool(_INNER & known.keys())
    if following is None or odd or any(unlike) or len({273, 324} & known.keys()) != 1:
        return True
    try:
        with _opened(data) as image:
            pairs = ((273, 279), (324, 325))
            ends = [
                start + size
                for a, b in pairs
                for start, size in zip(
                    image.tag_v2.get(a, ()), image.tag_v2.get(b, ()), strict=True
                )
            ]
            return max(ends, default=0) > len(data) or len(ends) != _pieces(image)
    except Exception:  # noqa: BLE001
        return True


def _pieces(image: Any) -> int:
    """The strips or tiles that a TIFF must consist of."""
    width, height = image.tag_v2[256], image.tag_v2[257]
    tile_width, rows = width, image.tag_v2.get(278, height)
    if 324 in image.tag_v2:
        tile_width, rows = image.tag_v2[322], image.tag_v2[323]
    planes = image.tag_v2.get(277, 1) if image.tag_v2.get(284) == 2 else 1
    return -(-width // tile_width) * -(-height // rows) * planes


def _is_undecodable_or_odd(data: bytes) -> bool:
    return _is_undecodable(data) or (_is_tiff(data) and _is_an_odd_tiff(data))


#: Numbers in tags of a TIFF that are not read: compressions, ways of colour, formats and bits.
_UNREAD = (
    (259, {6, 34676, 34677, 34887, 34925, 50001}),
    (262, {8}),
    (339, {2, 3}),
    (258, {12, 32}),
)


def _is_of_another_format(data: bytes) -> bool:
    try:
        with _opened(data) as image:
            if image.format == "TIFF":
                tags = image.tag_v2
                bands = max(_numbers(tags.get(277, 1)) | {len(_numbers(tags.get(258)))})
                return bands > 5 or any(n & _numbers(tags.get(tag)) for tag, n in _UNREAD)
            return image.format not in (*FORMATS, "MPO")
    except Exception:  # noqa: BLE001
        return True


def _numbers(value: Any) -> set[int]:
    return set(value) if isinstance(value, tuple) else {value}


def _has_a_second_frame(data: bytes) -> bool:
    """Also one that is damaged, or only claimed: a reader of all frames would stumble over it."""
    claimed = False
    try:
        with _opened(data) as image:
            claimed = image.format == "PNG" and bool(getattr(image, "is_animated", False))
            image.seek(1)
    except EOFError:
        return claimed
    except Exception:  # noqa: BLE001
        return True
    return True


def _has_many_pieces(data: bytes) -> bool:
    """Whether there are so many bytes or pieces that the metadata may be what is too much."""
    if _is_tiff(data):
        counts = [count for _, _, count in _tags_of(data).entries]
        leads_on = any(tag in _INNER for tag, _, _ in _tags_of(data).entries)
        return (
            len(counts) > MAX_ENTRIES
            or max(counts, default=0) > MAX_PIECES
            or leads_on
            or _is_undecodable(data)
        )
    return len(data) > MAX_METADATA_READS


def _has_too_many_pixels(data: bytes) -> bool:
    try:
        with _opened(data) as image:
            return image.width * image.height > MAX_PIXELS
    except Image.DecompressionBombError:
        return True


#: What must hold of an image that is rejected, by the kind of the reason.
TRUE_OF = {
    "no bytes": lambda data: data == b"",
    "file too large": lambda data: len(data) > MAX_BYTES,
    "unsupported format": _is_of_another_format,
    "truncated or corrupt": _is_undecodable_or_odd,
    "animated": _has_a_second_frame,
    "several pages": lambda data: bool(_tags_of(data).following),
    "too much metadata": _has_many_pieces,
    "too many scans": lambda data: data.count(b"\xff\xda") > MAX_SCANS,
    "too many pixels": _has_too_many_pixels,
}


if __name__ == "__main__":
    main()
