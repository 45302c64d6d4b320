# SPDX-License-Identifier: Apache-2.0
"""The families as graphs: published sizes, parameters that are refused, images of every size."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from network_sizes import shape_of

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph
from fireforge.base.infer import infer
from fireforge.base.spec import NetSpec
from fireforge.base.validate import validate
from fireforge.cost.count import count
from fireforge.nets.families import FAMILIES, NETWORKS, build_graph, fillers_of
from fireforge.nets.firenet import DEFAULTS, fire_sizes, pools_for, small_firenet, squeezenet_1_0
from fireforge.nets.mobilenet import rounded
from fireforge.nets.module import GraphModule, initialise


def params(**changed) -> int:
    return count(build_graph(squeezenet_1_0(params=changed))).params


@pytest.mark.parametrize(
    ("sr", "wanted"), [(0.125, 1_248_424), (0.25, 1_967_080), (0.5, 3_404_392), (0.75, 4_841_704), (1.0, 6_279_016)]
)
def test_squeeze_ratio_sweep_as_published(sr, wanted):
    """Iandola et al. 2016, figure 3: 4.8 MB to 24 MB; exact counts from the formulas of section 5.1."""
    assert params(sr=sr) == wanted


@pytest.mark.parametrize(
    ("share", "wanted", "mib"),
    [
        *((0.01, 1_478_248, 5.64), (0.125, None, 7.36), (0.25, None, 9.24), (0.375, None, 11.11)),
        *((0.5, 3_404_392, 12.99), (0.75, None, 16.74), (0.875, None, 18.61), (0.99, 5_330_536, 20.33)),
    ],
)
def test_share_of_3x3_filters_sweep_as_published(share, wanted, mib):
    got = params(sr=0.5, pct3x3=share)
    assert wanted in (None, got)
    assert round(got * 4 / 2**20, 2) == mib


def test_fire_sizes_of_squeezenet_as_in_the_papers_table():
    rows = [fire_sizes(i, DEFAULTS) for i in range(8)]
    assert rows == [(16, 64, 64)] * 2 + [(32, 128, 128)] * 2 + [(48, 192, 192)] * 2 + [(64, 256, 256)] * 2


def test_fire_sizes_keep_one_filter_of_each_kind():
    tiny = {"base_e": 2, "incr_e": 0, "freq": 1, "pct3x3": 0.0, "sr": 0.01}
    assert fire_sizes(0, tiny) == (1, 1, 1)
    assert fire_sizes(0, {**tiny, "pct3x3": 1.0}) == (1, 1, 1)


def test_simple_bypass_stands_around_fires_3_5_7_9_and_adds_no_parameter():
    """Iandola et al. 2016, figure 2 and section 6."""
    graph = build_graph(squeezenet_1_0(params={"bypass": "simple"}))
    assert [node.name for node in graph.nodes if node.op == "Add"] == [f"fire{i}.bypass" for i in (3, 5, 7, 9)]
    assert count(graph).params == 1_248_424
    inputs = {node.name: node.inputs for node in graph.nodes}
    assert inputs["fire5.bypass"] == ("pool4", "fire5.concat")
    assert inputs["fire4.squeeze"][0] == "fire3.bypass"


def test_complex_bypass_lays_a_convolution_around_fires_2_4_6_8():
    """Iandola et al. 2016, figure 2: as many filters as the fire puts out, 341,248 numbers in all."""
    graph = build_graph(NETWORKS["squeezenet-1.0-complex-bypass"]())
    sums = {node.name: node.inputs for node in graph.nodes if node.op == "Add"}
    assert list(sums) == [f"fire{i}.bypass" for i in range(2, 10)]
    assert sums["fire4.bypass"] == ("fire4.bypass1x1", "fire4.concat")
    assert sums["fire5.bypass"] == ("pool4", "fire5.concat")
    shapes = {weight.name: weight.shape for weight in graph.weights}
    widths = [shapes[f"fire{i}.bypass1x1.weight"] for i in (2, 4, 6, 8)]
    assert widths == [(128, 96, 1, 1), (256, 128, 1, 1), (384, 256, 1, 1), (512, 384, 1, 1)]
    assert count(graph).params == 1_248_424 + 341_248 == 1_589_672


def test_mobilenet_v2_has_ten_sums():
    """Sandler et al. 2018, table 2: every repeat behind the first of a row keeps shape, 1 + 2 + 3 + 2 + 2 of them."""
    nodes = build_graph(NETWORKS["mobilenet-v2"]()).nodes
    assert [node.name for node in nodes if node.op == "Add"][:2] == ["block3.sum", "block5.sum"]
    assert sum(node.op == "Add" for node in nodes) == 10


def test_first_weights_of_squeezenet_as_in_the_authors_file():
    """Caffe's xavier, uniform within sqrt(3 / fan-in), and N(0, 0.01) in the last convolution; biases 0.

    5 %: the standard deviation of 512,000 normal numbers is known far better.
    """
    spec = squeezenet_1_0()
    module = GraphModule(build_graph(spec))
    initialise(module, 0, fillers=fillers_of(spec))
    for name, fan_in in {"conv1": 147, "fire2.squeeze": 96, "fire9.expand3x3": 576}.items():
        weight, bound = module.get_submodule(name).weight, (3 / fan_in) ** 0.5
        assert 0.98 * bound < weight.abs().max().item() <= bound
    assert module.conv10.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not module.conv10.bias.any()
    assert fillers_of(small_firenet()) == ()


def test_expand_1x1_comes_first_and_no_relu_before_the_sum():
    graph = build_graph(squeezenet_1_0())
    concat = next(node for node in graph.nodes if node.name == "fire2.concat")
    assert concat.inputs == ("fire2.expand1x1_relu", "fire2.expand3x3_relu")


def test_norm_takes_the_biases_and_has_two_numbers_a_filter_instead():
    plain, normed = squeezenet_1_0(), squeezenet_1_0(params={"norm": True})
    difference = count(build_graph(normed)).params - count(build_graph(plain)).params
    filters = 96 + sum(sum(fire_sizes(i, DEFAULTS)) for i in range(8))
    assert difference == filters  # 2 a filter for the norm, less 1 for the bias


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_graphs_are_valid_and_survive_json(name):
    shape = shape_of(name, (3, 65, 70))
    graph = build_graph(NETWORKS[name](7, input_shape=shape))
    validate(graph)
    assert Graph.from_json(graph.to_json()) == graph
    types = infer(graph)
    assert [tensor.shape for tensor in graph.inputs] == [("N", *shape)]
    assert graph.inputs[0].name == "input"
    assert graph.outputs[0] == "logits"
    assert all(types[output].shape == ("N", 7) for output in graph.outputs)


@pytest.mark.parametrize("name", ["firenet-small", "resnet-small", "mobilenet-small"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28), (3, 1, 1), (2, 5, 9), (3, 96, 64)])
def test_small_presets_take_images_of_every_size(name, shape):
    graph = build_graph(NETWORKS[name](3, input_shape=shape))
    validate(graph)
    assert infer(graph)["logits"].shape == ("N", 3)


@given(
    side=st.integers(1, 64),
    fires=st.integers(1, 9),
    base=st.integers(2, 40),
    incr=st.integers(0, 20),
    freq=st.integers(1, 4),
    share=st.floats(0, 1),
    sr=st.floats(0.01, 2),
    bypass=st.sampled_from(["none", "simple", "complex"]),
)
@settings(max_examples=40, deadline=None)
def test_every_small_firenet_is_a_valid_graph(side, fires, base, incr, freq, share, sr, bypass):
    own = {"fires": fires, "base_e": base, "incr_e": incr, "freq": freq, "pct3x3": share, "sr": sr, "bypass": bypass}
    graph = build_graph(small_firenet(4, input_shape=(1, side, side), params=own))
    validate(graph)
    sizes = [tensor.shape[2] for tensor in infer(graph).values() if len(tensor.shape) == 4 and tensor.shape[0] == "N"]
    assert min(sizes[:-1] or sizes) >= 1


@pytest.mark.parametrize("size", range(1, 70))
@pytest.mark.parametrize("fires", [1, 2, 4, 8])
def test_pools_keep_at_least_four_pixels(size, fires):
    pools = [int(part) for part in pools_for(size, fires=fires).split(",") if part]
    assert pools == sorted(set(pools))
    assert all(1 <= pool <= fires for pool in pools)
    assert size // 2 ** len(pools) >= min(size, 4)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_unknown_parameter_lists_the_known_ones(family):
    with pytest.raises(FireforgeError, match="no parameter called 'widht'") as caught:
        build_graph(NetSpec(family=family, params={"widht": 3}, classes=2, input_shape=(3, 32, 32)))
    assert caught.value.code == "UNKNOWN_NAME"
    assert ("output" if family == "lenet-5" else "dropout") in caught.value.allowed


def test_unknown_family_lists_the_known_ones():
    with pytest.raises(FireforgeError, match=", ".join(sorted(FAMILIES))):
        build_graph(NetSpec(family="firenett", classes=2, input_shape=(3, 32, 32)))


@pytest.mark.parametrize(
    ("family", "own"),
    [
        ("firenet", {"stem": 0}),
        ("firenet", {"stem": 1.5}),
        ("firenet", {"norm": 1}),
        ("firenet", {"base_e": True}),
        ("firenet", {"pools": "4,1"}),
        ("firenet", {"pools": "1,44"}),
        ("firenet", {"pools": "a"}),
        ("firenet", {"pct3x3": 1.1}),
        ("firenet", {"pct3x3": float("nan")}),
        ("firenet", {"sr": float("inf")}),
        ("firenet", {"dropout": 1.0}),
        ("firenet", {"bypass": "both"}),
        ("firenet", {"freq": 0}),
        ("resnet", {"widths": "8,0"}),
        ("resnet", {"blocks": 0}),
        ("mobilenet", {"blocks": "1,2,3"}),
        ("mobilenet", {"width": -1.0}),
    ],
)
def test_impossible_parameters_are_refused(family, own):
    with pytest.raises(FireforgeError) as caught:
        build_graph(NetSpec(family=family, params=own, classes=2, input_shape=(3, 64, 64)))
    assert caught.value.code == "BAD_SPEC"
    assert family in caught.value.where


def test_map_that_vanishes_is_refused_by_layer():
    with pytest.raises(FireforgeError, match="firenet at pool8") as caught:
        build_graph(squeezenet_1_0(input_shape=(3, 24, 24), params={"pool_ceil": False}))
    assert caught.value.code == "BAD_SPEC"


@pytest.mark.parametrize(("classes", "shape"), [(0, (3, 8, 8)), (2, (3, 0, 8)), (2, (0, 8, 8))])
def test_no_classes_or_no_pixels_are_refused(classes, shape):
    with pytest.raises(FireforgeError, match="BAD_SPEC"):
        build_graph(NetSpec(family="resnet", classes=classes, input_shape=shape))


def test_whole_float_counts_as_whole_number():
    assert build_graph(squeezenet_1_0(params={"stem": 96.0})) == build_graph(squeezenet_1_0())


@pytest.mark.parametrize(("width", "wanted"), [(0.35, 16), (0.5, 16), (0.75, 24), (1.0, 32), (1.4, 48)])
def test_mobilenet_stem_widths_as_in_the_authors_code(width, wanted):
    """32 filters times the multiplier: 11.2, 16, 24, 32 and 44.8 become multiples of 8."""
    assert rounded(32 * width, 8) == wanted
