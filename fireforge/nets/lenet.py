# SPDX-License-Identifier: Apache-2.0
"""LeNet-5 as its authors drew it, the LeNet that came with Caffe, and the plain LeNet-300-100."""

from __future__ import annotations

from fireforge.base.graph import Graph
from fireforge.base.spec import NetSpec, Param
from fireforge.nets.builder import Builder
from fireforge.nets.codes import HIGH, MOST, WIDE, codes
from fireforge.nets.fillers import Filler
from fireforge.nets.params import int_list, need, read_params
from fireforge.nets.preset import preset

LENET_5: dict[str, Param] = {
    "output": "rbf",  # distances to fixed codes, or "dense": a linear layer
}
CAFFE_LENET: dict[str, Param] = {"dropout": 0.0}
MLP: dict[str, Param] = {
    "widths": "300,100",  # units of the hidden layers
    "dropout": 0.0,  # behind each hidden layer
}

# maps of S2 that each map of C3 sees (LeCun et al. 1998, table 1): six see 3 maps, nine see 4, one sees all
C3_SEES = (
    ((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    (
        *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
        *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    ),
    ((0, 1, 2, 3, 4, 5),),
)


def lenet_5(spec: NetSpec) -> Graph:
    """LeNet-5 as a Graph: 60,000 trained numbers with ten codes, 60,850 with a linear output.

    Args:
      spec: family "lenet-5"; parameters as in LENET_5. At most 16 classes where the output is "rbf".

    Returns:
      The Graph, "input" (N, C, H, W) to "logits" (N, classes), which are minus the squared distances to the codes.

    Raises:
      FireforgeError: UNKNOWN_NAME or BAD_SPEC, if a parameter is unknown or makes no network.

    Source:
      LeCun et al. 1998, section II.B and table 1. A subsampling unit there takes the sum of four numbers, here their
      mean: the same network with a coefficient four times as great. Table 1 is three convolutions, one for each number
      of maps seen, with the maps that each filter sees laid one behind the other; every link has one kernel.
    """
    p = read_params(spec, LENET_5)
    need(p["output"] in ("rbf", "dense"), f"got {p['output']!r}", where="lenet-5.output", allowed="rbf, dense")
    b = Builder(spec)
    b.constant("slope", (2 / 3,))
    b.constant("gain", (1.7159,))
    x = _squash(b, b.conv(b.input, 6, 5, name="c1"))
    x = _squash(b, _subsampled(b, x, name="s2"))
    x = _squash(b, _partial(b, x, name="c3"))
    x = _squash(b, _subsampled(b, x, name="s4"))
    x = _squash(b, b.conv(x, 120, 5, name="c5"))
    x = _squash(b, b.linear(b.flatten(x), WIDE * HIGH, name="f6"))
    if p["output"] == "dense":
        return b.graph(b.linear(x, spec.classes, name="output"))
    return b.graph(_distances(b, x, spec.classes, name="output"))


def _squash(b: Builder, x: str) -> str:
    """1.7159 tanh(2 x / 3): about 1 at 1 and -1 at -1, where its second derivative is greatest."""
    flat = b.node("Tanh", (b.multiply(x, "slope", name=f"{x}_slope"),), name=f"{x}_tanh")
    return b.multiply(flat, "gain", name=f"{x}_squash")


def _subsampled(b: Builder, x: str, *, name: str) -> str:
    """Means of 2 x 2 numbers, each map with a coefficient and a bias of its own, both trained."""
    shape = (b.channels(x), 1, 1)
    x = b.average_pool(x, 2, name=f"{name}_mean", stride=2)
    x = b.multiply(x, b.weight(name, "weight", shape), name=f"{name}_scaled")
    return b.add(x, b.weight(name, "bias", shape), name=name)


def _partial(b: Builder, x: str, *, name: str) -> str:
    """The 16 maps of C3, each from the maps that C3_SEES gives it."""
    parts = []
    for row in C3_SEES:
        part, seen = f"{name}.sees{len(row[0])}", tuple(source for sources in row for source in sources)
        links = b.constant(f"{part}.links", seen, (len(seen),), "int64")
        maps = b.node("Gather", (x, links), name=f"{part}_maps", attrs={"axis": 1})
        parts.append(b.conv(maps, len(row), 5, name=part, groups=len(row)))
    return b.concat(tuple(parts), name=name)


def _distances(b: Builder, x: str, classes: int, *, name: str) -> str:
    """Minus the squared distance of 84 numbers to the code of each class: (N, 84) to (N, classes)."""
    need(classes <= MOST, f"{classes} classes", where="lenet-5.output", allowed=f"rbf up to {MOST} classes, or dense")
    units = b.channels(x)
    numbers = tuple(number for code in codes(classes) for number in code)
    table = b.constant(f"{name}.codes", numbers, (classes, units))
    apart = b.node("Sub", (b.reshape(x, (0, 1, units), name=f"{name}_row"), table), name=f"{name}_apart")
    square = b.multiply(apart, apart, name=f"{name}_square")
    mean = b.node("ReduceMean", (square,), name=f"{name}_mean", attrs={"axes": (2,), "keepdims": 0})
    return b.multiply(mean, b.constant(f"{name}.minus", (-float(units),)), name=name)


def caffe_lenet(spec: NetSpec) -> Graph:
    """The LeNet of Caffe's examples as a Graph: wider, maximum pools, one Relu; 431,080 parameters at 28 px.

    Args:
      spec: family "caffe-lenet"; parameters as in CAFFE_LENET.

    Returns:
      The Graph, "input" (N, C, H, W) to "logits" (N, classes).

    Raises:
      FireforgeError: UNKNOWN_NAME or BAD_SPEC, if a parameter is unknown or makes no network.

    Source:
      Caffe's examples/mnist/lenet_train_test.prototxt; the "LeNet-5" of Han et al. 2015.
    """
    p = read_params(spec, CAFFE_LENET)
    need(0 <= p["dropout"] < 1, f"got {p['dropout']}", where="caffe-lenet.dropout", allowed="0 to below 1")
    b = Builder(spec)
    x = b.max_pool(b.conv(b.input, 20, 5, name="conv1"), 2, name="pool1", stride=2)
    x = b.max_pool(b.conv(x, 50, 5, name="conv2"), 2, name="pool2", stride=2)
    x = b.relu(b.linear(b.flatten(x), 500, name="ip1"))
    return b.graph(b.linear(b.dropout(x, p["dropout"]), spec.classes, name="ip2"))


def mlp(spec: NetSpec) -> Graph:
    """Linear layers with a Relu between two as a Graph; LeNet-300-100 has 266,610 parameters at 28 px.

    Args:
      spec: family "mlp"; parameters as in MLP.

    Returns:
      The Graph, "input" (N, C, H, W) to "logits" (N, classes).

    Raises:
      FireforgeError: UNKNOWN_NAME or BAD_SPEC, if a parameter is unknown or makes no network.

    Source:
      LeCun et al. 1998, section III.C.4, with Relu in the place of the squashing function, as Han et al. 2015 have it.
    """
    p = read_params(spec, MLP)
    need(0 <= p["dropout"] < 1, f"got {p['dropout']}", where="mlp.dropout", allowed="0 to below 1")
    widths = int_list(p["widths"], where="mlp.widths")
    need(min(widths, default=1) >= 1, f"got {widths}", where="mlp.widths", allowed="at least 1 each")
    b = Builder(spec)
    x = b.flatten(b.input)
    for i, width in enumerate(widths, 1):
        x = b.dropout(b.relu(b.linear(x, width, name=f"fc{i}")), p["dropout"], name=f"dropout{i}")
    return b.graph(b.linear(x, spec.classes, name=f"fc{len(widths) + 1}"))


def lenet_5_fillers(spec: NetSpec) -> tuple[Filler, ...]:
    """LeCun et al. 1998, appendix A: uniform within 2.4 by fan-in; a subsampling unit's fan-in is 4 of its sum."""
    return (Filler(layers="*", law="lecun"),)


def caffe_lenet_fillers(spec: NetSpec) -> tuple[Filler, ...]:
    """Caffe's examples: "xavier" in all layers, biases 0."""
    return (Filler(layers="*", law="xavier"),)


lenet_5_net = preset("lenet-5", classes=10, input_shape=(1, 32, 32))
caffe_lenet_net = preset("caffe-lenet", classes=10, input_shape=(1, 28, 28))
lenet_300_100 = preset("mlp", classes=10, input_shape=(1, 28, 28))
