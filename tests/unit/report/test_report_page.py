# SPDX-License-Identifier: Apache-2.0
"""The page of whole, interrupted and hostile runs, read back with the standard library's HTML parser."""

from __future__ import annotations

import base64
import io
import re
import sys
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from fireforge.base.errors import FireforgeError
from fireforge.base.files import sha256_of_file
from fireforge.base.journal import Entry
from fireforge.base.pixels import normalize, to_pixels
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.report.card import write_card
from fireforge.report.page import SECTIONS, write_report
from fireforge.report.run import read_run
from fireforge.report.sections.usage import onnx_listing
from fireforge.report.style import STYLE

Save = Callable[..., Path]
KINDS = (
    *(
        "start",
        "choice",
        "clock",
        "baseline",
        "candidates",
        "counted",
        "trial",
        "earlier",
        "longer",
        "calibration",
        "prediction",
    ),
    *("stage", "export", "parity", "evaluation", "answer"),
)
HOSTILE = [
    "<script>alert(1)</script>",
    "q\"u'o",
    "x\ny",
    "\u202eabc",
    "שלום",
    "🔥",
    "</title>",
    "<img src=x>",
    "&amp;",
    " ",
]


class Page(HTMLParser):
    """Balanced tags, ids, links, sources and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.data: list[tuple[float, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("br", "hr", "img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            return
        self.text.append(data)
        if self.open and self.open[-1] == "data":
            self.data.append((float(self.seen[-1][1]["value"] or "nan"), data))

    def all(self, name: str) -> list[str]:
        return [value or "" for _, attrs in self.seen for key, value in attrs.items() if key == name]


def read(folder: Path) -> tuple[str, Page]:
    text = write_report(folder).read_text(encoding="utf-8")
    return text, Page(text)


def test_whole_run_is_one_file_that_asks_for_nothing(save_run: Save, entries: list[Entry]) -> None:
    text, page = read(save_run(entries))
    assert "http://" not in text
    assert "https://" not in text
    assert "url(" not in text
    assert not {"script", "link", "iframe", "object", "base", "form"} & {name for name, _ in page.seen}
    assert all(source.startswith("data:image/") for source in page.all("src"))
    assert len(page.all("src")) == 48
    assert all(link.startswith("#") for link in page.all("href"))
    assert {link[1:] for link in page.all("href")} == set(page.all("id")) == set(SECTIONS)
    assert "default-src 'none'" in page.all("content")[0]
    assert "prefers-color-scheme: dark" in STYLE
    assert "@media print" in STYLE


def test_sections_come_in_their_order(save_run: Save, entries: list[Entry]) -> None:
    page = read(save_run(entries))[1]
    assert page.all("id") == [
        "limits", "data", "baselines", "space", "latency", "training", "gradients", "compression",
        "parity", "test", "scores", "ledger", "time", "use", "provenance",
    ]  # fmt: skip


def test_limits_are_the_record_s_numbers(save_run: Save, entries: list[Entry]) -> None:
    """The exact value stands in the page, and the words beside it round to it."""
    page = read(save_run(entries))[1]
    shown = dict(page.data)
    units = {"B": 1.0, "µJ": 1e-3, "KB": 1e3, "MB": 1e6, "ms": 1.0, "mJ": 1.0, "%": 0.01}
    for verdict in entries[-1].value["limits"]:
        for value in (verdict["limit"], verdict["achieved"]):
            assert value is None or value in shown
    for value, words in page.data:
        number, unit = words.split(" ")
        told = float(number.replace(",", "")) * units[unit]
        assert told == pytest.approx(value, rel=0.006)  # at least three digits are written


def test_page_says_what_was_found_and_skipped(save_run: Save, entries: list[Entry]) -> None:
    text = " ".join(read(save_run(entries))[1].text)
    assert "1,802 = 1,797 used + 1 IMG_EMPTY + 4 IMG_TRUNCATED" in text


def test_infeasible_run_says_which_limit_binds(save_run: Save, entries: list[Entry]) -> None:
    text = "".join(read(save_run(entries))[1].text)
    assert "Infeasible: max_energy_mj was not measured on this machine" in text
    assert "The nearest found: one file of 38,412 B" in text
    assert "Accuracy 97.8 %, allowed ≥ 98.0 %" in text


@pytest.mark.parametrize("absent", KINDS)
def test_page_without_one_kind_of_entry(save_run: Save, entries: list[Entry], absent: str) -> None:
    page = read(save_run([entry for entry in entries if entry.type != absent]))[1]
    told = "".join(page.text)
    says = {
        "start": "The record does not describe the data",
        "baseline": "The record holds no baseline",
        "candidates": "does not say how many candidates",
        "trial": "No trial has finished",
        "stage": "No compression stage has run",
        "export": "No file has been exported",
        "parity": "No file has been held against the reference",
        "evaluation": "No file has been evaluated",
        "answer": "no answer yet",
    }
    assert says.get(absent, "Network for digits") in told


def test_page_of_a_run_cut_where_one_kind_of_entry_ends(save_run: Save, entries: list[Entry]) -> None:
    ends = [place for place in range(1, len(entries)) if entries[place].type != entries[place - 1].type]
    for length in (0, *ends, len(entries)):
        page = read(save_run(entries[:length]))[1]
        assert ("Interrupted" in "".join(page.text)) == (length < len(entries))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [{}, [1], {"unknown": 1}, None])
def test_entry_that_is_not_what_its_type_says_is_refused_by_line(
    save_run: Save, entries: list[Entry], kind: str, value: object
) -> None:
    folder = save_run([*entries[:2], Entry(type=kind, value=value)])
    with pytest.raises(FireforgeError) as raised:
        write_report(folder)
    assert raised.value.code == "BAD_RECORD"
    assert raised.value.where == f"{folder / 'record.jsonl'} line 3 ({kind})"
    assert not (folder / "report.html").exists()


def test_record_of_an_earlier_form_is_read(save_run: Save, entries: list[Entry]) -> None:
    """As records were before the files' sha256, the accuracy on validation and a training's settings stood in them."""
    for entry in entries:
        for late in {"start": ("settings",), "export": ("sha256",)}.get(entry.type, ("val_accuracy",)):
            entry.value.pop(late, None)
    run = read_run(save_run(entries))
    assert run.start is not None
    assert run.answer is not None
    assert (run.start.settings, run.exports[0].sha256, run.evaluations[0].val_accuracy) == (None, "", None)
    assert (run.answer.val_accuracy, run.answer.on_validation()) == (None, 212 / 216)


@pytest.mark.parametrize(("accuracy", "warned"), [(212 / 216, False), (213 / 216, True)])
def test_headline_warns_where_a_baseline_is_better_on_validation(
    save_run: Save, entries: list[Entry], accuracy: float, warned: bool
) -> None:
    """The network has 212 of 216 there; as good is good enough, one picture more is not."""
    entries[-1].value["baseline"] = {"name": "<b>linear</b>", "accuracy": accuracy}
    folder = save_run(entries)
    told = "".join(read(folder)[1].text)
    line = "Warning: <b>linear</b> needs no search and has 98.6 % on the validation part, the network 98.1 %."
    assert (line in told) == warned
    assert ("**Warning: &lt;b&gt;linear&lt;/b&gt; needs no search" in write_card(folder).read_text()) == warned


def test_line_that_a_crash_cut_off_is_left_out(save_run: Save, entries: list[Entry]) -> None:
    folder = save_run(entries[:-1])
    with open(folder / "record.jsonl", "a", encoding="utf-8") as stream:
        stream.write('{"type":"answer","val')
    assert "no answer yet" in "".join(read(folder)[1].text)


def test_folder_without_a_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FireforgeError, match="NO_RUN"):
        write_report(tmp_path)
    with pytest.raises(FireforgeError, match="NO_RUN"):
        write_report(tmp_path / "absent")


def test_hostile_names_stay_text(save_run: Save, entries: list[Entry]) -> None:
    tags = {name for name, _ in read(save_run(entries))[1].seen}
    data, evaluation = entries[0].value["dataset"], entries[-2].value
    data["labels"] = evaluation["labels"] = HOSTILE
    data["source"] = entries[0].value["data"]["source"] = 'a"><script>b</script>'
    for sample, label in zip(data["samples"], HOSTILE * 3):
        sample["label"] = label
    for row in evaluation["worst"]:
        row["name"] = row["truth"] = row["answer"] = "<script>\"'\n\u202e</script>"
    entries[-1].value["command"] = "fireforge build '<b>'\n"
    text, page = read(save_run(entries))
    assert {name for name, _ in page.seen} == tags
    assert "<script" not in text
    told = "".join(page.text)
    assert all(label in told for label in HOSTILE)
    assert all(source.startswith("data:image/") for source in page.all("src"))


@pytest.mark.parametrize("png", ["", "javascript:alert(1)", '" onerror="x', "QUJD", "data:text/html,x"])
def test_sample_that_is_no_png_leaves_a_frame(save_run: Save, entries: list[Entry], png: str) -> None:
    entries[0].value["dataset"]["samples"] = [{"label": "0", "png": png}]
    text, page = read(save_run(entries[:1]))
    assert "no picture" in text
    assert page.all("src") == []


def test_sample_of_another_format_leaves_a_frame(save_run: Save, entries: list[Entry]) -> None:
    stream = io.BytesIO()
    Image.new("L", (8, 8)).save(stream, "GIF")
    entries[0].value["dataset"]["samples"] = [{"label": "0", "png": base64.b64encode(stream.getvalue()).decode()}]
    assert read(save_run(entries[:1]))[1].all("src") == []


def test_small_pictures_keep_their_bits(save_run: Save, entries: list[Entry], png: str) -> None:
    entries[0].value["dataset"]["samples"] = [{"label": "7", "png": png}]
    page = read(save_run(entries[:1]))[1]
    assert page.all("src") == [f"data:image/png;base64,{png}"]
    assert ("img", "tiny") in [(name, attrs.get("class")) for name, attrs in page.seen]


def photo(seed: int) -> str:
    """A 96 x 96 colour picture with as much detail as a sharp photo: smooth colours and fine noise."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).resize((96, 96), Image.Resampling.BICUBIC)
    noisy = np.asarray(coarse, np.float64) + rng.normal(0, 12, (96, 96, 3))
    stream = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def test_page_with_48_photos_is_under_600_kb(save_run: Save, entries: list[Entry]) -> None:
    pictures = [photo(seed) for seed in range(48)]
    assert sum(map(len, pictures)) > 1_000_000  # as they come they would not fit
    for row, png in zip([*entries[0].value["dataset"]["samples"], *entries[-2].value["worst"]], pictures):
        row["png"] = png
    text, page = read(save_run(entries))
    assert len(page.all("src")) == 48
    assert len(text.encode()) < 600_000


def test_sixty_trials_take_under_300_ms_of_one_core(save_run: Save, entries: list[Entry]) -> None:
    trials = [entry for entry in entries if entry.type == "trial"]
    more = [Entry(type="trial", value={**trials[i % 20].value, "trial_digest": f"{i:064x}"}) for i in range(60)]
    folder = save_run([entry for entry in entries if entry.type != "trial"] + more)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        write_report(folder)
        seconds.append(time.process_time() - start)
    assert len(read_run(folder).trials) == 60
    assert min(seconds) < 0.3


def test_many_classes_are_summed_up(save_run: Save, entries: list[Entry]) -> None:
    labels = [f"class {index}" for index in range(300)]
    data, evaluation = entries[0].value["dataset"], entries[-2].value
    data["labels"] = evaluation["labels"] = labels
    data["counts"] = {part: list(range(300)) for part in ("train", "val", "test")}
    evaluation["confusion"] = (np.eye(300, dtype=int) + np.eye(300, k=1, dtype=int)).tolist()
    evaluation["per_class"] = {key: [1.0] * 300 for key in ("precision", "recall", "f1")} | {"support": [1] * 300}
    text, page = read(save_run(entries))
    assert "The 24 largest of 300 classes; the smallest has 0." in "".join(page.text)
    assert "Confusion matrix" not in text
    assert len(text.encode()) < 600_000


def test_provenance_names_the_record_by_its_sha256(save_run: Save, entries: list[Entry]) -> None:
    folder = save_run(entries)
    told = "".join(read(folder)[1].text)
    assert sha256_of_file(folder / "record.jsonl") in told
    assert str(folder / "record.jsonl") in told


def test_later_entries_count_after_a_resume(save_run: Save, entries: list[Entry]) -> None:
    start = Entry(type="start", value={**entries[0].value, "seed": 77})
    linear = next(entry.value for entry in entries if entry.value.get("name") == "linear")
    again = Entry(type="baseline", value={**linear, "accuracy": 0.5})
    run = read_run(save_run([*entries, again, entries[8], start]))
    assert [row.accuracy for row in run.baselines if row.name == "linear"] == [0.5]
    assert run.start is not None
    assert run.start.seed == 77
    assert len(run.trials) == sum(entry.type == "trial" for entry in entries)


def test_chosen_is_the_answer_s_network_and_best_is_on_the_top_rung(save_run: Save, entries: list[Entry]) -> None:
    run = read_run(save_run(entries))
    chosen, best = run.chosen(), run.best()
    assert chosen is not None
    assert best is not None
    assert chosen.trial.spec.to_json() == entries[-1].value["spec"]
    top = [trial.accuracy for trial in run.trials if trial.trial.rung == 2]
    assert (best.trial.rung, best.accuracy) == (2, max(top))
    assert read_run(save_run(entries[:-1])).chosen() is None


STEPS = [
    ImageSteps(channels=1, resize=(8, 8), crop=(8, 8), order="L", mean=(77.5,), std=(95.25,)),
    ImageSteps(channels=3, resize=40, crop=(32, 32), order="BGR", mean=(1.0, 2.0, 3.0), filter="bicubic"),
    ImageSteps(channels=3, resize=None, crop=(31, 20), mean=(0.1, 0.2, 0.3), std=(58.4, 57.1, 57.4)),
]


@pytest.mark.parametrize("steps", STEPS)
def test_listing_feeds_what_our_preprocessing_feeds(
    steps: ImageSteps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The listing for ONNX Runtime alone, executed, against fireforge.base.pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (50, 61, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    fed: dict[str, np.ndarray] = {}

    class Session:
        def __init__(self, path: str) -> None:
            assert path == "it's.onnx"

        def run(self, _: None, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
            fed.update(feeds)
            return [np.array([[0.0, 2.0, 1.0]])]

    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(InferenceSession=Session))
    monkeypatch.chdir(tmp_path)
    exec(onnx_listing("it's.onnx", Preprocess(image=steps, input="x"), ["a", "it's <b>", "c"]), {})
    expected = normalize(to_pixels(pixels, steps), steps)[None]
    assert fed["x"].dtype == np.float32
    np.testing.assert_allclose(fed["x"], expected, rtol=1e-6, atol=1e-6)  # the same operations in float32
    assert capsys.readouterr().out == "it's <b>\n"


def test_page_is_written_whole_or_not_at_all(
    save_run: Save, entries: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_run(entries[:1])
    old = write_report(folder).read_bytes()
    save_run(entries)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(FireforgeError, match="CANNOT_WRITE"):
        write_report(folder)
    assert (folder / "report.html").read_bytes() == old
    assert sorted(path.name for path in folder.iterdir()) == ["record.jsonl", "report.html"]
    assert re.search(b"Interrupted", old)
