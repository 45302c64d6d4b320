# SPDX-License-Identifier: Apache-2.0
"""The model card against the record's values; its front matter is checked by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fireforge.base.answer import Answer
from fireforge.base.journal import Entry
from fireforge.base.start import Start
from fireforge.report.card import model_card, write_card

Save = Callable[..., Path]


def front(card: str) -> dict[str, object]:
    """Top level of the front matter: plain or JSON-quoted scalars, lists of them, deeper levels as raw lines."""
    opening, text, _ = card.split("---\n", 2)
    assert opening == ""
    found: dict[str, object] = {}
    key = ""
    for line in text.splitlines():
        if line.startswith(("- ", "  ")):
            items = found[key]
            assert isinstance(items, list)
            items.append(plain(line.removeprefix("- ")))
            continue
        key, _, value = line.partition(":")
        assert key.replace("-", "").replace("_", "").isalpha()
        found[key] = plain(value.strip()) if value.strip() else []
    return found


def plain(text: str) -> str:
    return json.loads(text) if text.startswith('"') else text


def card(entries: list[Entry], *, licence: str = "unknown") -> str:
    return model_card(Answer.from_json(entries[-1].value), Start.from_json(entries[0].value), licence=licence)


def test_front_matter_holds_what_model_hubs_read(entries: list[Entry]) -> None:
    found = front(card(entries, licence="CC-BY-4.0"))
    assert found["license"] == "CC-BY-4.0"
    assert found["tags"] == ["image-classification", "onnx", "fireforge", "int8"]
    assert found["datasets"] == ["digits"]
    assert found["metrics"] == ["accuracy"]
    assert f"      value: {352 / 360!r}" in found["model-index"]  # 352 of 360 right in the record


def test_front_matter_quotes_hostile_names(entries: list[Entry]) -> None:
    entries[0].value["dataset"]["source"] = 'a: "b"\n---\n# c'
    found = front(card(entries, licence='x"\ny: z'))
    assert found["datasets"] == ['a: "b"\n---\n# c']
    assert found["license"] == 'x"\ny: z'
    assert "y" not in found


def test_card_shows_the_record_s_numbers(save_run: Save, entries: list[Entry]) -> None:
    path = write_card(save_run(entries))
    text = path.read_text(encoding="utf-8")
    assert path.name == "README.md"
    for told in (
        "| Size | 38,412 B |",
        "| Test accuracy | 97.8 % (95.7 to 98.9 %) |",
        "| File size | 40,000 B | 38,412 B | yes |",
        "| Energy | 2.5 mJ | – | not measured |",
        "| Accuracy | 98.0 % | 97.8 % | no |",
        "**Infeasible: max\\_energy\\_mj was not measured on this machine**",
        'fireforge.load("model-int8.onnx")',
        "Found 1,802, used 1,797, skipped: 1 IMG_EMPTY, 4 IMG_TRUNCATED",
        "| 8 | 96.9 % | 93.9 % | 33 |",
        "nearest neighbours, 97.2 %; the network has 98.1 % there.",
        "Seed 3.",
        "- Pictures: 1,221 train, 216 val, 360 test",
        "of such pictures it refused",
        "| Energy of a prediction | – |",
    ):
        assert told in text


def test_card_tells_the_calibration(save_run: Save, entries: list[Entry]) -> None:
    fit = next(entry.value for entry in entries if entry.type == "calibration")
    text = write_card(save_run(entries)).read_text(encoding="utf-8")
    told = text.split("## Scores")[1].split("## Limits")[0]
    assert f"Temperature {fit['temperature']:.4g}, fitted on 216" in told
    assert f"error there {100 * fit['ece_after']:.2f} %, without it {100 * fit['ece_before']:.2f} %" in told
    assert f"An answer below {100 * fit['threshold']:.1f} % is" in told
    rest = [entry for entry in entries if entry.type != "calibration"]
    plain_text = write_card(save_run(rest)).read_text(encoding="utf-8")
    assert "The scores were not calibrated" in plain_text
    assert "It always answers with one of its classes" in plain_text


@pytest.mark.parametrize(
    ("how", "told"), [("counter: package-0", "by a counter"), ("estimated: 45 nm table", "estimated, a lower bound")]
)
def test_card_says_where_the_energy_comes_from(entries: list[Entry], how: str, told: str) -> None:
    entries[-1].value["measured"]["energy_mj"] = 0.25
    entries[-1].value["measured"]["how"]["energy_mj"] = how
    assert f"| Energy of a prediction | 250 µJ, {told} |" in card(entries)


def test_card_names_no_folder_of_the_machine(entries: list[Entry]) -> None:
    entries[0].value["dataset"]["source"] = "/home/somebody/photos"
    text = card(entries)
    assert "somebody" not in text
    assert front(text)["datasets"] == ["photos"]


@pytest.mark.parametrize("kept", [(), ("start",), ("answer",), ("start", "trial"), ("evaluation",)])
def test_card_of_an_interrupted_run(save_run: Save, entries: list[Entry], kept: tuple[str, ...]) -> None:
    text = write_card(save_run([entry for entry in entries if entry.type in kept])).read_text(encoding="utf-8")
    assert ("The run has no answer yet." in text) == ("answer" not in kept)
    assert front(text)["license"] == "unknown"


def test_card_of_nothing() -> None:
    assert "No file has been evaluated on the test part." in model_card(None, None)
