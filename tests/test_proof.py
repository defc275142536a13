"""What a proof says: verdict, tables, page and picture, from the records of its runs."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from attacks.victims.settings import VictimSettings
from pipelines.poisoning.facts import PoisonCounts
from pipelines.proof.drawing import draw
from pipelines.proof.records import (
    CleanCounts,
    Epoch,
    Proof,
    ProvedAttack,
    ProvedVictim,
    Rejection,
    Run,
    RunCounts,
    VictimFigures,
    Victims,
)
from pipelines.proof.tables import page, tables
from pipelines.proof.verdict import verdict
from sanitizer.detection import Detection
from sanitizer.metrics import Share

N = 1000


def share(value: float) -> Share:
    return Share.counted(np.arange(N) < round(value * N))


def victim(accuracy: float, asr: float, rejecting: float) -> VictimFigures:
    return VictimFigures(
        trained_on=N,
        accuracy=share(accuracy),
        accuracy_rejecting=share(accuracy - 0.01),
        asr=share(asr),
        asr_rejecting=share(rejecting),
        history=[Epoch(accuracy / 2, asr / 2), Epoch(accuracy, asr)],
    )


def run(
    before: float = 0.99,
    after: float = 0.02,
    rejecting: float = 0.01,
    bdr: float = 0.98,
    reference: float = 0.71,
    seed: int = 0,
) -> Run:
    """A run of these attack success rates, detection rate, and accuracy without poison."""
    kinds = np.repeat(["clean", "poisoned"], N)
    scores = np.concatenate([np.linspace(0, 0.5, N), np.linspace(0.4, 1, N)])
    flagged = np.concatenate([np.arange(N) < 5, np.arange(N) < bdr * N])
    return Run(
        seed=seed,
        counts=RunCounts(PoisonCounts(2 * N, 2 * N, N), CleanCounts(2 * N, N, N, 0)),
        victims=Victims(
            reference=victim(reference, 0.02, 0.01),
            before=victim(0.7, before, rejecting),
            after=victim(0.7, after, 0.01),
        ),
        detection=Detection.of(kinds, scores, flagged),
        largest_class=0.1,
        rejection=Rejection(clean=share(0.01), triggered=share(bdr)),
    )


def proof(runs: list[Run]) -> Proof:
    return Proof(
        title="T",
        verdict=verdict(runs),
        attack=ProvedAttack(
            title="BadNets",
            source="a paper",
            attack="badnets",
            attack_settings={"side": 4},
            rate=0.1,
            target_label="cat",
            clean_label=False,
            all_to_all=False,
            encode="keep",
        ),
        victim=ProvedVictim(
            **vars(VictimSettings("quick", (1, 2, 3, 4), epochs=1)), size=(32, 48), resized=True
        ),
        detector="a detector",
        runs=runs,
        notes=["N1", "N2"],
    )


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
def test_the_verdict_follows_from_the_figures(row: Run, words: list[str]) -> None:
    for part in words:
        assert part in verdict([row])


def test_a_victim_that_learned_nothing_proves_nothing() -> None:
    row = run(reference=0.11)
    for runs in ([row], [run(), row]):
        words = verdict(runs)
        assert words.startswith("The victim has learned nothing from its 1,000 images")
        assert "clean accuracy 11.0 % [9.2, 13.1], and 10.0 % of the test images" in words
        assert "give more images or --victim standard" in words
        assert "The attack" not in words
    assert verdict([replace(row, largest_class=0.09)]).startswith("The attack works")


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


def test_tables_of_a_set_that_was_not_judged_leave_its_rows_out() -> None:
    kinds = np.array(["clean", "poisoned"])
    nothing = Detection.of(kinds, np.full(2, np.nan), np.zeros(2, bool))
    text = tables([replace(run(), detection=nothing)])
    assert "BDR" not in text
    assert "AUROC" not in text
    assert "triggered test images rejected" in text


def test_the_picture_shows_pictures_and_is_the_same_each_time() -> None:
    rng = np.random.default_rng(0)
    rows = {"before": rng.integers(0, 256, (3, 8, 8, 3), np.uint8)}
    png, again = (draw([run(), run(seed=1)], rows, "costs $5 or $6") for _ in range(2))
    assert png == again
    with Image.open(io.BytesIO(png)) as picture:
        counted = picture.convert("RGB").getcolors(picture.width * picture.height)
    colours = {colour for _, colour in counted}
    assert sum(tuple(pixel) in colours for pixel in rows["before"].reshape(-1, 3).tolist()) > 180


def test_the_page_has_everything() -> None:
    text = page(proof([run()]), "p.png")
    for part in ("# T\n", verdict([run()]), tables([run()]), "- N1\n- N2", "](p.png)"):
        assert part in text


def test_a_proof_is_written_and_read_back() -> None:
    whole = proof([run(), run(seed=1)])
    written = json.loads(json.dumps(whole.to_json()))
    assert Proof.from_json(written) == whole
    assert list(written) == [
        *("title", "verdict", "attack", "victim", "detector", "runs", "notes"),
    ]
    assert list(written["attack"])[:3] == ["title", "source", "attack"]
    assert written["victim"]["size"] == [32, 48]
    assert list(written["runs"][0]) == [
        *("seed", "counts", "victims", "detection", "largest_class", "rejection"),
    ]
    assert list(written["runs"][0]["victims"]) == ["reference", "before", "after"]


def _blocks(lines: list[str]) -> list[list[str]]:
    text = "\n".join(lines)
    return [block.splitlines() for block in text.split("\n\n")]
