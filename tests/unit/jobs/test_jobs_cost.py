# SPDX-License-Identifier: Apache-2.0
"""The verb cost: which graph is meant, what is told of it, and its lines."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from fireforge.base.errors import FireforgeError
from fireforge.base.files import write_json
from fireforge.base.published import Published
from fireforge.cli.app import app
from fireforge.cost.count import count
from fireforge.export.onnx_file import onnx_bytes
from fireforge.jobs.blank import blank_arrays
from fireforge.jobs.cost import Asked, cost_all, graph_of, image_of
from fireforge.nets.families import NETWORKS, build_graph
from fireforge.nets.published import PUBLISHED


def said(*words: str) -> str:
    """What the command prints."""
    done = CliRunner().invoke(app, ["cost", *words], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


@pytest.fixture
def file(tmp_path):
    """ResNet-20 as an ONNX file."""
    graph = build_graph(NETWORKS["resnet-20"]())
    path = tmp_path / "net.onnx"
    path.write_bytes(onnx_bytes(graph, blank_arrays(graph)))
    return path


def test_list_as_json_has_every_network_with_its_cost_and_what_was_printed():
    found = json.loads(said("--list", "--json"))
    assert list(found) == list(NETWORKS)
    assert found["squeezenet-1.0"]["params"] == 1_248_424
    for name, row in found.items():
        assert set(row) >= {"params", "macs", "activations", "peak_activation_bytes", "weight_bytes", "wire_bytes"}
        assert (row["name"], row["size"]) == (name, row["weight_bytes"])
        printed = row["published"]
        assert (printed is None) == (name not in PUBLISHED)
        assert printed is None or Published.from_json(printed) == PUBLISHED[name]


def test_list_as_text_stands_beside_what_was_printed():
    lines = said("--list").splitlines()
    (row,) = [line for line in lines if line.startswith("squeezenet-1.0 ")]
    assert row.split()[1:4] == ["1,248,424", "861,339,936", "4.99"]
    assert row.split()[-5:] == ["1,248,424", "0.86", "4.8MB", "57.5", "%"]


def test_one_network_is_told_in_full():
    told = said("squeezenet-1.1", "--batch", "16")
    assert "batch 16, float32" in told
    assert f"{16 * 387_747_520:,} MACs" in told
    assert "published   1,235,496 params, 0.36 GMACs, top-1 57.5 %, top-5 80.3 %" in told
    for word in (
        "fixed16",
        "int8",
        "DRAM",
        "predicting, peak",
        "training, peak",
        "adamw",
        "|W|",
        "MACs a byte",
        "field",
    ):
        assert word in told


def test_json_of_one_network_has_the_sum():
    (row,) = json.loads(
        said("resnet-20", "--json", "--batch", "4", "--workers", "8", "--change", "classes=100")
    ).values()
    assert row["summary"]["batch"] == 4
    assert row["summary"]["training"]["peak"] > row["summary"]["training"]["saved"] > 0
    assert [way["name"] for way in row["ways"]] == ["data", "model", "pipeline", "sub-image"]
    assert [change["kind"] for change in row["changes"]] == ["", "local"]


def test_changes_and_ways_are_tables():
    told = said("nin", "--change", "conv1.filters=384", "--change", "conv1.stride=2", "--workers", "32")
    (local,) = [line for line in told.splitlines() if line.startswith("conv1.filters=384")]
    assert local.split() == [
        "conv1.filters=384",
        "local",
        "7,727,656",
        "1.017",
        "9,016,192",
        "1.594",
        "1,485,660,672",
        "1.350",
    ]
    assert "global" in told
    assert "4 times the multiply-adds, no gain" in told


def test_layers_as_text_and_json():
    (rows,) = json.loads(said("resnet-20", "--layers", "--json", "--batch", "2")).values()
    assert sum(row["macs"] for row in rows) == 2 * count(build_graph(NETWORKS["resnet-20"]())).macs
    assert rows[0]["field"]["height"] == {"size": 3, "jump": 1, "start": -1}
    head = said("resnet-20", "--layers").splitlines()[0]
    assert head.split() == [
        "layer",
        "operator",
        "output",
        "params",
        "MACs",
        "read",
        "written",
        "MACs/byte",
        "field",
        "jump",
    ]


def test_layers_of_two_networks_are_one_document():
    found = json.loads(said("lenet-5", "caffe-lenet", "--layers", "--json"))
    assert {net: sum(row["params"] for row in rows) for net, rows in found.items()} == {
        "lenet-5": 60_000,
        "caffe-lenet": 431_080,
    }
    assert said("lenet-5", "caffe-lenet", "--layers").splitlines()[0] == "lenet-5"


def test_what_was_printed_stands_beside_the_network_that_was_printed_alone():
    (row,) = json.loads(said("vgg-d", "--json")).values()
    assert row["published"]["params"] == 138_357_544
    for other in (("--classes", "10"), ("--image-size", "64")):
        (row,) = json.loads(said("vgg-d", "--json", *other)).values()
        assert row["published"] is None
    (row,) = json.loads(said("vgg-d", "--json", "--classes", "1000", "--image-size", "224")).values()
    assert row["published"] is not None


def test_a_network_of_a_list_that_cannot_be_is_named_and_the_others_are_told():
    found = json.loads(said("--list", "--json", "--image-size", "32"))
    assert list(found) == list(NETWORKS)
    missing = {name for name, row in found.items() if row["why"]}
    assert "alexnet" in missing
    assert "resnet-20" not in missing
    assert all(("params" in row) == (name not in missing) for name, row in found.items())
    lines = said("--list", "--image-size", "32").splitlines()
    assert sum(line.startswith("not counted: ") for line in lines) == len(missing)


@pytest.mark.parametrize(
    ("words", "unused"),
    [
        (("--list", "--change", "conv1.filters=3"), "--change"),
        (("--layers",), "--layers"),
        (("resnet-20", "--layers", "--workers", "4"), "--workers"),
        (("resnet-20", "--minutes", "2"), "--minutes"),
        (("resnet-20", "--compare", "--batch", "2"), "--batch"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(words, unused):
    with pytest.raises(FireforgeError, match=f"BAD_USAGE.*{unused}"):
        CliRunner().invoke(app, ["cost", *words], catch_exceptions=False)


@pytest.mark.parametrize(
    "text", ["", "3x32", "3x0x32", "3x٣x32", "3x²x32", "3x99999x32", "3x32x32x3", "3x-1x32", "x" * 99]
)
def test_texts_that_are_no_picture(text):
    with pytest.raises(FireforgeError, match="BAD_UNIT: --image"):
        image_of(text)


def test_what_has_no_products_has_no_intensity():
    rows = json.loads(said("lenet-5", "--layers", "--json"))["lenet-5"]
    assert all((row["intensity"] is None) == (row["macs"] == 0) for row in rows)
    assert any(row["macs"] == 0 for row in rows)


@pytest.mark.parametrize(("image", "shape"), [(64, (3, 64, 64)), ((3, 48, 40), (3, 48, 40))])
def test_size_of_the_picture_holds_for_names_files_and_specs(image, shape, file, tmp_path):
    spec = write_json(tmp_path / "spec.json", NETWORKS["resnet-20"]().to_json())
    wanted = count(build_graph(NETWORKS["resnet-20"](7, input_shape=shape)))
    for net in ("resnet-20", str(file), str(spec or tmp_path / "spec.json")):
        assert count(graph_of(net, classes=7, image=image)) == wanted


def test_a_file_keeps_its_channels(file):
    with pytest.raises(FireforgeError, match="BAD_CHANGE: input: 1 channels; allowed: 3"):
        graph_of(str(file), image=(1, 32, 32))


def test_named_networks_come_first_and_once():
    rows = cost_all(["resnet-20"], list_all=True, asked=Asked())
    assert [row.name for row in rows] == ["resnet-20", *(name for name in NETWORKS if name != "resnet-20")]
    assert [row.summary is None for row in rows] == [False] + [True] * (len(rows) - 1)


def test_two_ways_to_say_one_thing_are_refused():
    assert (image_of(None), image_of(None, 32), image_of("1x2x3")) == (None, 32, (1, 2, 3))
    with pytest.raises(FireforgeError, match="BAD_USAGE"):
        image_of("3x32x32", 32)
    with pytest.raises(FireforgeError, match="BAD_UNIT"):
        image_of("3x32")
