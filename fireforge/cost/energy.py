# SPDX-License-Identifier: Apache-2.0
"""The energy of one prediction, estimated from the graph with a published table of what each operation takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fireforge.base.errors import lookup
from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.infer import infer
from fireforge.base.measurement import Measurement
from fireforge.base.value import Value
from fireforge.cost.count import BYTES, MACS, by_node, size

# pJ at 45 nm and 0.9 V: Horowitz, Computing's energy problem, ISSCC 2014, figure 1.1.9; memory as Han et al. 2015 (EIE,
# table I) give it for 32 bits. The sums of 8-bit and 16-bit products are added in 32 bits.
MAC_PJ = {
    "float32": 3.7 + 0.9,
    "float16": 1.1 + 0.4,
    "fixed16": 0.79 + 0.1,  # no published product of 16 bits: the geometric mean of those of 8 (0.2) and 32 bits (3.1)
    "int8": 0.2 + 0.1,
}
FORM_BYTES = {"float32": 4, "float16": 2, "fixed16": 2, "int8": 1}
CACHE_PJ = 5.0 / 4  # a byte from SRAM of 32 KB
DRAM_PJ = 640.0 / 4  # a byte
CACHE_BYTES = 2**20  # assumed: what one core keeps close
INTEGERS = ("int8", "uint8")
# assumed: done in passing by the node before them, so that nothing moves
FUSED = frozenset(
    (
        *("Relu", "LeakyRelu", "Clip", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "BatchNormalization"),
        *("Dropout", "Identity", "Flatten", "Reshape", "QuantizeLinear", "DequantizeLinear"),
    )
)
MJ = 1e-9  # millijoules in a picojoule


@dataclass(frozen=True, kw_only=True)
class NodeEnergy(Value):
    """What one node takes for one image, in picojoules.

    Args:
      name: of the node.
      op: its operator.
      form: the number format of its products, of MAC_PJ; "" where it has none.
      macs: multiply-adds.
      compute_pj: of the multiply-adds.
      cache_pj: of moving each of its operands and results once through the cache.
      dram_pj: of those that do not fit into the cache.
    """

    name: str
    op: str
    form: str
    macs: int
    compute_pj: float
    cache_pj: float
    dram_pj: float


@dataclass(frozen=True, kw_only=True)
class Energy(Value):
    """What a network takes for one image, in millijoules.

    Args:
      compute_mj: of the multiply-adds.
      cache_mj: of moving numbers through the cache.
      dram_mj: of what does not fit into the cache.
    """

    compute_mj: float
    cache_mj: float
    dram_mj: float

    @property
    def total_mj(self) -> float:
        """All three, in millijoules."""
        return self.compute_mj + self.cache_mj + self.dram_mj

    def words(self) -> str:
        """How the number came about, for whoever is held to it."""
        return (
            "estimated: 45 nm table (Horowitz 2014), multiply-adds and one move of each number a node; no control, no "
            "waste, no idle power, so a lower bound: whole processors take hundreds of times as much"
        )


def energy(graph: Graph, *, form: str | None = None, cache_bytes: int = CACHE_BYTES) -> Energy:
    """The energy of one prediction of one image; see `energy_by_node`.

    Args:
      graph: a valid graph.
      form: a name of MAC_PJ that all numbers are held and multiplied in; None for what the graph itself says.
      cache_bytes: what fits moves at the cache's price.

    Returns:
      The sum over the nodes.

    Raises:
      FireforgeError: as `energy_by_node`.
    """
    rows = energy_by_node(graph, form=form, cache_bytes=cache_bytes)
    return Energy(
        compute_mj=MJ * sum(row.compute_pj for row in rows),
        cache_mj=MJ * sum(row.cache_pj for row in rows),
        dram_mj=MJ * sum(row.dram_pj for row in rows),
    )


def energy_by_node(graph: Graph, *, form: str | None = None, cache_bytes: int = CACHE_BYTES) -> tuple[NodeEnergy, ...]:
    """The energy of each node for one image: its MACs, and each number that it reads or writes moved once.

    What is assumed: inside a node nothing is fetched twice; FUSED nodes work in passing and move nothing; a number that
    is quantized is held in integers; weights come from DRAM where all of them together do not fit into the cache, and a
    tensor where it alone does not. Operators without MACs compute for nothing.

    Args:
      graph: a valid graph.
      form: a name of MAC_PJ that all numbers are held and multiplied in; None for what the graph itself says: integers
        where both operands come from integers, else its dtype.
      cache_bytes: what fits moves at the cache's price.

    Returns:
      One record a node, in order.

    Raises:
      FireforgeError: UNKNOWN_NAME, if there is no such form; as `fireforge.cost.count.count`.

    Source:
      Horowitz, ISSCC 2014, figure 1.1.9 (45 nm, 0.9 V); Han et al., Deep Compression, 2016: 640 pJ for 32 bits of DRAM.
    """
    if form is not None:
        lookup(MAC_PJ, form, "number format")
    places = _Places(graph, form)
    streamed = places.weight_bytes() > cache_bytes
    rows = []
    for node, cost in zip(graph.nodes, by_node(graph)):
        moved = places.moved(node)
        far = [place for place in moved if (streamed and place.weight) or place.bytes > cache_bytes]
        product = "" if node.op not in MACS else form or places.form(node)
        rows.append(
            NodeEnergy(
                name=node.name,
                op=node.op,
                form=product,
                macs=cost.macs,
                compute_pj=cost.macs * MAC_PJ[product] if product else 0.0,
                cache_pj=CACHE_PJ * sum(place.bytes for place in moved),
                dram_pj=DRAM_PJ * sum(place.bytes for place in far),
            )
        )
    return tuple(rows)


def estimated(measurement: Measurement, graph: Graph) -> Measurement:
    """A measurement whose energy is the estimate, where no counter gave one.

    Args:
      measurement: of a file.
      graph: of the same file.

    Returns:
      The same figures; `how` says that the energy is estimated, and why.
    """
    if measurement.energy_mj is not None:
        return measurement
    found = energy(graph)
    why = measurement.how.get("energy_mj", "")
    told = f"{found.words()}; {why}" if why else found.words()
    return measurement.replace(energy_mj=found.total_mj, how={**measurement.how, "energy_mj": told})


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where numbers lie: a tensor that a node made, or a weight, with all that is done to it in passing."""

    bytes: int
    weight: bool


class _Places:
    """Which tensors share a place, and how many bytes it takes."""

    def __init__(self, graph: Graph, form: str | None) -> None:
        self._types = infer(graph)
        self._form = form
        self._weights = {weight.name for weight in graph.weights}
        self._root = {name: name for name in self._types}
        self._dtype = {name: tensor.dtype for name, tensor in self._types.items()}
        self._fixed = set(self._weights)
        for node in graph.nodes:
            self._follow(node)

    def _follow(self, node: Node) -> None:
        """What a node in passing makes lies where its input lay; what is made of weights alone is made once."""
        if all(name in self._fixed for name in node.inputs if name):
            self._fixed.update(node.outputs)
        if node.op not in FUSED:
            return
        root = self._root[node.inputs[0]]
        for name in node.outputs:
            self._root[name] = root
        if node.op == "QuantizeLinear":
            self._dtype[root] = self._types[node.outputs[0]].dtype

    def moved(self, node: Node) -> list[_Place]:
        """The places that a node reads and writes, each once."""
        if node.op in FUSED or all(name in self._fixed for name in node.inputs if name):
            return []
        roots = dict.fromkeys(self._root[name] for name in (*node.inputs, *node.outputs) if name)
        return [_Place(bytes=self._bytes(root), weight=root in self._fixed) for root in roots]

    def weight_bytes(self) -> int:
        """Of all weights, as they are held."""
        return sum(self._bytes(name) for name in self._weights)

    def form(self, node: Node) -> str:
        """The number format of a node's products, by its two operands."""
        dtypes = [self._dtype[self._root[name]] for name in node.inputs[:2]]
        if all(dtype in INTEGERS for dtype in dtypes):
            return "int8"
        return "float16" if all(dtype == "float16" for dtype in dtypes) else "float32"

    def _bytes(self, root: str) -> int:
        return _bytes_of(self._types, root, dtype=self._dtype[root], form=self._form)


def _bytes_of(types: Mapping[str, TensorType], name: str, *, dtype: str, form: str | None) -> int:
    each = FORM_BYTES[form] if form is not None and types[name].dtype == "float32" else BYTES[dtype]
    return size(types[name].shape) * each
