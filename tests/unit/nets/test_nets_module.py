# SPDX-License-Identifier: Apache-2.0
"""GraphModule against the numpy reference, and that it trains, compiles, casts and reproduces."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from network_sizes import marked, shape_of
from torch import nn

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.reference import run_reference
from fireforge.nets.families import NETWORKS, build_graph
from fireforge.nets.fillers import Filler
from fireforge.nets.module import GraphModule, arrays_of, initialise, load_arrays

torch.set_num_threads(1)
SMALL = ("firenet-small", "resnet-small", "mobilenet-small")


def small(name: str, *, seed: int = 0, shape=(2, 9, 8), classes: int = 5) -> GraphModule:
    module = GraphModule(build_graph(NETWORKS[name](classes, input_shape=shape)))
    initialise(module, seed)
    return module


def randomise_statistics(module: GraphModule) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = arrays_of(module)
    for name, array in arrays.items():
        if name.endswith("running_var"):
            arrays[name] = rng.uniform(0.5, 2, array.shape).astype(np.float32)
        elif array.ndim == 1 and array.dtype == np.float32:
            arrays[name] = (array + 0.3 * rng.normal(size=array.shape)).astype(np.float32)
    load_arrays(module, arrays)
    return arrays


@pytest.mark.parametrize("name", marked(NETWORKS))
@pytest.mark.parametrize("shape", [(3, 67, 63), (1, 35, 50)])
def test_eval_equals_the_numpy_reference(name, shape):
    """1e-5 of the greatest output: float32 sums of up to some thousand products, in another order."""
    shape = shape_of(name, shape)
    module = GraphModule(build_graph(NETWORKS[name](11, input_shape=shape)))
    initialise(module, 0)
    arrays = randomise_statistics(module)
    x = np.random.default_rng(1).normal(size=(2, *shape)).astype(np.float32)
    with torch.no_grad():
        got = module.eval()(torch.from_numpy(x))
    outputs = run_reference(module.graph, arrays, {"input": x}).values()
    for part, wanted in zip((got,) if isinstance(got, torch.Tensor) else got, outputs, strict=True):
        assert np.ptp(wanted) > 1e-3
        assert np.abs(part.numpy() - wanted).max() <= 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_state_dict_is_the_graphs_weights(name):
    graph = build_graph(NETWORKS[name]())
    with torch.device("meta"):
        state = GraphModule(graph).state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == {w.name: w.shape for w in graph.weights}


def test_layers_are_torchs_own_at_their_paths():
    module = small("firenet-small")
    assert type(module.get_submodule("fire2.expand3x3")) is nn.Conv2d
    assert isinstance(module.get_submodule("conv1_norm"), nn.BatchNorm2d)
    assert module.conv1_norm.momentum == pytest.approx(0.1)
    drop = GraphModule(build_graph(NETWORKS["squeezenet-1.1"](3)))
    assert isinstance(drop.get_submodule("dropout"), nn.Dropout)


@pytest.mark.parametrize("name", SMALL)
def test_gradients_are_finite_and_one_step_lowers_the_loss(name):
    module = small(name).train()
    x = torch.randn(8, 2, 9, 8, generator=torch.Generator().manual_seed(1))
    truth = torch.arange(8) % 5
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
    before = F.cross_entropy(module(x), truth)
    before.backward()
    grads = [p.grad for p in module.parameters()]
    assert all(grad is not None and bool(grad.isfinite().all()) for grad in grads)
    assert all(bool((grad != 0).any()) for grad in grads if grad.ndim > 1)
    optimizer.step()
    assert F.cross_entropy(module(x), truth) < before


def test_batch_norm_moves_its_statistics_as_torchs_own():
    """The reference is nn.BatchNorm2d at its default momentum of 0.1."""
    module, plain = small("resnet-small").train(), nn.BatchNorm2d(16)
    x = torch.randn(4, 2, 9, 8, generator=torch.Generator().manual_seed(0))
    plain(module.taps(x, ["stem"])["stem"].detach())
    torch.testing.assert_close(module.stem_norm.running_mean, plain.running_mean)
    torch.testing.assert_close(module.stem_norm.running_var, plain.running_var)


def test_equal_seeds_give_equal_numbers_and_torchs_generator_is_left_alone():
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    first, module = arrays_of(small("firenet-small", seed=3)), GraphModule(build_graph(NETWORKS["firenet-small"]()))
    torch.manual_seed(5)
    initialise(module, 3)
    assert torch.equal(torch.rand(3), wanted)
    again, other = arrays_of(small("firenet-small", seed=3)), arrays_of(small("firenet-small", seed=4))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["conv1.weight"], other["conv1.weight"])


def test_spreads_of_fresh_weights_by_hand():
    """He: sqrt(2 / fan-in) behind which a Relu stands; Xavier: sqrt(2 / (fan-in + fan-out)) for the last product.

    Tolerance 5 %: the standard deviation of n normal numbers is known to 1 / sqrt(2 n), n from 9,216.
    """
    module = GraphModule(build_graph(NETWORKS["squeezenet-1.0"]()))
    initialise(module, 0)
    assert module.get_submodule("fire2.expand3x3").weight.std().item() == pytest.approx((2 / (16 * 9)) ** 0.5, rel=0.05)
    assert module.conv10.weight.std().item() == pytest.approx((2 / (512 + 1000)) ** 0.5, rel=0.05)
    assert not module.conv10.bias.any()
    depthwise = GraphModule(build_graph(NETWORKS["mobilenet-v2"]()))
    initialise(depthwise, 0)
    weight = depthwise.get_submodule("block17.depthwise").weight
    assert weight.std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.05)
    assert torch.equal(depthwise.stem_norm.running_var, torch.ones(32))


def test_initialise_makes_a_used_network_new():
    module = small("resnet-small")
    fresh = arrays_of(module)
    randomise_statistics(module)
    initialise(module, 0)
    assert all(np.array_equal(array, fresh[name]) for name, array in arrays_of(module).items())


@pytest.mark.parametrize("name", SMALL)
def test_compiled_whole_equals_eager(name):
    """backend="eager" runs torch's own kernels, so the numbers are the same to the bit."""
    module, x = small(name).eval(), torch.randn(3, 2, 9, 8)
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    assert torch.equal(compiled(x), module(x))
    module.train()
    compiled(x).sum().backward()
    assert all(p.grad is not None for p in module.parameters())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's compiler warns of its own parts
def test_inductor_equals_eager():
    """1e-5: fused kernels round in another order."""
    module, x = small("firenet-small").eval(), torch.randn(3, 2, 9, 8)
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(module)(x), module(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_autocast_runs_in_bfloat16(name):
    """0.1 of the spread: bfloat16 has 8 bits of mantissa, and some ten layers stand one behind the other."""
    module, x = small(name).eval(), torch.randn(3, 2, 9, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = module(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            got = module(x)
    assert got.dtype == torch.bfloat16
    assert (got.float() - wanted).abs().max() < 0.1 * wanted.std()


@pytest.mark.parametrize("name", SMALL)
def test_channels_last_gives_the_same(name):
    """1e-5: another kernel, another order of summing."""
    module, x = small(name).eval(), torch.randn(3, 2, 9, 8)
    with torch.no_grad():
        wanted = module(x)
        turned = copy.deepcopy(module).to(memory_format=torch.channels_last)
        got = turned(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
    fresh = copy.deepcopy(turned)
    initialise(fresh, 0)
    assert all(np.array_equal(arrays_of(fresh)[name], array) for name, array in arrays_of(turned).items())


def test_taps_are_the_references_tensors():
    module = small("firenet-small").eval()
    arrays = randomise_statistics(module)
    x = np.random.default_rng(0).normal(size=(2, 2, 9, 8)).astype(np.float32)
    names = ["fire3.concat", "conv1_norm", "input", "logits"]
    with torch.no_grad():
        got = module.taps(torch.from_numpy(x), names)
    wanted = run_reference(module.graph, arrays, {"input": x}, wanted=names)
    assert list(got) == names
    for name in names:
        np.testing.assert_allclose(got[name].numpy(), wanted[name], rtol=1e-4, atol=1e-5)
    with pytest.raises(FireforgeError, match="fire99"):
        module.taps(torch.from_numpy(x), ["fire99"])


def test_arrays_go_in_and_out_unchanged():
    module, other = small("resnet-small"), small("resnet-small", seed=9)
    arrays = arrays_of(module)
    assert list(arrays) == [weight.name for weight in module.graph.weights]
    assert all(array.dtype == np.float32 for array in arrays.values())
    load_arrays(other, arrays)
    assert all(np.array_equal(array, arrays_of(other)[name]) for name, array in arrays.items())
    arrays["stem.weight"][:] = 0
    assert arrays_of(module)["stem.weight"].any()  # a copy


def test_plain_state_dict_without_versions_loads():
    """As from a safetensors file: torch adds num_batches_tracked to such a dict of its own batch norms."""
    module, other = small("resnet-small"), small("resnet-small", seed=9)
    other.load_state_dict(dict(module.state_dict().items()))
    assert torch.equal(other.stem.weight, module.stem.weight)


@pytest.mark.parametrize("fault", ["absent", "unknown", "shape"])
def test_arrays_that_do_not_fit_are_refused_and_change_nothing(fault):
    module = small("resnet-small")
    before = arrays_of(module)
    arrays = {name: array + 1 for name, array in before.items()}
    if fault == "absent":
        del arrays["classifier.bias"]
    elif fault == "unknown":
        arrays["extra"] = np.zeros(1, np.float32)
    else:
        arrays["classifier.bias"] = np.zeros(9, np.float32)
    with pytest.raises(FireforgeError) as caught:
        load_arrays(module, arrays)
    assert caught.value.code == "BAD_WEIGHTS"
    assert caught.value.where in ("classifier.bias", "extra")
    assert all(np.array_equal(array, before[name]) for name, array in arrays_of(module).items())


def graph_of(nodes, weights, inputs=(("x", ("N", 2, 6, 6)),), outputs=("y",)) -> Graph:
    return Graph(
        inputs=tuple(TensorType(name=name, shape=shape) for name, shape in inputs),
        outputs=outputs,
        weights=tuple(TensorType(name=name, shape=shape) for name, shape in weights),
        nodes=tuple(nodes),
    )


@pytest.mark.parametrize("name", ["w", "one.weight"])
def test_shared_weights_run_without_layers(name):
    conv = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}
    nodes = (
        Node(name="one", op="Conv", inputs=("x", name), outputs=("a",), attrs=conv),
        Node(name="two", op="Conv", inputs=("a", name), outputs=("b",), attrs=conv),
        Node(name="three", op="Add", inputs=("b", "deep.shift"), outputs=("y",)),
    )
    graph = graph_of(nodes, [(name, (2, 2, 3, 3)), ("deep.shift", (2, 1, 1))])
    module = GraphModule(graph)
    assert set(dict(module.named_parameters())) == {name, "deep.shift"}
    rng = np.random.default_rng(0)
    arrays = {w.name: rng.normal(size=w.shape).astype(np.float32) for w in graph.weights}
    load_arrays(module, arrays)
    x = rng.normal(size=(2, 2, 6, 6)).astype(np.float32)
    with torch.no_grad():
        got = module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(got, run_reference(graph, arrays, {"x": x})["y"], rtol=1e-4, atol=1e-4)


def test_constants_of_no_axis_are_buffers():
    nodes = (
        Node(name="m", op="Mul", inputs=("x", "two"), outputs=("a",)),
        Node(name="s", op="Add", inputs=("a", "shift"), outputs=("y",)),
    )
    module = GraphModule(graph_of(nodes, [("two", ()), ("shift", (2, 1, 1))]))
    assert set(dict(module.named_parameters())) == {"shift"}
    assert set(dict(module.named_buffers())) == {"two"}
    load_arrays(module, {"two": np.array(2, np.float32), "shift": np.ones((2, 1, 1), np.float32)})
    initialise(module, 0)
    assert module.two.item() == 2


def test_fixed_numbers_are_buffers_that_start_as_they_are():
    """Of any shape and dtype; a layer whose weight is fixed is no torch layer, and `initialise` leaves it alone."""
    nodes = (
        Node(name="g", op="Gather", inputs=("x", "at"), outputs=("a",), attrs={"axis": 1}),
        Node(name="d", op="Gemm", inputs=("a", "d.weight", "d.bias"), outputs=("y",), attrs={"transB": 1}),
    )
    graph = graph_of(nodes, [("at", (3,)), ("d.weight", (2, 3)), ("d.bias", (2,))], inputs=(("x", ("N", 4)),))
    fixed = {"at": ("int64", (2.0, 0.0, 3.0)), "d.weight": ("float32", (1.0, 2.0, 3.0, 4.0, 5.0, 6.0))}
    weights = [
        weight.replace(dtype=fixed[weight.name][0], fixed=fixed[weight.name][1]) if weight.name in fixed else weight
        for weight in graph.weights
    ]
    module = GraphModule(graph.replace(weights=tuple(weights)))
    initialise(module, 0, fillers=(Filler(layers="*", law="gaussian", amount=1.0, bias=0.5),))
    assert set(dict(module.named_parameters())) == {"d.bias"}
    assert module(torch.tensor([[1.0, 10.0, 100.0, 1000.0]])).tolist() == [[3102.5, 6405.5]]


def test_layer_within_a_layer_keeps_both_paths():
    conv = {"kernel_shape": (1, 1)}
    nodes = (
        Node(name="b", op="Conv", inputs=("x", "a.b.weight"), outputs=("t",), attrs=conv),
        Node(name="a", op="Conv", inputs=("t", "a.weight"), outputs=("y",), attrs=conv),
    )
    module = GraphModule(graph_of(nodes, [("a.b.weight", (2, 2, 1, 1)), ("a.weight", (2, 2, 1, 1))]))
    assert set(module.state_dict()) == {"a.weight", "a.b.weight"}


def test_several_inputs_and_outputs_keep_their_order():
    nodes = (
        Node(name="s", op="Sub", inputs=("x", "z"), outputs=("y",)),
        Node(name="t", op="Add", inputs=("x", "z"), outputs=("q",)),
    )
    graph = graph_of(nodes, [], inputs=(("x", ("N", 2)), ("z", ("N", 2))), outputs=("q", "y"))
    total, difference = GraphModule(graph)(torch.ones(1, 2), torch.full((1, 2), 3.0))
    assert total.tolist() == [[4, 4]]
    assert difference.tolist() == [[-2, -2]]


@pytest.mark.parametrize("name", ["training", "a..b.weight"])
def test_names_that_torch_cannot_hold_are_refused(name):
    nodes = (Node(name="n", op="Add", inputs=("x", name), outputs=("y",)),)
    with pytest.raises(FireforgeError, match="BAD_GRAPH"):
        GraphModule(graph_of(nodes, [(name, (1,))]))


def test_dropout_works_in_training_alone():
    nodes = (Node(name="d", op="Dropout", inputs=("x",), outputs=("y",), attrs={"ratio": 0.5}),)
    module, x = GraphModule(graph_of(nodes, [])), torch.ones(1, 2, 6, 6)
    assert torch.equal(module.eval()(x), x)
    torch.manual_seed(0)
    assert set(module.train()(x).unique().tolist()) == {0.0, 2.0}
