"""``prove``: an attack before and after cleaning, on real images and a victim of a few seconds."""

import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image
from schemas import check_printed

import attacks
from attacks.victims.settings import VICTIMS, VictimSettings
from freqsan import prove, reject
from pipelines.cli import main
from pipelines.jobs.demo import SAMPLE
from pipelines.poisoning.labels import Labels
from pipelines.poisoning.request import PoisonRequest
from pipelines.proof import experiment
from pipelines.proof.records import Proof
from pipelines.proof.selection import hash_of, train_and_test
from pipelines.proof.sets import Sets
from pipelines.proof.trial import Trial, load_trial, recipe_at_test
from pipelines.proof.views import Views, victim_size
from pipelines.runs import layout, threads
from pipelines.runs.job import Settings
from pipelines.runs.store import Store
from pipelines.sources import open_source
from pipelines.sources.columns import with_features
from sanitizer.errors import InputError
from sanitizer.images import decode
from sanitizer.metrics import Share
from sanitizer.resizing import resize
from sanitizer.tables import percent

#: A trigger that the bundled detector finds and that a tiny victim learns.
ATTACK: dict[str, Any] = {
    "attack": "random_patch",
    "attack_settings": {"side": 8, "cells": 8},
    "rate": 0.2,
    "victim": "tiny",
    "flip": False,
    "quiet": True,
    "workers": 1,
}


@pytest.fixture(autouse=True, scope="module")
def tiny_victim() -> Iterator[None]:
    """A victim for little batches, on which threads would only wait for each other."""
    tiny = VictimSettings(
        "tiny", (8, 16, 16, 32), epochs=3, batch=16, learning_rate=0.05, label_smoothing=0, shift=1
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(VICTIMS, "tiny", tiny)
        patch.setattr(threads, "available_cores", lambda: 1)
        yield


def labelled(table: pa.Table) -> pa.Table:
    """Images with the labels 0, 1, 2: dark, middling and bright, which a victim learns easily."""
    images = [decode(row["bytes"]) for row in table["image"].to_pylist()]
    brightness = np.array([image.mean() for image in images])
    label = np.digitize(brightness, np.quantile(brightness, [1 / 3, 2 / 3]))
    return pa.table({"image": table["image"], "label": pa.array(label, pa.int64())})


@pytest.fixture(scope="module")
def image_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled sample's images that carry no trigger."""
    path = tmp_path_factory.mktemp("set") / "photos.parquet"
    sample = pq.read_table(str(SAMPLE))
    clean = sample.filter(pa.compute.invert(sample["is_poisoned"]))
    pq.write_table(labelled(clean.slice(0, 600)), path)
    return path


@pytest.fixture(scope="module")
def proof(image_set: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Proof, Path]:
    output = tmp_path_factory.mktemp("proof") / "out"
    return prove(image_set, output=output, **ATTACK), output


def value(share: Share) -> float:
    assert share.value is not None
    return share.value


def ids(folder: Path) -> list[str]:
    return list(pq.read_table(folder, columns=["sample_id"])["sample_id"].to_pylist())


def test_each_row_of_a_proof_is_told_when_it_is_finished(
    image_set: Path,
    proof: tuple[Proof, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What cleaning removed before the first victim is trained, a victim before the next."""
    trained = experiment.train

    def train(*arguments: Any, **named: Any) -> Any:
        print("[training]", file=sys.stderr)
        return trained(*arguments, **named)

    monkeypatch.setattr(experiment, "train", train)
    again = prove(image_set, output=tmp_path / "out", **ATTACK | {"quiet": False})
    (run,) = again.runs
    found, lost = run.detection.bdr, run.detection.fpr
    lines = capsys.readouterr().err.splitlines()
    rows = [line for line in lines if line.startswith(("result, seed 0: ", "[training]"))]
    assert rows[::2] == [
        f"result, seed 0: cleaning removed {found.count:,} of {found.of:,} poisoned images "
        f"({percent(found.value)}) and {lost.count:,} of {lost.of:,} clean ones "
        f"({percent(lost.value)})",
        *(
            f"result, seed 0: {name}, clean accuracy {percent(figures.accuracy.value)}, attack "
            f"success (ASR) {percent(figures.asr.value)}, trained on {figures.trained_on:,} images"
            for name, figures in (
                ("without poison", run.victims.reference),
                ("poisoned", run.victims.before),
                ("cleaned", run.victims.after),
            )
        ),
    ]
    assert rows[1::2] == ["[training]"] * 3
    assert again.to_json() == proof[0].to_json()  # nothing else is measured for it


def test_an_attack_that_worked_fails_after_cleaning(proof: tuple[Proof, Path]) -> None:
    (run,) = proof[0].runs
    reference, before, after = run.victims.reference, run.victims.before, run.victims.after
    assert value(before.asr) > 0.9
    assert value(after.asr) < 0.25
    assert value(reference.asr) < 0.25
    assert value(before.asr_rejecting) < 0.05
    assert min(value(victim.accuracy) for victim in (reference, before, after)) > 0.6
    assert value(run.detection.bdr) > 0.95
    assert value(run.detection.fpr) < 0.03
    assert value(run.rejection.triggered) > 0.95
    assert re.match(r"The attack works \(ASR \d", proof[0].verdict)
    assert "after cleaning the attack fails" in proof[0].verdict


def test_what_is_printed_as_json_fits_its_schema(proof: tuple[Proof, Path]) -> None:
    check_printed("prove", json.dumps(proof[0].to_json()))


def test_counts_add_up(proof: tuple[Proof, Path], image_set: Path) -> None:
    result, output = proof
    (run,) = result.runs
    train, test = (ids(output / "proof" / name / "data") for name in ("train", "test"))
    assert len(train) + len(test) == pq.read_metadata(image_set).num_rows == len({*train, *test})
    assert len(test) / len(train + test) == pytest.approx(0.2, abs=0.05)
    victims = run.victims
    assert victims.reference.trained_on == victims.before.trained_on == len(train)
    assert victims.after.trained_on == run.counts.clean.clean
    assert run.detection.bdr.of == run.counts.poison.poisoned
    assert victims.before.accuracy.of == len(test)
    labels = pq.read_table(output / "proof/test/data")["label"].to_numpy()
    assert victims.before.asr.of == (labels != 0).sum()
    assert run.largest_class == pytest.approx(np.bincount(labels).max() / len(labels))
    for victim in (victims.reference, victims.before, victims.after):
        assert len(victim.history) == 3


def test_detection_figures_are_those_of_the_files(proof: tuple[Proof, Path]) -> None:
    result, output = proof
    folder = output / "proof" / "seed-0"
    truth = pq.read_table(folder / "poisoned/data").to_pylist()
    removed = set(ids(folder / "cleaned/data")) - {
        i for f in (folder / "cleaned/data").glob("clean-*") for i in ids(f)
    }
    detection = result.runs[0].detection
    for share, poisoned in ((detection.bdr, True), (detection.fpr, False)):
        of = [row["sample_id"] in removed for row in truth if row["is_poisoned"] is poisoned]
        assert (share.count, share.of) == (sum(of), len(of))


def test_result_page_and_picture_are_written(proof: tuple[Proof, Path]) -> None:
    result, output = proof
    written = json.loads((output / "proof.json").read_text())
    assert Proof.from_json(written) == result
    page = (output / "proof.md").read_text()
    assert result.verdict in page
    assert "| attack success (ASR) |" in page
    with Image.open(output / "proof.png") as picture:
        assert picture.width > 1000
        colours = picture.convert("RGB").getcolors(maxcolors=picture.width * picture.height)
        assert len(colours) > 100
    assert json.loads((output / "manifest.json").read_text())["job"] == "prove"


def test_a_finished_proof_is_left_alone_and_other_settings_are_refused(
    proof: tuple[Proof, Path], image_set: Path
) -> None:
    result, output = proof
    stamp = (output / "proof.json").stat().st_mtime_ns
    assert prove(image_set, output=output, **ATTACK) == result
    assert (output / "proof.json").stat().st_mtime_ns == stamp
    with pytest.raises(InputError, match="differs in rate"):
        prove(image_set, output=output, **ATTACK | {"rate": 0.1})


def test_a_stopped_proof_goes_on_and_several_runs_are_pooled(
    proof: tuple[Proof, Path],
    image_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[int] = []
    real = experiment.train

    def train(*given: Any, seed: int, **more: Any) -> Any:
        calls.append(seed)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*given, seed=seed, **more)

    monkeypatch.setattr(experiment, "train", train)
    with pytest.raises(KeyboardInterrupt):
        prove(image_set, output=tmp_path / "out", runs=2, **ATTACK)
    assert not (tmp_path / "out/proof.json").exists()
    result = prove(image_set, output=tmp_path / "out", runs=2, **ATTACK)
    assert calls == [0, 0, 0, 0, 1, 1, 1]
    first, second = result.runs
    assert first == proof[0].runs[0]  # stopped or not, alone or not
    poisoned = [
        {row["sample_id"] for row in pq.read_table(folder).to_pylist() if row["is_poisoned"]}
        for folder in sorted((tmp_path / "out/proof").glob("seed-*/poisoned/data"))
    ]
    assert poisoned[0] != poisoned[1]
    assert second.seed == 1
    page = (tmp_path / "out/proof.md").read_text()
    assert "means over 2 runs" in page
    assert re.search(r"\| run +\| seed 0 +\| seed 1 +\|", page)


def test_the_command_prints_verdict_and_tables(proof: tuple[Proof, Path], image_set: Path) -> None:
    result, output = proof
    command = ["prove", image_set, "--attack", "random_patch", "--set", "side=8", "--set"]
    command += ["cells=8", "--rate", 0.2, "--victim", "tiny", "--no-flip", "--output", output]
    done = CliRunner().invoke(main, [str(part) for part in command])
    assert done.exit_code == 0, done.output
    assert result.verdict in done.stdout
    assert "| attack success (ASR) |" in done.stdout
    assert f"{output}/proof.png" in done.stdout
    done = CliRunner().invoke(main, [str(part) for part in [*command, "--json", "--quiet"]])
    assert json.loads(done.stdout) == json.loads((output / "proof.json").read_text())


# --- What is selected, and what victims see ------------------------------------------------


def test_training_and_test_images_are_apart_and_bounded() -> None:
    train, test = train_and_test(1000, None, None)
    assert (test.low, test.high, train.low, train.high) == (0, 0.2, 0.2, 1)
    train, test = train_and_test(100_000, None, 20_000)
    assert (test.high, train.low, train.high) == (0.05, 0.2, pytest.approx(0.4))
    train, test = train_and_test(1000, 50_000, 20_000)
    assert (test.low, test.high, train.low, train.high) == (0, 0.1, 0, 1)


def test_the_choice_to_test_on_is_independent_of_the_choice_to_poison() -> None:
    names = [f"photos.parquet#{i}" for i in range(20_000)]
    hashes = np.array([hash_of(name) for name in names])
    poisoned = np.array([attacks.role_of(name, 0.1, 0, 0) is not None for name in names])
    assert np.histogram(hashes, 10, (0, 1))[0].min() > 1800
    assert poisoned[hashes < 0.2].mean() == pytest.approx(0.1, abs=0.02)


def test_another_set_to_test_on_leaves_all_of_input_to_train_on(
    image_set: Path, tmp_path: Path
) -> None:
    rows = pq.read_table(image_set)
    pq.write_table(rows.slice(0, 300), tmp_path / "one.parquet")
    pq.write_table(rows.slice(300, 200), tmp_path / "other.parquet")
    paths = (tmp_path / "one.parquet", tmp_path / "other.parquet")
    store = Store.at(tmp_path / "out")
    sets = Sets.open(*paths, store, Settings(quiet=True))
    train, test = sets.select(store, None)
    assert (train.source.rows, test.source.rows) == (300, 200)
    assert train.sizes == test.sizes == [(32, 32)]
    for selected, path in zip((train, test), paths, strict=True):
        copied = pq.read_table(Path(str(selected.source.root)))
        assert copied.drop_columns("sample_id").to_pylist() == pq.read_table(path).to_pylist()


def test_images_of_one_small_size_are_seen_as_they_are() -> None:
    assert victim_size([(32, 48)]) == (32, 48)
    for sizes in ([(32, 32), (48, 32)], [(96, 96)], [(6, 32)], []):
        assert victim_size(sizes) is None


@pytest.fixture
def trial_of(tmp_path: Path) -> Callable[..., tuple[Trial, list[np.ndarray]]]:
    """Builds a trial of thirty images that are encoded as JPEG and as PNG, in two sizes."""
    rows = pq.read_table(str(SAMPLE)).slice(0, 30)["image"].to_pylist()
    pixels = [decode(row["bytes"]) for row in rows]
    images = [resize(p, (32, 32) if i % 2 else (48, 40)) for i, p in enumerate(pixels)]
    data = [as_bytes(p, "PNG" if i % 3 else "JPEG") for i, p in enumerate(images)]
    labels = [("a", "b", "c", None, "a", "b", "c", "strange")[i % 8] for i in range(30)]
    data[1] = b"broken"
    table = pa.table({"image": pa.array(data, pa.binary()), "label": labels})
    pq.write_table(table, tmp_path / "test.parquet")
    source = open_source(tmp_path / "test.parquet")

    def build(target_label: str | None, encode: str = "keep") -> tuple[Trial, list[np.ndarray]]:
        request = PoisonRequest.checked(
            attack="badnets",
            attack_settings=None,
            rate=0.1,
            target_label=target_label,
            clean_label=None,
            all_to_all=target_label is None,
            encode=encode,
        )
        labels = Labels(("a", "b", "c"))
        recipe = recipe_at_test(request, source, labels, target_label)
        views = Views(None, labels.values, "image", "label")
        return load_trial(source, views, recipe, reject, workers=2, quiet=True), images

    return build


def as_bytes(pixels: np.ndarray, fmt: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, fmt)
    return buffer.getvalue()


def test_triggered_images_are_those_not_of_the_target_class(trial_of: Callable[..., Any]) -> None:
    trial, _ = trial_of("b")
    assert len(trial.clean.answers) == 22  # seven without a known label, and a broken "b"
    assert sorted(set(trial.clean.answers)) == [0, 1, 2]
    assert set(trial.triggered.answers) == {1}
    np.testing.assert_array_equal(trial.misled, trial.clean.answers != 1)
    assert trial.misled.sum() == len(trial.triggered.answers)


def test_all_to_all_attacks_want_the_next_class(trial_of: Callable[..., Any]) -> None:
    trial, _ = trial_of(None)
    assert trial.misled.all()
    np.testing.assert_array_equal(trial.triggered.answers, (trial.clean.answers + 1) % 3)


def test_the_victim_sees_the_trigger_encoded_then_resized(trial_of: Callable[..., Any]) -> None:
    trial, images = trial_of("b", encode="jpeg:30")
    triggered = attacks.get("badnets")(images[2][None])[0]  # the first "c", after one "a"
    buffer = io.BytesIO()
    Image.fromarray(triggered).save(buffer, "JPEG", quality=30)
    np.testing.assert_array_equal(
        trial.triggered.images[1], resize(decode(buffer.getvalue()), (64, 64))
    )


def test_covers_and_what_was_not_judged_are_counted_apart(tmp_path: Path) -> None:
    truth = {"sample_id": list("abcd"), "is_poisoned": [False, True, False, False]}
    truth["attack"] = [None, "wanet", "wanet", None]
    scores = {"sample_id": list("dcba"), "score": pa.array([None, 0.9, 0.8, 0.1], pa.float32())}
    scores["verdict"] = ["rejected", "poisoned", "poisoned", "clean"]
    stores = Store.at(tmp_path / "poisoned"), Store.at(tmp_path / "cleaned")
    for store, file, rows in zip(
        stores, (layout.TRAIN, layout.SCORES), (truth, scores), strict=True
    ):
        path = tmp_path / store.locate(file.name(0, 1))
        path.parent.mkdir(parents=True)
        pq.write_table(pa.table(rows), path)
    detection = experiment.compare(*stores)
    shares = [(share.count, share.of) for share in (detection.bdr, detection.fpr, detection.cover)]
    assert shares == [(1, 1), (0, 1), (1, 1)]
    assert detection.not_judged == {"clean": 1, "poisoned": 0, "cover": 0}


# --- What is refused -------------------------------------------------------------------------


def bare(table: pa.Table) -> pa.Table:
    return table.drop_columns("label")


def one_class(table: pa.Table) -> pa.Table:
    return table.set_column(1, "label", pa.array([3] * len(table)))


def floats(table: pa.Table) -> pa.Table:
    return table.set_column(1, "label", table["label"].cast(pa.float64()))


def poisoned_before(table: pa.Table) -> pa.Table:
    return table.append_column("is_poisoned", pa.array([False] * len(table)))


def few(table: pa.Table) -> pa.Table:
    return table.slice(0, 60)


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (bare, {}, "has no labels, which a victim needs"),
        (one_class, {}, "a single class, expected two or more"),
        (poisoned_before, {}, "already has a column 'is_poisoned'"),
        (few, {}, "holds 60 images, expected at least 150"),
        (None, {"attack": "badnet"}, "no attack 'badnet', known: badnets"),
        (None, {"rate": 0}, "rate: expected above 0, at most 1, got 0"),
        (None, {"rate": 1e-9}, "not one image was poisoned; give a higher rate"),
        (None, {"target_label": "5"}, "no label '5' in the set; its labels are 0, 1, 2"),
        (None, {"victim": "slow"}, "no victim 'slow', known: quick, standard"),
        (floats, {}, "the column label is double, but a victim needs labels that are whole"),
        (None, {"runs": 0}, "^freqsan: runs: expected 1 or more, got 0$"),
        (None, {"seed": -1}, "^freqsan: seed: expected 0 or more, got -1$"),
        (None, {"encode": "gif"}, "encode: expected keep, png or jpeg:Q"),
        (None, {"detector": "nosuch"}, "no detector 'nosuch'"),
        (None, {"max_clean_loss": 0}, "max clean loss"),
        (None, {"test": "/nowhere"}, "no such file"),
    ],
)
def test_bad_input_is_reported_in_one_line(
    change: Callable[[pa.Table], pa.Table] | None,
    options: dict[str, Any],
    words: str,
    image_set: Path,
    tmp_path: Path,
) -> None:
    path = image_set
    if change is not None:
        path = tmp_path / "set.parquet"
        pq.write_table(change(pq.read_table(image_set).slice(0, 300)), path)
    command = ["prove", str(path), "--output", str(tmp_path / "out"), "--quiet"]
    given = {"attack": "badnets", "victim": "tiny"} | options
    for name, value in given.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2, done.output
    (line,) = done.stderr.strip().splitlines()
    assert re.search(words, line), line


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (("dog", "frog"), "has other classes than INPUT, without 'cat'; give sets with the same"),
        (("cat", "dog", "emu"), "without 'frog' and with 'emu' besides"),
    ],
)
def test_a_test_set_of_other_classes_is_refused(
    classes: tuple[str, ...], words: str, image_set: Path, tmp_path: Path
) -> None:
    rows = pq.read_table(image_set)["image"].to_pylist()
    for name, own in (("one", ("cat", "dog", "frog")), ("other", classes)):
        for i, row in enumerate(rows[:160]):
            file = tmp_path / name / own[i % len(own)] / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(row["bytes"])
    with pytest.raises(InputError, match=words):
        prove(tmp_path / "one", test=tmp_path / "other", output=tmp_path / "out", **ATTACK)
    assert not (tmp_path / "out").exists()


def test_classes_in_another_order_and_labels_of_no_class_are_refused(
    image_set: Path, tmp_path: Path
) -> None:
    rows = pq.read_table(image_set)
    info = {"label": {"names": ["a", "b", "c"], "_type": "ClassLabel"}}
    named = rows.cast(with_features(rows.schema, info))
    info["label"]["names"] = ["b", "a", "c"]
    pq.write_table(named, tmp_path / "named.parquet")
    pq.write_table(rows.cast(with_features(rows.schema, info)), tmp_path / "order.parquet")
    more = rows.set_column(1, "label", pa.array([i % 5 for i in range(len(rows))]))
    pq.write_table(more, tmp_path / "more.parquet")
    for test, words in (
        ("order", "in another order"),
        ("more", "labels that INPUT has not: 3, 4;"),
    ):
        with pytest.raises(InputError, match=words):
            prove(
                tmp_path / "named.parquet",
                test=tmp_path / f"{test}.parquet",
                output=tmp_path / "out",
                **ATTACK,
            )


def test_output_within_an_input_is_refused(image_set: Path) -> None:
    with pytest.raises(InputError, match="lie within each other"):
        prove(image_set.parent, output=image_set.parent / "out", **ATTACK)


def test_the_documentation_names_options_and_files_that_exist(
    proof: tuple[Proof, Path],
) -> None:
    docs = Path(__file__).resolve().parents[1] / "docs"
    text = (docs / "proving.md").read_text(encoding="utf-8")
    known = {option for parameter in main.commands["prove"].params for option in parameter.opts}
    known |= {o for parameter in main.commands["prove"].params for o in parameter.secondary_opts}
    assert set(re.findall(r"`?(--[a-z][a-z-]+)", text)) <= known
    (layout,) = re.findall(r"^freqsan-proof/\n(.*?)^```", text, flags=re.M | re.S)
    named = re.findall(r"^  (\S+)", layout, flags=re.M)
    assert len(named) == 5
    assert all((proof[1] / name).exists() for name in named)
    for name in re.findall(r"\]\(([^)#]+)\)", text):
        assert (docs / name).exists(), name
