"""``freqsan attacks``: every attack with its settings, its source and its triggers."""

import dataclasses
import json

from click.testing import CliRunner

import attacks as library
from freqsan import attacks
from pipelines.cli import main


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["attacks", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_every_attack_is_listed_with_its_settings_and_source() -> None:
    cards = {card.name: card for card in attacks()}
    assert list(cards) == library.names()
    assert cards["badnets"].settings == {"side": 4, "margin": 1}
    assert cards["badnets"].triggers == {}
    assert cards["smooth"].triggers.keys() == {"cifar10", "gtsrb"}
    assert cards["smooth"].own_target == cards["smooth"].triggers["cifar10"].target
    for name, card in cards.items():
        kind = library.kind(name)
        assert card.source == kind.source
        assert all(provenance.attack == name for provenance in card.triggers.values())
        assert card.settings.keys() == {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]


def test_the_list_in_words() -> None:
    words = run()
    assert "badnets  side=4, margin=1\n    BadNets\n    Gu, Dolan-Gavitt" in words
    assert "    Smooth; made for target label 6; triggers: cifar10, gtsrb\n" in words
    assert "    SIG; clean label\n" in words


def test_the_list_as_json_has_all_that_a_triggers_file_says() -> None:
    cards = {card["name"]: card for card in json.loads(run("--json"))}
    assert list(cards) == library.names()
    assert list(cards["badnets"]) == [
        "name",
        "title",
        "source",
        "clean_label",
        "cover_ratio",
        "own_target",
        "min_side",
        "settings",
        "triggers",
    ]
    smooth = cards["smooth"]["triggers"]["gtsrb"]
    assert smooth["fooling_rate"] == 0.208
    assert smooth["images"] == [31920, 32, 32, 3]
    assert smooth["classifier"]["settings"]["widths"] == [16, 32, 64, 96]
    assert "history" not in smooth["classifier"]
    assert cards["l0_inv"]["triggers"]["cifar10"]["l0_norm"] == 10
    assert cards["issba"]["triggers"]["cifar10"]["bits_read"] == 1.0
