"""What a proof says: figures, verdict, tables and picture, from the rows of its runs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.proof.figure import draw
from pipelines.proof.tables import markdown, tables, verdict
from sanitizer.detection import detection
from sanitizer.metrics import counted, pooled

N = 1000


def share(value: float) -> dict[str, Any]:
    return counted(np.arange(N) < round(value * N))


def victim(accuracy: float, asr: float, rejecting: float) -> dict[str, Any]:
    return {
        "trained_on": N,
        "accuracy": share(accuracy),
        "asr": share(asr),
        "accuracy_rejecting": share(accuracy - 0.01),
        "asr_rejecting": share(rejecting),
        "history": [{"accuracy": accuracy / 2, "asr": asr / 2}, {"accuracy": accuracy, "asr": asr}],
    }


def run(
    before: float = 0.99,
    after: float = 0.02,
    rejecting: float = 0.01,
    bdr: float = 0.98,
    seed: int = 0,
) -> dict[str, Any]:
    kinds = np.repeat(["clean", "poisoned"], N)
    scores = np.concatenate([np.linspace(0, 0.5, N), np.linspace(0.4, 1, N)])
    flagged = np.concatenate([np.arange(N) < 5, np.arange(N) < bdr * N])
    return {
        "seed": seed,
        "victims": {
            "reference": victim(0.71, 0.02, 0.01),
            "before": victim(0.7, before, rejecting),
            "after": victim(0.7, after, 0.01),
        },
        "detection": detection(kinds, scores, flagged),
        "largest_class": 0.1,
        "rejection": {"clean": share(0.01), "triggered": share(bdr)},
    }


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            run(),
            ["The attack works (ASR 99.0 %, 2.0 % without poison)", "attack fails (ASR 2.0 %)"],
        ),
        (run(after=0.4), ["after cleaning the attack is weakened (ASR 40.0 %)"]),
        (
            run(after=0.97, rejecting=0.9, bdr=0.03),
            [
                "did not find this trigger: it removed 3.0 % of the poisoned images",
                "after cleaning the attack still works (ASR 97.0 %)",
                "before the poisoned model it still works (ASR 90.0 %)",
            ],
        ),
        (run(before=0.3), ["works in part (ASR 30.0 %"]),
        (run(before=0.05), ["does not work on this victim: ASR 5.0 %", "nothing to prove"]),
    ],
)
def test_the_verdict_is_what_the_figures_are(row: dict[str, Any], words: list[str]) -> None:
    for part in words:
        assert part in verdict([row])


def test_a_victim_that_learned_nothing_proves_nothing() -> None:
    row = run()
    row["victims"]["reference"] = victim(0.11, 0.02, 0.01)
    for runs in ([row], [run(), row]):
        words = verdict(runs)
        assert words.startswith("The victim has learned nothing from its 1,000 images")
        assert "clean accuracy 11.0 % [9.2, 13.1], and 10.0 % of the test images" in words
        assert "give more images or --victim standard" in words
        assert "The attack" not in words
    row["largest_class"] = 0.09
    assert verdict([row]).startswith("The attack works")


def test_tables_align_and_hold_the_figures() -> None:
    text = tables([run()])
    lines = text.splitlines()
    assert all(len({len(line) for line in block}) == 1 for block in _blocks(lines))
    assert "| 99.0 % [98.2, 99.5] |" in text
    assert "980 of 1,000" in text
    assert "cover" not in text  # there were none


def test_several_runs_are_means_with_intervals_and_a_table_of_their_own() -> None:
    runs = [run(after=after, seed=seed) for seed, after in enumerate((0.02, 0.04, 0.06))]
    text = tables(runs)
    assert "| 4.0 % [0.0, 9.0] " in text  # 4 +- 4.303 x 2 / sqrt(3), cut at 0
    assert "2,940 of 3,000" in text
    assert "| ASR, cleaned                       | 2.0 %  | 4.0 %  | 6.0 %  |" in text
    assert "(ASR 4.0 %)" in verdict(runs)


def test_pooled_figures() -> None:
    single = share(0.5)
    assert pooled([single]) == {"value": 0.5, "interval": single["interval"]}
    both = pooled([{"value": 0.4, "interval": None}, {"value": 0.6, "interval": None}])
    assert both["value"] == pytest.approx(0.5)
    assert both["interval"] == [0, 1]  # 12.7 x 0.1 either way
    assert pooled([single, counted(np.zeros(0, bool))]) == {"value": None, "interval": None}


@pytest.mark.parametrize("n", [1, 2, 127, 450])
def test_a_share_of_none_or_all_lies_within_its_interval(n: int) -> None:
    for flags in (np.zeros(n, bool), np.ones(n, bool)):
        found = counted(flags)
        low, high = found["interval"]
        assert 0 <= low <= found["value"] <= high <= 1


def test_detection_leaves_out_what_was_not_judged_and_keeps_covers_apart() -> None:
    kinds = np.array(["clean"] * 3 + ["poisoned"] * 3 + ["cover"])
    scores = np.array([0.1, 0.5, np.nan, 0.4, 0.9, np.nan, 0.8])
    found = detection(kinds, scores, scores > 0.45)
    counts = {name: (found[name]["count"], found[name]["of"]) for name in ("bdr", "fpr", "cover")}
    assert counts == {"bdr": (1, 2), "fpr": (1, 2), "cover": (1, 1)}
    assert found["not_judged"] == {"clean": 1, "poisoned": 1, "cover": 0}
    assert found["auroc"]["value"] == 0.75
    assert found["bdr_at_fpr"]["0.01"]["value"] == 0.5
    nothing = detection(kinds, np.full(7, np.nan), np.zeros(7, bool))
    assert nothing["bdr"]["value"] is None
    assert nothing["auroc"] is None
    assert tables([run() | {"detection": nothing}])


def test_the_picture_shows_pictures_and_is_the_same_each_time(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = {"before": rng.integers(0, 256, (3, 8, 8, 3), np.uint8)}
    for name in ("a", "b"):
        draw([run(), run(seed=1)], rows, "costs $5 or $6", tmp_path / f"{name}.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as picture:
        colours = picture.convert("RGB").getcolors(picture.width * picture.height)
    found = {colour for _, colour in colours}
    assert sum(tuple(pixel) in found for pixel in rows["before"].reshape(-1, 3).tolist()) > 180


def test_the_page_has_everything() -> None:
    rows = [run()]
    page = markdown(
        {"title": "T", "verdict": verdict(rows), "notes": ["N1", "N2"], "runs": rows}, "p.png"
    )
    for part in ("# T\n", verdict(rows), tables(rows), "- N1\n- N2", "](p.png)"):
        assert part in page


def _blocks(lines: list[str]) -> list[list[str]]:
    text = "\n".join(lines)
    return [block.splitlines() for block in text.split("\n\n")]
