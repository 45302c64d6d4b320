# SPDX-License-Identifier: Apache-2.0
"""compress: a float file in int8, beside the build's own judgement of it; what it cannot take is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fireforge.base.errors import FireforgeError
from fireforge.base.hedge import Hedge, LabelTree
from fireforge.base.settings import Settings
from fireforge.cli.app import app
from fireforge.export.onnx_file import onnx_bytes
from fireforge.export.retag import retag
from fireforge.importers.onnx_file import import_onnx
from fireforge.jobs.blank import blank_arrays
from fireforge.jobs.compress import compress
from fireforge.jobs.evaluate import evaluate
from fireforge.jobs.export import export
from fireforge.jobs.train import train
from fireforge.nets.families import NETWORKS, build_graph


@pytest.fixture(scope="module")
def floats(tmp_path_factory):
    """A float file of digits, in a folder that is no run's."""
    folder = tmp_path_factory.mktemp("compress")
    train("digits", Settings(net="firenet-small", epochs=2, device="cpu"), out=folder / "run")
    return export(folder / "run", out=folder / "digits.onnx").path


def test_a_file_becomes_integers_and_its_loss_is_paired(floats, tmp_path):
    found = compress(floats, "digits", out=tmp_path / "small.onnx")
    graph = import_onnx(found.exported.path)[0]
    assert {node.op for node in graph.nodes} >= {"QuantizeLinear", "DequantizeLinear"}
    assert found.exported.bytes < 0.5 * found.report.before.bytes
    assert found.parity.passed
    before, after = found.report.before, found.report.after
    assert found.lost.difference == pytest.approx(before.accuracy - after.accuracy)
    assert found.lost.low <= found.lost.difference <= found.lost.high
    assert evaluate(found.exported.path, "digits").accuracy == pytest.approx(after.accuracy, abs=0.1)  # other pictures


def test_what_is_quantized_already_is_refused(floats, tmp_path):
    path = compress(floats, "digits", out=tmp_path / "small.onnx").exported.path
    with pytest.raises(FireforgeError, match=r"BAD_STAGE.*fireforge export RUN"):
        compress(path, "digits", out=tmp_path / "smaller.onnx")
    assert not (tmp_path / "smaller.onnx").exists()


def test_a_path_that_is_not_there_makes_no_folder(floats, tmp_path):
    for path, code in (("rnus/digits", "NO_RUN"), ("rnus/me.onnx", "NO_FILE")):
        with pytest.raises(FireforgeError, match=rf"{code}: .*{path}: there is no such"):
            export(tmp_path / path)
        with pytest.raises(FireforgeError, match=code):
            export(tmp_path / path, form="int8", data="digits")
        with pytest.raises(FireforgeError, match="NO_FILE"):
            compress(tmp_path / path, "digits")
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_over_the_floats_that_it_is_made_of(floats, tmp_path):
    source, link = tmp_path / "me.onnx", tmp_path / "link.onnx"
    source.write_bytes(Path(floats).read_bytes())
    link.symlink_to(source)
    for out in (source, link, tmp_path / "." / "me.onnx"):
        with pytest.raises(FireforgeError, match=r"BAD_USAGE: .*\.onnx: it would be written over itself"):
            compress(source, "digits", out=out)
        with pytest.raises(FireforgeError, match="BAD_USAGE"):
            export(source, out=out)
        with pytest.raises(FireforgeError, match="BAD_USAGE"):
            export(source, form="int8", data="digits", out=out)
    assert source.read_bytes() == Path(floats).read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_without_a_card_is_refused(tmp_path):
    graph = build_graph(NETWORKS["resnet-20"]())
    path = tmp_path / "net.onnx"
    path.write_bytes(onnx_bytes(graph, blank_arrays(graph)))
    with pytest.raises(FireforgeError, match=r"NO_CARD.*fireforge import"):
        compress(path, "digits")


def test_data_of_other_classes_is_refused(floats, tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
    np.savez(tmp_path / "pets.npz", x=pictures, y=np.arange(40) % 2, classes=np.array(["cat", "dog"]))
    with pytest.raises(FireforgeError, match=r"BAD_LABELS.*cat"):
        compress(floats, str(tmp_path / "pets.npz"))


def test_the_verb_says_what_it_cost_and_that_groups_are_left_out(floats, tmp_path):
    tag = import_onnx(floats)[2]
    tree = LabelTree(parents={"all": ""}, members={"all": ((0, 9),)})
    post = tag.card.postprocess.replace(hedge=Hedge(tree=tree, bonus=3.0))
    hedged = tmp_path / "hedged.onnx"
    hedged.write_bytes(retag(Path(floats).read_bytes(), tag.replace(card=tag.card.replace(postprocess=post))))
    words = ["compress", str(hedged), "digits", "--out", str(tmp_path / "small.onnx")]
    told = CliRunner().invoke(app, words, catch_exceptions=False).stdout
    assert "the card's tree of answers: left out" in told
    assert import_onnx(tmp_path / "small.onnx")[2].card.postprocess == tag.card.postprocess
    assert "of the float file" in told
    assert "95 % interval" in told
    data = json.loads(CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False).stdout)
    assert data["exported"]["form"] == "int8"
