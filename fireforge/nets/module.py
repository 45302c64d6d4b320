# SPDX-License-Identifier: Apache-2.0
"""Any Graph as an nn.Module that trains, and its numbers in and out as numpy arrays."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.infer import filled, infer
from fireforge.base.ops.table import OPERATORS
from fireforge.nets.fillers import LAWS, Filler, filler_of
from fireforge.nets.functions import FUNCTIONS, border, even

CONVS: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: dict[int, type[nn.Module]] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
PARTS = {  # names of the weights of a layer, by input position from 1
    "Conv": ("weight", "bias"),
    "ConvTranspose": ("weight", "bias"),
    "Gemm": ("weight", "bias"),
    "LayerNormalization": ("weight", "bias"),
    "BatchNormalization": ("weight", "bias", "running_mean", "running_var"),
}
PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
ACTIVATIONS = ("Relu", "LeakyRelu", "Clip", "HardSwish")
FACTORS = ("Mul", "Div")  # their free operands start at 1, all other free weights at 0


class BatchNorm(nn.BatchNorm2d):
    """Batch norm without the counter of batches, so that its state is the graph's four weights; any rank goes in."""

    def __init__(self, channels: int, *, eps: float, momentum: float) -> None:
        super().__init__(channels, eps=eps, momentum=momentum)
        self.num_batches_tracked = None

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def _load_from_state_dict(self, *arguments: Any) -> None:
        nn.Module._load_from_state_dict(self, *arguments)


class Step(NamedTuple):
    """One node, made ready to run: its layer's path ("" where it has none), attributes, and tensors to forget."""

    node: Node
    layer: str
    attrs: dict[str, Any]
    done: tuple[str, ...]


class GraphModule(nn.Module):
    """The network of a graph; keys of its state dict are the names of the graph's weights, in any order.

    Nodes with weights of the usual names ("<layer>.weight", ...) are real torch layers at that path, a Dropout is one
    at its node's name; all other weights are parameters, or buffers where they are not trained (fixed ones, statistics,
    integers, scales, and constants of shape ()), at their own path.
    Fixed weights start at their numbers, the others at torch's defaults until `initialise` or `load_arrays` sets them.

    Args:
      graph: a valid graph.

    Raises:
      FireforgeError: BAD_GRAPH, if a name cannot be an attribute of a module or hides another one.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        types = infer(graph)
        paths = _layer_paths(graph, types)
        nodes = {node.name: node for node in graph.nodes}
        for name, path in sorted(paths.items(), key=lambda item: item[1].count(".")):  # a layer before what it holds
            _add(self, path, _layer(nodes[name], types))
        layered = {name for path in paths for name in nodes[path].inputs[1:]}
        self._free = tuple(weight.name for weight in graph.weights if weight.name not in layered)
        for name, value in _free_values(graph, self._free).items():
            _add(self, name, value)
        self._steps = _steps(graph, paths)

    def forward(self, *inputs: Tensor) -> Any:
        """Run the network.

        Args:
          *inputs: in the order of graph.inputs; an image is (N, C, H, W).

        Returns:
          The output tensor; a tuple in the order of graph.outputs where there are several.
        """
        values = self._run(inputs, frozenset(self.graph.outputs))
        outputs = tuple(values[name] for name in self.graph.outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def taps(self, x: Tensor | Sequence[Tensor], names: Sequence[str]) -> dict[str, Tensor]:
        """Tensors within the network.

        Args:
          x: the input, or all inputs in order.
          names: tensors of the graph, outputs of nodes or inputs.

        Returns:
          Name to tensor, in the order asked for.

        Raises:
          FireforgeError: UNKNOWN_NAME, if the graph makes no such tensor.
        """
        known = {tensor.name for tensor in self.graph.inputs}.union(*(step.node.outputs for step in self._steps))
        for name in names:
            if name not in known:
                raise FireforgeError("UNKNOWN_NAME", f"the graph has no tensor called {name!r}")
        values = self._run((x,) if isinstance(x, Tensor) else tuple(x), frozenset(names))
        return {name: values[name] for name in names}

    def _run(self, inputs: Sequence[Tensor], kept: frozenset[str]) -> dict[str, Tensor]:
        values: dict[str, Any] = {"": None}
        for name in self._free:
            owner, _, part = name.rpartition(".")
            values[name] = getattr(self.get_submodule(owner), part)
        values.update(zip((tensor.name for tensor in self.graph.inputs), inputs, strict=True))
        for node, layer, attrs, done in self._steps:
            if layer:
                module = self.get_submodule(layer)
                results: tuple[Tensor, ...] = (_call(module, node.op, values[node.inputs[0]], attrs),)
            else:
                results = FUNCTIONS[node.op]([values[name] for name in node.inputs], attrs, self.training)
            values.update(zip(node.outputs, results))
            for name in done:
                if name not in kept:
                    del values[name]
        return values


def load_arrays(module: GraphModule, arrays: Mapping[str, np.ndarray]) -> None:
    """Copy numbers into a module, in place, on whatever device it is.

    Args:
      module: its graph names the weights.
      arrays: an array of the graph's shape for each weight, no more and no fewer.

    Raises:
      FireforgeError: BAD_WEIGHTS, if a weight is absent, unknown or of another shape; nothing is changed then.
    """
    state = module.state_dict()
    for name in arrays:
        if name not in state:
            raise FireforgeError("BAD_WEIGHTS", "the network has no such weight", where=name)
    for name, held in state.items():
        if name not in arrays:
            raise FireforgeError("BAD_WEIGHTS", "this weight is absent", where=name)
        if arrays[name].shape != tuple(held.shape):
            got, wanted = arrays[name].shape, tuple(held.shape)
            raise FireforgeError("BAD_WEIGHTS", f"shape {got}", where=name, allowed=str(wanted))
    for name, held in state.items():
        held.copy_(torch.from_numpy(np.array(arrays[name])))


def arrays_of(module: GraphModule) -> dict[str, np.ndarray]:
    """A copy of a module's numbers.

    Args:
      module: on any device.

    Returns:
      Weight name to array of the graph's shape and dtype, in the graph's order.
    """
    state = module.state_dict()
    return {
        weight.name: state[weight.name].detach().cpu().contiguous().numpy().astype(weight.dtype, copy=True)
        for weight in module.graph.weights
    }


def initialise(module: GraphModule, seed: int, *, fillers: Sequence[Filler] = ()) -> None:
    """Give the layers fresh random numbers that depend on the graph, the fillers and the seed alone.

    Convolutions and matrix products that an activation follows (a batch norm may stand between) take He's normal
    distribution, variance 2 / fan-in; all others, the last one always, Xavier's, variance 2 / (fan-in + fan-out).
    Biases are 0, normalizations start as the identity, embeddings take N(0, 1). Other free weights, such as constants
    of an imported network, stay as they are.

    Args:
      module: changed in place; torch's global generator is neither read nor set.
      seed: any whole number.
      fillers: how the authors of the network draw the numbers of its layers; see `fireforge.nets.families.fillers_of`.

    Source:
      He et al. 2015 (Delving Deep into Rectifiers), equation 10; Glorot and Bengio 2010, equation 12.
    """
    generator = torch.Generator().manual_seed(seed)
    state = module.state_dict()
    nodes = module.graph.nodes
    last = [node.name for node in nodes if node.op in PRODUCTS][-1:]
    activated = _activated(module.graph).difference(last)
    done = {weight.name for weight in module.graph.weights if weight.fixed}
    for node in nodes:
        for i, name in enumerate(node.inputs):
            if name not in state or name in done:
                continue
            held = state[name]
            filler = filler_of(name.rpartition(".")[0], fillers)
            if filler is not None and i:
                _fill(held, filler, node=node, part=name.rpartition(".")[2], generator=generator)
            elif node.op in PRODUCTS and i < 2 and held.ndim >= 2:
                spread = _spread(node, tuple(held.shape), node.name in activated)
                held.copy_(torch.randn(held.shape, generator=generator) * spread)
            elif node.op == "Gather" and i == 0 and held.is_floating_point():
                held.copy_(torch.randn(held.shape, generator=generator))
            elif node.op in PARTS:
                held.fill_(1.0 if node.op.endswith("Normalization") and i in (1, 4) else 0.0)
            else:
                continue
            done.add(name)


def _fill(held: Tensor, filler: Filler, *, node: Node, part: str, generator: torch.Generator) -> None:
    """Draw one tensor of a layer by its authors' law; a normalization's statistics start as the identity."""
    if part == "bias":
        held.fill_(filler.bias)
    elif part != "weight":
        held.fill_(1.0 if part == "running_var" else 0.0)
    else:
        fan_in, fan_out = _fans(node, tuple(held.shape)) if node.op in PRODUCTS else (1, 1)
        spread = LAWS[filler.law](fan_in, fan_out, filler.amount)
        if spread.std is not None:
            held.copy_(torch.randn(held.shape, generator=generator) * spread.std)
        elif spread.bound is not None:
            held.copy_((torch.rand(held.shape, generator=generator) * 2 - 1) * spread.bound)
        else:
            held.fill_(spread.value)
        if spread.handing_on:
            nn.init.dirac_(held[: held.shape[1]])


def _activated(graph: Graph) -> set[str]:
    """Names of nodes whose output goes to an activation, straight or through a batch norm."""
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    found: set[str] = set()
    for node in reversed(graph.nodes):
        after = readers.get(node.outputs[0], [])
        if any(r.op in ACTIVATIONS or (r.op == "BatchNormalization" and r.name in found) for r in after):
            found.add(node.name)
    return found


def _spread(node: Node, shape: tuple[int, ...], activated: bool) -> float:
    """Standard deviation of a fresh weight."""
    fan_in, fan_out = _fans(node, shape)
    return math.sqrt(2 / fan_in) if activated else math.sqrt(2 / (fan_in + fan_out))


def _fans(node: Node, shape: tuple[int, ...]) -> tuple[int, int]:
    """Numbers that one output of a product is the sum of, and outputs that one input goes to."""
    attrs: Any = filled(node)
    turned = node.op == "Conv" or bool(attrs.get("transB"))  # (K, C, ...); the others hold (C, K, ...)
    taps = math.prod(shape[2:]) if node.op.startswith("Conv") else 1
    rows, columns = shape[:2] if node.op != "MatMul" else shape[-2:]
    rows = rows // attrs.get("group", 1)
    return (columns * taps, rows * taps) if turned else (rows * taps, columns * taps)


def _layer_paths(graph: Graph, types: Mapping[str, TensorType]) -> dict[str, str]:
    """Names of the nodes that become torch layers, each with the path of its layer."""
    uses = Counter(name for node in graph.nodes for name in node.inputs)
    weights = {weight.name for weight in graph.weights}
    paths = {}
    for node in graph.nodes:
        own = node.inputs[1:] if node.op in PARTS else ()
        path = own[0].rpartition(".")[0] if own else ""
        names = [f"{path}.{part}" for part in PARTS.get(node.op, ())]
        named = bool(path) and all(name in (wanted, "") for name, wanted in zip(own, names))
        named = named and not any(types[name].fixed for name in own if name in types)
        if named and all(name in weights and uses[name] == 1 for name in own if name) and _fits(node, types):
            paths[node.name] = path
    owners = {name.rpartition(".")[0] for name in weights}
    for node in graph.nodes:
        free = all(owner != node.name and not owner.startswith(f"{node.name}.") for owner in owners)
        if node.op == "Dropout" and free:
            paths[node.name] = node.name
    return paths


def _fits(node: Node, types: Mapping[str, TensorType]) -> bool:
    """Whether torch's layer does what the node does."""
    a: Any = filled(node)
    weight, bias = types[node.inputs[1]], types.get(node.inputs[2] if len(node.inputs) > 2 else "")
    if node.op == "Gemm":
        plain = (a["alpha"], a["beta"], a["transA"], a["transB"]) == (1, 1, 0, 1)
        return plain and (bias is None or bias.shape == weight.shape[:1])
    if node.op == "ConvTranspose":
        room = [max(pair) for pair in zip(a["strides"], a["dilations"])]
        return even(a["pads"]) and all(extra < most for extra, most in zip(a["output_padding"], room))
    if node.op == "LayerNormalization":
        shape = types[node.inputs[0]].shape[a["axis"] :]
        return weight.shape == shape and (bias is None or bias.shape == shape)
    return weight.dtype in ("float32", "float16")


def _layer(node: Node, types: Mapping[str, TensorType]) -> nn.Module:
    a: Any = filled(node)
    if node.op == "Dropout":
        return nn.Dropout(a["ratio"])
    shape: Any = types[node.inputs[1]].shape
    bias = len(node.inputs) > 2 and bool(node.inputs[2])
    layer: nn.Module
    if node.op == "Gemm":
        layer = nn.Linear(shape[1], shape[0], bias=bias)
    elif node.op == "BatchNormalization":
        layer = BatchNorm(shape[0], eps=a["epsilon"], momentum=1 - a["momentum"])
    elif node.op == "LayerNormalization":
        layer = nn.LayerNorm(shape, eps=a["epsilon"], bias=bias)
    else:
        layer = _conv_layer(node, shape, a, bias)
    return layer.to(getattr(torch, types[node.inputs[1]].dtype))


def _conv_layer(node: Node, shape: tuple[int, ...], a: dict[str, Any], bias: bool) -> nn.Module:
    rank, group = len(a["kernel_shape"]), a["group"]
    shared: dict[str, Any] = {"dilation": a["dilations"], "groups": group, "bias": bias}
    shared["padding"] = a["pads"][:rank] if even(a["pads"]) else 0  # uneven ones are laid before the layer
    if node.op == "Conv":
        return CONVS[rank](shape[1] * group, shape[0], a["kernel_shape"], a["strides"], **shared)
    shared["output_padding"] = a["output_padding"]
    return TRANSPOSED[rank](shape[0], shape[1] * group, a["kernel_shape"], a["strides"], **shared)


def _free_values(graph: Graph, names: tuple[str, ...]) -> dict[str, Tensor]:
    """Start values of the weights outside layers: a Parameter where it is trained, else a plain tensor."""
    types = {weight.name: weight for weight in graph.weights}
    factors = {name for node in graph.nodes if node.op in FACTORS for name in node.inputs}
    kept = {
        node.inputs[i]
        for node in graph.nodes
        for i in OPERATORS[node.op].buffers or ((1, 2) if node.op in QUANTIZERS else ())
        if i < len(node.inputs)
    }
    values: dict[str, Tensor] = {}
    for name in names:
        shape: Any = types[name].shape
        dtype, fixed = getattr(torch, types[name].dtype), types[name].fixed
        value = torch.full(shape, int(name in factors), dtype=dtype)
        if fixed:
            value = torch.tensor(fixed, dtype=dtype).reshape(shape)
        trained = value.is_floating_point() and name not in kept and shape != () and not fixed
        values[name] = nn.Parameter(value) if trained else value
    return values


def _add(root: nn.Module, path: str, item: nn.Module | Tensor) -> None:
    """Put a layer, a parameter or a buffer at a dotted path, with plain modules on the way."""
    *scopes, leaf = path.split(".")
    owner = root
    for scope in scopes:
        if scope not in owner._modules:
            _check_name(owner, scope, path)
            owner.add_module(scope, nn.Module())
        owner = owner.get_submodule(scope)
    _check_name(owner, leaf, path)
    if isinstance(item, nn.Module):
        owner.add_module(leaf, item)
    elif isinstance(item, nn.Parameter):
        owner.register_parameter(leaf, item)
    else:
        owner.register_buffer(leaf, item)


def _check_name(owner: nn.Module, part: str, path: str) -> None:
    if not part or hasattr(owner, part):
        what = f"{part!r} cannot be a name within a torch module, or hides another one"
        raise FireforgeError("BAD_GRAPH", what, where=path, do="rename the node and its weights")


def _steps(graph: Graph, paths: Mapping[str, str]) -> tuple[Step, ...]:
    last = {name: i for i, node in enumerate(graph.nodes) for name in (*node.inputs, *node.outputs) if name}
    steps = []
    for i, node in enumerate(graph.nodes):
        path = paths.get(node.name, "")
        read = (node.inputs[:1] if path else node.inputs) + node.outputs
        done = tuple(sorted({name for name in read if name and last[name] == i}))
        steps.append(Step(node=node, layer=path, attrs=filled(node), done=done))
    return tuple(steps)


def _call(layer: nn.Module, op: str, x: Tensor, attrs: dict[str, Any]) -> Tensor:
    if op == "Conv" and not even(attrs["pads"]):
        x = border(x, attrs["pads"])
    out: Tensor = layer(x)
    return out
