# SPDX-License-Identifier: Apache-2.0
"""What single sections say, against the record's values."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fireforge.base.answer import BestBaseline
from fireforge.base.counted import Counted
from fireforge.base.errors import FireforgeError
from fireforge.base.gradients import Gradients, Look
from fireforge.base.journal import Entry
from fireforge.base.prediction import Prediction
from fireforge.report.page import page
from fireforge.report.run import read_run
from fireforge.report.spent import spent
from fireforge.runtime.difference import difference_png

Save = Callable[..., Path]


@pytest.fixture
def show(save_run: Save) -> Callable[..., str]:
    """A section of the page of some entries."""

    def of(entries: list[Entry], name: str) -> str:
        found = re.search(rf'<section id="{name}">(.*?)</section>', page(read_run(save_run(entries))), re.DOTALL)
        assert found is not None
        return found[1]

    return of


def words(markup: str) -> str:
    """Without tags and drawings."""
    return html.unescape(re.sub(r"<[^>]*>", " ", re.sub(r"<svg.*?</svg>", "", markup, flags=re.DOTALL)))


def cells(markup: str) -> list[list[str]]:
    """Rows of all tables."""
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", markup, re.DOTALL)
    return [[" ".join(words(cell).split()) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row)] for row in rows]


def look(epoch: float, gain: float) -> Look:
    """A look at a network whose gradients grow by the gain at each of ten layers on the way back."""
    sizes = tuple(1e-4 * gain**power for power in range(9, -1, -1))
    return Look(epoch=epoch, outputs=(*sizes, 0.3), weights=(0.1,) * 11, relative=(0.2,) * 10 + (7.5,))


def test_gradients_are_drawn_and_judged_look_by_look(show: Callable[..., str], entries: list[Entry]) -> None:
    layers = (*(f"conv{number}" for number in range(10)), "classifier")
    found = Gradients(layers=layers, looks=(look(0, 4.0), look(1, 0.4), look(3, 1.1)))
    rows = [
        e if e.type != "trial" else Entry(type="trial", value={**e.value, "gradients": found.to_json()})
        for e in entries
    ]
    section = show(rows, "gradients")
    assert section.count("<polyline") == 3
    assert section.count("<circle") == 33
    assert cells(section)[1:] == [
        ["first step", "262,144 times", "✗ exploding", "classifier", "7.5"],
        ["after 1 epoch", "1/3,815", "✗ vanishing", "classifier", "7.5"],
        ["after 3 epochs", "2.4 times", "✓ ideal", "classifier", "7.5"],
    ]


def test_gradients_that_were_not_seen_or_have_no_size_leave_the_page_whole(
    show: Callable[..., str], entries: list[Entry]
) -> None:
    assert "no sizes of gradients" in show(entries, "gradients")
    broken = Look(epoch=0, outputs=(None, 0.0, None, 0.0), weights=(None,) * 4, relative=(None,) * 4)
    few = Look(epoch=2, outputs=(0.1, 0.2), weights=(0.1, 0.1), relative=(0.1, 0.1))
    for seen, words_of in ((broken, "exploding"), (few, "too few layers to tell")):
        found = Gradients(layers=("a", "b", "c", "d")[: len(seen.outputs)], looks=(seen,))
        rows = [e.value | {"gradients": found.to_json()} if e.type == "trial" else e.value for e in entries]
        section = show([Entry(type=e.type, value=value) for e, value in zip(entries, rows)], "gradients")
        assert words_of in section
        assert ("<svg" in section) is (seen is few)


def of_type(entries: list[Entry], type: str) -> list[Entry]:
    return [entry for entry in entries if entry.type == type]


def test_baselines_that_were_left_out_say_why(show: Callable[..., str], entries: list[Entry]) -> None:
    section = show(entries, "baselines")
    assert "mlp left out: 0.4 s left, it needs about 2 s" in " ".join(words(section).split())
    assert [row[0] for row in cells(section)] == [
        "Method", "nearest neighbours", "linear", "most frequent class", "the answer",
    ]  # fmt: skip


def test_baselines_tell_latency_pictures_and_notes(show: Callable[..., str], entries: list[Entry]) -> None:
    linear = next(entry for entry in entries if entry.value.get("name") == "linear")
    linear.value.update(latency_ms=0.0421, trained_on=1000, notes=["1,000 of 1,221 pictures, stratified, seed 0"])
    section = show(entries, "baselines")
    row = next(row for row in cells(section) if row[0] == "linear")
    assert row[3:] == ["2,640 B", "0.3 s", "0.042 ms", "1,000"]
    assert "linear : 1,000 of 1,221 pictures, stratified, seed 0" in " ".join(words(section).split())


def test_scatter_tells_families_by_colour_and_inputs_by_shape(show: Callable[..., str], entries: list[Entry]) -> None:
    """32 trials twice: 30 of 8 x 8 px as circles, two of 12 x 12 as squares; 2 resnet, 2 mobilenet, 28 firenet."""
    section = show(entries, "space")
    drawings = re.findall(r"<svg[^>]*role=.*?</svg>", section, re.DOTALL)
    assert len(drawings) == 2
    for drawing in drawings:
        marks = re.findall(r'<(circle|polygon) class="dot family-(\d) rung-(\d)"', drawing)
        assert len(marks) == 32
        assert sum(shape == "polygon" for shape, _, _ in marks) == 2
        assert [sum(family == str(i) for _, family, _ in marks) for i in range(3)] == [28, 2, 2]
        assert [int(rung) for _, _, rung in marks] == sorted(int(rung) for _, _, rung in marks)
        assert drawing.count('class="chosen"') == 1
    assert "12 × 12 px" in section


def test_counted_networks_stand_below_the_trained_ones(show: Callable[..., str], entries: list[Entry]) -> None:
    counted = Counted(macs=tuple(range(1, 1001)), params=tuple(range(1, 1001)))
    section = show([*entries, Entry(type="counted", value=counted.to_json())], "space")
    assert "counted, not trained" in section
    strokes = [path.count("M") for path in re.findall(r'<path d="([^"]*)" class="rug"', section)]
    assert len(strokes) == 2
    assert all(300 <= number <= 400 for number in strokes)
    assert "counted, not trained" not in show(entries, "space")
    with pytest.raises(FireforgeError, match="BAD_RECORD"):
        Counted(macs=(1,), params=())


def test_trial_that_failed_says_so(show: Callable[..., str], entries: list[Entry]) -> None:
    value = of_type(entries, "trial")[0].value
    value.update(accuracy=None, error="the loss is not finite at step 3")
    row = next(row for row in cells(show(entries, "space")) if "not finite" in row[0])
    assert row[3] == "✗ failed"


def test_scores_are_those_of_the_calibration(show: Callable[..., str], entries: list[Entry]) -> None:
    fit = of_type(entries, "calibration")[0].value
    section = show(entries, "scores")
    table = {row[0]: row[1:] for row in cells(section)}
    errors = [f"{100 * fit[key]:.2f} %" for key in ("ece_before", "ece_after")]
    assert table["Expected calibration error, equal bins"] == errors
    assert table["Negative log-likelihood, nats"] == [f"{fit[key]:.4f}" for key in ("nll_before", "nll_after")]
    told = " ".join(words(section).split())
    assert f"below {100 * fit['threshold']:.1f} % is “none of these”" in told
    assert f"uniform noise: {100 * fit['refused']['uniform noise']:.1f} % refused" in told
    assert len(re.findall(r'class="dot before"', section)) == len(fit["reliability_before"])
    assert len(re.findall(r'class="dot after"', section)) == len(fit["reliability_after"])
    assert len(re.findall(r'class="dot test"', section)) == len(of_type(entries, "evaluation")[0].value["reliability"])


@pytest.mark.parametrize(("absent", "drawn"), [("calibration", 1), ("evaluation", 2), ("neither", 3)])
def test_scores_without_one_or_the_other(
    show: Callable[..., str], entries: list[Entry], absent: str, drawn: int
) -> None:
    """One plot of the test part, one of validation, and the risk."""
    section = show([entry for entry in entries if entry.type != absent], "scores")
    assert section.count('role="img"') == drawn


def test_scores_tell_what_the_test_part_lost(show: Callable[..., str], entries: list[Entry]) -> None:
    of_type(entries, "evaluation")[0].value.update(threshold=0.5, refused=10, accuracy_accepted=0.98)
    told = " ".join(words(show(entries, "scores")).split())
    assert "it refuses 10 of 360 pictures; of the other 350, 98.0 % are right" in told


def test_ledger_holds_what_was_foretold_against_what_was_measured(
    show: Callable[..., str], entries: list[Entry]
) -> None:
    """38,412 of 38,700 bytes are 0.993; 0.13942 of 0.2 ms are 0.697."""
    more = Prediction(name="latency_ms", value=0.2, how="by a table")
    section = show([*entries[:-1], Entry(type="prediction", value=more.to_json()), entries[-1]], "ledger")
    table = {row[0]: row[1:] for row in cells(section)}
    assert table["File, predicted before training"] == ["38,700 B", "38,412 B", "0.993"]
    assert table["Latency, predicted"] == ["0.2 ms", "0.139 ms", "0.697"]
    assert "Latency, predicted: by a table" in words(section)


@pytest.mark.parametrize("how", ["counter: package-0, 800 predictions", "estimated: 45 nm table"])
def test_energy_stands_on_the_page_with_its_origin(
    save_run: Save, show: Callable[..., str], entries: list[Entry], how: str
) -> None:
    entries[-1].value["measured"]["energy_mj"] = 0.25
    entries[-1].value["measured"]["how"]["energy_mj"] = how
    section = show(entries, "ledger")
    assert ["Energy of a prediction", "", "250 µJ", ""] in cells(section)
    assert f"Energy: {how}" in words(section)
    head = page(read_run(save_run(entries))).split("<nav")[0]
    assert ("by the machine's counter" in html.unescape(head)) == how.startswith("counter")
    assert ("estimated: a lower bound" in head) == how.startswith("estimated")


def test_limit_that_was_held_against_an_estimate_says_so(
    save_run: Save, show: Callable[..., str], entries: list[Entry]
) -> None:
    entries[-1].value["limits"][2].update(achieved=0.25, met=True, how="estimated: 45 nm table")
    rows = {row[0]: row for row in cells(show(entries, "limits"))}
    assert rows["Energy"][4:] == ["✓ met, estimated", "estimated: 45 nm table"]
    assert rows["File size"][4] == "✓ met"
    head = " ".join(words(page(read_run(save_run(entries))).split("<nav")[0]).split())
    assert "Energy 0.25 mJ ≤ 2.5 mJ, estimated" in head


def test_the_stages_of_the_chosen_training_are_shown_with_their_shares(
    show: Callable[..., str], entries: list[Entry]
) -> None:
    """6 s forward, 3 s waited for data, 1 s of updates; two workers decoded for 4 s beside it."""
    told = {"stages": {"update": 1.0, "forward": 6.0, "wait": 3.0, "feed/decode": 4.0, "feed/wall": 4.0}, "workers": 2}
    rows = [e if e.type != "trial" else Entry(type="trial", value={**e.value, **told}) for e in entries]
    found = cells(show(rows, "time"))
    at = [row[0] for row in found].index("Stage of the chosen training")
    assert [(row[0], row[1], row[3]) for row in found[at + 1 :]] == [
        ("forward", "the training", "60 %"),
        ("wait", "the training", "30 %"),
        ("update", "the training", "10 %"),
        ("decode", "2 data workers", "40 %"),
    ]


def test_time_adds_up_to_the_answer_s_seconds(show: Callable[..., str], entries: list[Entry]) -> None:
    rows = cells(show(entries, "time"))
    assert [row[0] for row in rows] == [
        "Stage",
        "Data",
        "Baselines",
        "Survey",
        "Rung 0",
        "Rung 1",
        "Rung 2",
        "Finish",
        "All",
    ]
    assert rows[-1][1:3] == ["2 min 00 s were given", "1 min 53 s"]
    assert sum(float(row[3].split()[0]) for row in rows[1:-1]) == pytest.approx(100, abs=3)  # six are rounded
    assert sum(row.wall_s for row in spent(entries)) == pytest.approx(112.6)


def test_parity_has_a_column_for_each_file(show: Callable[..., str], entries: list[Entry]) -> None:
    report = of_type(entries, "parity")[1].value
    report["taps"][2].update(difference=0.5, passed=False)
    report.update(passed=False, blame="logits")
    section = show(entries, "parity")
    assert cells(section)[0] == ["Tap", "model.onnx", "bound", "model-int8.onnx", "bound"]
    assert cells(section)[3] == ["logits", "0.0831", "0.25", "✗ 0.5", "0.25"]
    assert "the first that differs: logits." in words(section)


def test_the_first_tap_that_fails_is_shown(show: Callable[..., str], entries: list[Entry]) -> None:
    want = np.zeros((12, 10, 3), np.uint8)
    png = difference_png(want, want + 9)
    report = of_type(entries, "parity")[1].value
    report.update(passed=False, blame="crop", picture=png)
    section = show(entries, "parity")
    assert f'src="data:image/png;base64,{png}"' in section
    assert "crop: wanted, given, and the difference" in words(section)


def test_simpler_answer_is_named_at_the_top(save_run: Save, entries: list[Entry]) -> None:
    simple = BestBaseline(name="<b>linear</b>", accuracy=0.99, bytes=2640)
    entries[-1].value["instead"] = simple.to_json()
    head = " ".join(words(page(read_run(save_run(entries))).split("<nav")[0]).split())
    assert "Simpler: <b>linear</b> needs no search, keeps all limits and is no worse: 99.0 %" in head
    assert "with 2,640 B, the network 98.1 %" in head


def test_a_run_that_went_on_and_started_from_another_says_so(show: Callable[..., str], entries: list[Entry]) -> None:
    trials = [entry.value for entry in of_type(entries, "trial")[:3]]
    more = [
        Entry(type="earlier", value={"run": "runs/before", "trials": trials}),
        Entry(type="longer", value={"seconds": 300.0, "command": "fireforge build digits --time 5m"}),
    ]
    entries = [entries[0], *more, *entries[1:]]
    assert "Known at the start: 3 trials of an earlier run." in words(show(entries, "space"))
    told = words(show(entries, "provenance"))
    assert "fireforge build digits --time 5m" in told
    assert "runs/before" in told
    assert "5 min 00 s were given" in words(show(entries, "time"))


def test_a_baseline_that_is_a_network_stands_in_the_scatter(show: Callable[..., str], entries: list[Entry]) -> None:
    record = of_type(entries, "trial")[0].value
    record = {
        **record,
        "trial": {**record["trial"], "rung": -2, "spec": {**record["trial"]["spec"], "family": "convnet"}},
    }
    net = {**of_type(entries, "baseline")[0].value, "name": "convnet", "record": record}
    section = show([entries[0], Entry(type="baseline", value=net), *entries[1:]], "space")
    assert section.count('class="dot family-3 rung-0"') == 2  # one in each plot
    assert section.count("input 1 × 8 × 8, a baseline") == 2
    assert "rung -2" not in section


def test_long_choices_are_cut(show: Callable[..., str], entries: list[Entry]) -> None:
    digests = [f"{i:064x}" for i in range(300)]
    choices = [{"name": "starters", "value": digests, "why": "w"}, {"name": "one", "value": "ab" * 32, "why": "w"}]
    rows = cells(show([*entries, *(Entry(type="choice", value=value) for value in choices)], "provenance"))
    assert ["starters", "00000000, 00000000, 00000000, 00000000, … (300 in all)", "w"] in rows
    assert ["one", "abababab", "w"] in rows


def test_provenance_says_how_to_get_it_again(show: Callable[..., str], entries: list[Entry]) -> None:
    assert "fireforge build digits --replay" in show(entries, "provenance")
    assert "--replay" not in show(entries[:-1], "provenance")
