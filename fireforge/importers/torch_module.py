# SPDX-License-Identifier: Apache-2.0
"""A foreign nn.Module as a Graph and its numbers, by way of torch.export."""

from __future__ import annotations

import operator
import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.graph import DTYPES, Attr, Graph, Node, TensorType
from fireforge.base.reference import run_reference
from fireforge.base.rng import rng
from fireforge.base.validate import validate
from fireforge.importers.aten import ATEN, VIEWS, Args
from fireforge.importers.matching import match_names

MOST = 1e-4  # of the largest output, as at the parity gate: float32 in another order of sums
# calls that check sizes and make nothing
CHECKS = (
    "sym_size",
    "sym_constrain_range",
    "sym_constrain_range_for_size",
    "_assert_scalar",
    "_assert_tensor_metadata",
)


def import_torch(module: nn.Module, example: torch.Tensor | tuple[int, ...]) -> tuple[Graph, dict[str, np.ndarray]]:
    """A module that takes one tensor as a Graph of our closed list, with its numbers.

    The module is exported as it answers in eval mode, with the batch as a symbol; its training flags are put back.
    Dropout stays as a node. Weights keep their names of the state dict; numbers in the code become weights of shape ().

    Args:
      module: any module without data-dependent control flow.
      example: an input with its batch axis, or the shape of one float32 item without it, such as (3, 224, 224).

    Returns:
      The Graph, "input" to "logits" ("output0" and so on where there are several), and weight name to array.

    Raises:
      FireforgeError: UNKNOWN_OPERATOR, if the module uses an operator that the list lacks; BAD_MODULE, if torch.export
        refuses it or it fixes the batch; BAD_DTYPE, if a tensor has a dtype that the graph lacks.
    """
    program = _export(module, example)
    if _writes_into_views(program.graph):
        with _quiet():
            program = program.run_decompositions({})  # no decomposition, but no write in place either
    walk = _Walk(program)
    for node in program.graph.nodes:
        walk.visit(node)
    graph = walk.graph()
    validate(graph)
    return graph, {weight.name: walk.arrays[weight.name] for weight in graph.weights}


def load_numbers(module: nn.Module, arrays: Mapping[str, np.ndarray], *, where: str) -> tuple[str, ...]:
    """Give a module the numbers of a file: all of its state but the counters of batch norm, and nothing else.

    Args:
      module: changed in place.
      arrays: name to array.
      where: the file.

    Returns:
      Notes of what was read otherwise than it stands.

    Raises:
      FireforgeError: BAD_WEIGHTS, naming what is missing, left over or of another shape.
    """
    held = module.state_dict()
    taken, notes = match_names({name: tensor.cpu().numpy() for name, tensor in held.items()}, arrays, where=where)
    for name, array in taken.items():
        held[name].copy_(torch.from_numpy(array))  # into the module itself, past what rewrites older files on loading
    now = module.state_dict()
    lost = next((name for name, array in taken.items() if (now[name].cpu().numpy() != array).any()), "")
    if lost:
        raise FireforgeError("BAD_WEIGHTS", f"the module does not take {lost[:80]}", where=where)
    return notes


def check_answer(module: nn.Module, graph: Graph, arrays: Mapping[str, np.ndarray], *, where: str) -> None:
    """Hold a Graph, in plain numpy, against the module that it was made of, on one picture of noise.

    Args:
      module: answers in eval mode, and stays in it.
      graph: what `import_torch` made of it.
      arrays: weight name to array.
      where: the file.

    Raises:
      FireforgeError: PARITY, if any output differs by more than MOST of the largest; BAD_MODULE, if the module makes
        something else than one tensor.
    """
    shape = tuple(size for size in graph.inputs[0].shape[1:] if isinstance(size, int))
    noise = rng(0).standard_normal((1, *shape)).astype(np.float32)
    module.eval()
    with torch.no_grad():
        made = module(torch.from_numpy(noise))
    if not isinstance(made, torch.Tensor):
        what = f"it makes {type(made).__name__}"
        raise FireforgeError("BAD_MODULE", what, where=where, allowed="one tensor (N, classes)")
    told = made.numpy()
    got = run_reference(graph, arrays, {graph.inputs[0].name: noise})[graph.outputs[0]]
    apart, most = float(np.abs(got - told).max()), MOST * float(np.abs(told).max())
    if not apart <= most:
        what = f"the graph differs from the module's own answer by {apart:.3g}"
        raise FireforgeError("PARITY", what, where=where, allowed=f"at most {most:.3g}", exit_code=Exit.PARITY)


def _export(module: nn.Module, example: torch.Tensor | tuple[int, ...]) -> torch.export.ExportedProgram:
    if not isinstance(example, torch.Tensor):
        held = next((p for p in module.parameters()), torch.zeros(()))
        example = torch.zeros(2, *example, device=held.device)
    if example.shape[0] < 2:
        example = torch.cat([example, example])  # a batch of 1 would be taken for a constant
    flags = {part: part.training for part in module.modules()}
    batch = torch.export.Dim("N", min=1)
    try:
        module.eval()
        with _quiet(), torch.no_grad():
            return torch.export.export(module, (example,), dynamic_shapes=({0: batch},))
    except (RuntimeError, ValueError, TypeError, AssertionError, LookupError, AttributeError) as error:
        line = next((text.strip() for text in str(error).splitlines() if text.strip()), type(error).__name__)
        what, do = f"torch.export refuses it: {line[:300]}", "a module that treats every image of a batch alike"
        raise FireforgeError("BAD_MODULE", what, where=type(module).__name__, do=do) from error
    finally:
        for part, flag in flags.items():
            part.training = flag


def _quiet() -> warnings.catch_warnings[None]:
    """A context without torch's notices about its own future."""
    return warnings.catch_warnings(action="ignore", category=FutureWarning)


def _base_name(target: Any) -> tuple[str, bool]:
    """From aten.relu_.default: the name "relu", and whether it writes in place."""
    name = str(target).split(".")[1] if str(target).startswith("aten.") else str(target)
    inplace = name.endswith("_") and not name.startswith("__")
    return (name[:-1] if inplace else name), inplace


def _writes_into_views(graph: fx.Graph) -> bool:
    """Whether a write in place may be seen through another name, so that rebinding one name is not enough."""
    for node in graph.nodes:
        if node.op == "call_function" and _base_name(node.target)[1] and node.args:
            source: Any = node.args[0]
            seen = [source.target, *(user.target for user in source.users)]
            if source.target is operator.getitem or any(_base_name(target)[0] in VIEWS for target in seen):
                return True
    return False


class _Walk:
    """The pen of `aten.Pen`: walks the program once and collects nodes and weights."""

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        self.where = ""
        self.arrays: dict[str, np.ndarray] = {}
        signature = program.graph_signature
        self._held = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        self._held.update(signature.inputs_to_lifted_tensor_constants)
        self._state: Mapping[str, Any] = {**program.constants, **program.state_dict}
        self._values: dict[fx.Node, Any] = {}
        self._nodes: list[Node] = []
        self._inputs: list[TensorType] = []
        self._outputs: tuple[str, ...] = ()
        self._call: fx.Node | None = None
        self._taken = {"", "input", "logits", *self._held.values()}

    def visit(self, node: fx.Node) -> None:
        """Translate one node of the program."""
        if node.op == "placeholder":
            self._placeholder(node)
        elif node.op == "output":
            results = node.args[0]
            assert isinstance(results, (tuple, list))
            self._outputs = tuple(self._values[item] for item in results if isinstance(item, fx.Node))
        elif node.target is operator.getitem:
            source, index = node.args
            parts = self._values.get(source)  # type: ignore[arg-type]
            if isinstance(parts, tuple) and index < len(parts):  # type: ignore[operator]
                self._values[node] = parts[index]  # type: ignore[index]
        elif node.op == "call_function":
            self._translate(node)

    def graph(self) -> Graph:
        """What was collected, unused weights left out, outputs with their final names."""
        names = ("logits",) if len(self._outputs) == 1 else tuple(f"output{i}" for i in range(len(self._outputs)))
        final = dict(zip(self._outputs, names))
        if len(final) != len(names) or any(name in final for name in (*self.arrays, *(t.name for t in self._inputs))):
            raise FireforgeError("BAD_MODULE", "an output that is an input, a weight, or given twice")
        needed, nodes = set(self._outputs), []
        for node in reversed(self._nodes):
            if not needed.isdisjoint(node.outputs):
                needed.update(node.inputs)
                nodes.append(self._renamed(node, final))
        weights = [
            TensorType(name=name, dtype=str(array.dtype), shape=array.shape)
            for name, array in self.arrays.items()
            if name in needed
        ]
        return Graph(inputs=tuple(self._inputs), outputs=names, weights=tuple(weights), nodes=tuple(reversed(nodes)))

    def name(self, value: Any) -> str:
        if value is None:
            return ""
        found = self._values.get(value)
        if not isinstance(found, str):
            raise FireforgeError("UNKNOWN_OPERATOR", f"argument {value} is no tensor", where=self.where)
        return found

    def operand(self, value: Any, like: Any) -> str:
        if isinstance(value, (int, float)):
            dtype = str(like.meta["val"].dtype).removeprefix("torch.")
            return self.constant("scalar", np.asarray(value, dtype))
        return self.name(value)

    def constant(self, part: str, array: np.ndarray) -> str:
        assert self._call is not None
        name = self._fresh(f"{self._path(self._call) or self._call.name}.{part}")
        self.arrays[name] = array
        return name

    def shape(self, value: Any) -> tuple[int | str, ...]:
        return tuple(dim if isinstance(dim, int) else str(dim) for dim in value.meta["val"].shape)

    def result(self) -> tuple[int | str, ...]:
        return self.shape(self._call)

    def parts(self) -> tuple[tuple[int | str, ...], ...]:
        assert self._call is not None
        return tuple(tuple(d if isinstance(d, int) else str(d) for d in v.shape) for v in self._call.meta["val"])

    def add(self, op: str, *inputs: str, **attrs: Attr) -> str:
        return self._write(op, inputs, attrs, 1)[0]

    def split(self, source: str, sizes: tuple[int, ...], axis: int) -> tuple[str, ...]:
        return self._write("Split", (source,), {"split": sizes, "axis": axis}, len(sizes))

    def _write(self, op: str, inputs: tuple[str, ...], attrs: dict[str, Attr], outputs: int) -> tuple[str, ...]:
        assert self._call is not None
        name = self._fresh(self._path(self._call) or str(self._call.name))
        made = (name,) if outputs == 1 else tuple(self._fresh(f"{name}.{i}") for i in range(outputs))
        self._nodes.append(Node(name=name, op=op, inputs=inputs, outputs=made, attrs=attrs))
        return made

    def _fresh(self, name: str) -> str:
        """The name, with a number behind it if it is taken."""
        free, number = name, 1
        while free in self._taken:
            number += 1
            free = f"{name}_{number}"
        self._taken.add(free)
        return free

    def _renamed(self, node: Node, final: Mapping[str, str]) -> Node:
        inputs = tuple(final.get(name, name) for name in node.inputs)
        return node.replace(inputs=inputs, outputs=tuple(final.get(name, name) for name in node.outputs))

    def _placeholder(self, node: fx.Node) -> None:
        if node.name in self._held:
            name = self._held[node.name]
            tensor = self._state[name].detach().cpu()
            self._check_dtype(tensor, name)
            self.arrays[name] = np.array(tensor.contiguous().numpy())
            self._values[node] = name
            return
        name = "input" if not self._inputs else f"input{len(self._inputs)}"
        value = node.meta["val"]
        dtype = self._check_dtype(value, name)
        if isinstance(value.shape[0], int):
            raise FireforgeError("BAD_MODULE", "the module fixes its batch size", where=name)
        self._inputs.append(TensorType(name=name, dtype=dtype, shape=("N", *(int(dim) for dim in value.shape[1:]))))
        self._values[node] = name

    def _check_dtype(self, tensor: Any, name: str) -> str:
        dtype = str(tensor.dtype).removeprefix("torch.")
        if dtype not in DTYPES:
            raise FireforgeError("BAD_DTYPE", f"dtype {dtype}", where=name, allowed=", ".join(DTYPES))
        return dtype

    def _translate(self, node: fx.Node) -> None:
        name, _ = _base_name(node.target)
        value = node.meta.get("val")
        if name in CHECKS or isinstance(value, (int, float, torch.SymInt, torch.SymBool, torch.SymFloat)):
            return  # a size; what is made of it is read from the shapes of the results
        self._call = node
        self.where = self._place(node)
        translation = ATEN.get(name)
        if translation is None:
            what = f"operator {node.target} has no counterpart"
            raise FireforgeError("UNKNOWN_OPERATOR", what, where=self.where, allowed=", ".join(sorted(ATEN)))
        self._values[node] = translation(self, _bound(node))  # after a write in place torch's readers name its result

    def _path(self, node: fx.Node) -> str:
        """Dotted path of the submodule whose code made the call; "" for the module itself."""
        stack = node.meta.get("nn_module_stack") or {}
        path = next(reversed([path for path, _ in stack.values()]), "") if stack else ""
        return "" if "metadata_hook" in path else re.sub(r"[^\w.]", "_", path)

    def _place(self, node: fx.Node) -> str:
        """Submodule, file name and line of the call."""
        lines = re.findall(r'File "([^"]+)", line (\d+)', node.meta.get("stack_trace") or "")
        line = f"{lines[-1][0].rpartition('/')[2]} line {lines[-1][1]}" if lines else ""
        path = self._path(node) or "the module itself"
        return f"{path} ({line})" if line else path


def _bound(node: fx.Node) -> Args:
    """Arguments by the names of the operator's schema, with its defaults."""
    schema = node.target._schema  # type: ignore[union-attr]
    bound: Args = {}
    for i, argument in enumerate(schema.arguments):
        if i < len(node.args):
            bound[argument.name] = node.args[i]
        else:
            bound[argument.name] = node.kwargs.get(argument.name, argument.default_value)
    return bound
