# SPDX-License-Identifier: Apache-2.0
"""MobileNet V1 and V3 against the papers' tables."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph
from fireforge.base.infer import infer
from fireforge.base.spec import NetSpec
from fireforge.cost.count import count
from fireforge.nets.families import NETWORKS, build_graph, fillers_of
from fireforge.nets.module import GraphModule, initialise


def graph_of(name: str, **params: float | str) -> Graph:
    return build_graph(NETWORKS[name](params=params))


@pytest.mark.parametrize(
    ("width", "params", "millions"),
    [(1.0, 4_231_976, 569), (0.75, 2_585_560, 325), (0.5, 1_331_592, 149), (0.25, 470_072, 41)],
)
def test_v1_by_its_width_as_published(width, params, millions):
    """Howard et al. 2017, table 6: 4.2, 2.6, 1.3 and 0.5 million parameters; exact as pytorchcv prints them."""
    cost = count(graph_of("mobilenet-v1", width=width))
    assert cost.params == params
    assert round(cost.macs / 1e6) == millions


@pytest.mark.parametrize(("side", "millions"), [(224, 569), (192, 418), (128, 186)])
def test_v1_by_its_resolution_as_published(side, millions):
    """Howard et al. 2017, table 7."""
    cost = count(build_graph(NETWORKS["mobilenet-v1"](input_shape=(3, side, side))))
    assert round(cost.macs / 1e6) == millions


def test_v1_rows_as_in_the_papers_table():
    """Howard et al. 2017, table 1: channels and sides that leave each pointwise convolution."""
    types = infer(graph_of("mobilenet-v1"))
    got = [types[f"block{i}.pointwise"].shape[1:3] for i in range(1, 14)]
    wanted = [(64, 112), (128, 56), (128, 56), (256, 28), (256, 28), *[(512, 14)] * 6, (1024, 7), (1024, 7)]
    assert got == wanted
    assert "block14.pointwise" not in types


@pytest.mark.parametrize(
    ("name", "params", "millions"), [("mobilenet-v3-large", 5_483_032, 217), ("mobilenet-v3-small", 2_542_856, 57)]
)
def test_v3_as_published(name, params, millions):
    """Exact as torchvision prints them; MACs of the large one as the authors' readme has them, 217 million.

    The paper prints 219 and 56 million; the small one here takes 56.5.
    """
    cost = count(graph_of(name))
    assert cost.params == params
    assert round(cost.macs / 1e6) == millions


def test_v3_rows_as_in_the_papers_tables():
    """Howard et al. 2019, tables 1 and 2: filters and sides of some blocks, and which have squeeze-excite."""
    large, small = infer(graph_of("mobilenet-v3-large")), infer(graph_of("mobilenet-v3-small"))
    assert [large[f"block{i}.project"].shape[1:3] for i in (1, 3, 6, 10, 12, 15)] == [
        *((16, 112), (24, 56), (40, 28), (80, 14), (112, 14), (160, 7))
    ]
    assert [i for i in range(1, 16) if f"block{i}.squeeze.scale" in large] == [4, 5, 6, 11, 12, 13, 14, 15]
    assert [i for i in range(1, 12) if f"block{i}.squeeze.scale" in small] == [1, 4, 5, 6, 7, 8, 9, 10, 11]
    assert large["head"].shape == ("N", 960, 7, 7)
    assert small["head"].shape == ("N", 576, 7, 7)
    assert (large["hidden"].shape, small["hidden"].shape) == (("N", 1280), ("N", 1024))
    swish = [node.name for node in graph_of("mobilenet-v3-large").nodes if node.op == "HardSwish"]
    assert swish[:2] == ["stem_norm_hardswish", "block7.expand_norm_hardswish"]
    assert [node.name for node in graph_of("mobilenet-v3-small").nodes if node.op == "Add"] == [
        f"block{i}.sum" for i in (3, 5, 6, 8, 10, 11)
    ]


def test_squeeze_excite_multiplies_each_map_by_its_own_number():
    """Reference: the formula of Hu et al. 2018, section 3, in numpy; 1e-5, for torch sums in another order."""
    module = GraphModule(build_graph(NETWORKS["mobilenet-v3-tiny"]()))
    initialise(module, 0)
    names = ["block1.depthwise_norm_relu", "block1.squeeze.scale"]
    with torch.no_grad():
        taps = module.eval().taps(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)), names)
    x, got = (taps[name].double().numpy() for name in names)
    weights = {key: value.double().numpy() for key, value in module.state_dict().items() if "block1.squeeze" in key}
    down, up = (weights[f"block1.squeeze.{part}.weight"][:, :, 0, 0] for part in ("reduce", "expand"))
    scale = np.maximum(x.mean(axis=(2, 3)) @ down.T, 0) @ up.T
    scale = np.clip(scale + 3, 0, 6) / 6
    assert np.ptp(scale) > 0
    np.testing.assert_allclose(got, x * scale[:, :, None, None], rtol=1e-5, atol=1e-6)


def test_v3s_first_weights_follow_the_fan_out():
    """5 %: the standard deviation of n normal numbers is known to 1 / sqrt(2 n), n from 1,200."""
    spec = NETWORKS["mobilenet-v3-large"]()
    module = GraphModule(build_graph(spec))
    initialise(module, 0, fillers=fillers_of(spec))
    assert module.get_submodule("block15.project").weight.std().item() == pytest.approx((2 / 160) ** 0.5, rel=0.05)
    assert module.get_submodule("block15.depthwise").weight.std().item() == pytest.approx((2 / 25) ** 0.5, rel=0.05)
    assert module.hidden.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not module.classifier.bias.any()
    assert torch.equal(module.head_norm.weight, torch.ones(960))


@pytest.mark.parametrize("name", ["mobilenet-v1-small", "mobilenet-v3-tiny"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 1, 1), (2, 5, 9)])
def test_small_ones_take_every_picture(name, shape):
    graph = build_graph(NETWORKS[name](3, input_shape=shape))
    assert infer(graph)["logits"].shape == ("N", 3)
    assert count(graph).params < 1_500_000


@pytest.mark.parametrize(
    ("family", "own"),
    [
        ("mobilenet-v1", {"blocks": "64,1"}),
        ("mobilenet-v1", {"width": 0.0}),
        ("mobilenet-v1", {"stem": 0}),
        ("mobilenet-v3", {"blocks": "4,16,16,0,0,1"}),
        ("mobilenet-v3", {"blocks": "3,16,16,2,0,1"}),
        ("mobilenet-v3", {"blocks": "3,16,16,0,0"}),
        ("mobilenet-v3", {"head": 0}),
        ("mobilenet-v3", {"dropout": 1.0}),
    ],
)
def test_what_makes_no_mobilenet_is_refused(family, own):
    with pytest.raises(FireforgeError) as caught:
        build_graph(NetSpec(family=family, params=own, classes=2, input_shape=(3, 32, 32)))
    assert caught.value.code == "BAD_SPEC"
    assert caught.value.where == f"{family}.{next(iter(own))}"
