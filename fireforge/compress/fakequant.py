# SPDX-License-Identifier: Apache-2.0
"""A quantized Model as a module that trains: every number that the plan rounds is rounded in the forward pass too."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Node
from fireforge.base.infer import filled
from fireforge.base.meaning import BIASED
from fireforge.base.model import Model, dense
from fireforge.base.ops.kinds import MOVERS
from fireforge.base.quant import RANGES, Quantization
from fireforge.base.regions import find_regions
from fireforge.compress.int8 import rounded
from fireforge.nets.functions import FUNCTIONS

MOMENTUM = 0.02  # share of a batch in the moving average of a range
FLAT = (-127, 127)  # integers of a weight
WIDE = RANGES["int32"]  # integers of a bias
FULL = 255  # steps from end to end of a uint8


class FakeQuant(nn.Module):
    """The network of a quantized model, float outside, whole steps inside.

    Weights and biases are trained in steps of their own integers: an update of a given size then means as much to a
    channel of small weights as to one of great weights, and training does not depend on how the channels are scaled.
    A weight's scale follows the weight, max |w| / 127 for each channel. An activation's range follows a moving average
    of the batches' ends until `freeze`, and rests from then on; that of the input rests always. Gradients pass
    straight through the rounding where a number is within the range, and are 0 where it is clipped. All that the plan
    does not name stays as it is.

    Args:
      model: with a plan whose activations are uint8; its weights may be Affine or, better, still real numbers.

    Raises:
      FireforgeError: BAD_STAGE, if there is no such plan.

    Source:
      Jacob et al. 2018, section 3; Bengio et al. 2013 (straight-through). Steps as the unit of training are ours.
    """

    low: Tensor
    high: Tensor

    def __init__(self, model: Model) -> None:
        super().__init__()
        plan = model.quant
        if plan is None or any(q.dtype != "uint8" for q in plan.activations.values()):
            raise FireforgeError("BAD_STAGE", "a model without a plan of uint8 activations", do="int8 first")
        self.model, self.plan = model, plan
        self.regions = find_regions(model.graph)
        self.moving = True
        groups = [group for group in self.regions.groups if group[0] in plan.activations]
        self.group = {name: place for place, group in enumerate(groups) for name in group}
        held = [plan.activations[group[0]] for group in groups]
        ends = [[(end - q.zero_point[0]) * q.scale[0] for q in held] for end in (0, FULL)]
        self.register_buffer("low", torch.tensor(ends[0], dtype=torch.float64))
        self.register_buffer("high", torch.tensor(ends[1], dtype=torch.float64))
        self.steps = [(node, filled(node)) for node in model.graph.nodes]
        self.passed = {name for node in model.graph.nodes if self._passes(node) for name in node.outputs}
        self.whole = {node.name for node in self.regions.layers if self._whole(node)}
        self._hold_weights()

    def freeze(self) -> None:
        """Let the activations' ranges rest."""
        self.moving = False

    def forward(self, x: Tensor) -> Tensor:
        """Run the network.

        Args:
          x: float32 (N, C, H, W), normalized.

        Returns:
          The first output, such as logits (N, K).
        """
        values: dict[str, Any] = {"": None, **self._fixed(), **self._real()}
        scales = {}
        for name, quantization in self.plan.weights.items():
            scales[name] = self._weight_scale(name, values[name], quantization.axis)
            values[name] = _round(values[name], scales[name], 0, FLAT)
        source = self.model.graph.inputs[0].name
        values[source] = self._activation(source, x)
        for node, attrs in self.steps:
            operands = [values[name] for name in node.inputs]
            if node.name in self.whole:
                step = scales[node.inputs[1]].flatten() * self._scale(self.group[node.inputs[0]])[0]
                operands[2] = _round(operands[2], step, 0, WIDE)
            for name, result in zip(node.outputs, FUNCTIONS[node.op](operands, attrs, False)):
                values[name] = self._activation(name, result)
        found: Tensor = values[self.model.graph.outputs[0]]
        return found

    def trained(self) -> Model:
        """The model with its present numbers.

        Returns:
          Weights as Affine integers, biases as Dense, and the plan.
        """
        arrays = self.model.arrays()
        with torch.no_grad():
            arrays |= {name: value.cpu().numpy().astype(arrays[name].dtype) for name, value in self._real().items()}
            found = [tuple(float(part) for part in self._scale(place)) for place in range(len(self.low))]
        activations = {
            name: Quantization(scale=(found[place][0],), zero_point=(int(found[place][1]),), dtype="uint8")
            for name, place in self.group.items()
        }
        method = f"{self.plan.method}, trained on"
        return rounded(self.model.replace(weights=dense(arrays)), self.regions, activations, method=method)

    def _hold_weights(self) -> None:
        """Parameters in steps of integers for weights and their biases, buffers for all else."""
        arrays = self.model.arrays()
        units: dict[str, Tensor] = {}
        for node in self.regions.layers:
            if node.inputs[1] not in self.plan.weights:
                continue
            quantization = self.plan.weights[node.inputs[1]]
            scale = np.asarray(quantization.scale, np.float32)
            units[node.inputs[1]] = torch.from_numpy(_along(scale, arrays[node.inputs[1]], quantization.axis))
            if node.name in self.whole:  # one unit does as much as one step of a weight on the greatest input
                reach = self.plan.activations[node.inputs[0]].scale[0] * FULL
                units[node.inputs[2]] = torch.from_numpy(
                    np.resize(scale * np.float32(reach), arrays[node.inputs[2]].shape)
                )
        self.trained_names, self.fixed_names = tuple(units), tuple(name for name in arrays if name not in units)
        self.parts = nn.ParameterList(torch.from_numpy(arrays[name]) / unit for name, unit in units.items())
        for place, unit in enumerate(units.values()):
            self.register_buffer(f"unit{place}", unit)
        for place, name in enumerate(self.fixed_names):
            self.register_buffer(f"fixed{place}", torch.from_numpy(np.array(arrays[name])))

    def _real(self) -> dict[str, Tensor]:
        units = [getattr(self, f"unit{place}") for place in range(len(self.parts))]
        return {name: part * unit for name, part, unit in zip(self.trained_names, self.parts, units)}

    def _fixed(self) -> dict[str, Tensor]:
        return {name: getattr(self, f"fixed{place}") for place, name in enumerate(self.fixed_names)}

    def _weight_scale(self, name: str, weight: Tensor, axis: int | None) -> Tensor:
        others = [place for place in range(weight.ndim) if place != axis]
        peak = weight.detach().abs().amax(dim=others, keepdim=True)
        scale = (peak.double() / FLAT[1]).float()
        return torch.where(scale > 0, scale, torch.ones_like(scale))

    def _activation(self, name: str, x: Tensor) -> Tensor:
        """The tensor in whole steps, where the plan holds it in integers and it is not in them already."""
        if name not in self.group or name in self.passed:
            return x
        place = self.group[name]
        if self.moving and self.training and name != self.model.graph.inputs[0].name:
            low, high = x.detach().aminmax()
            self.low[place] += MOMENTUM * (low.clamp(max=0) - self.low[place])
            self.high[place] += MOMENTUM * (high.clamp(min=0) - self.high[place])
        scale, zero = self._scale(place)
        return _round(x, scale, zero, (0, FULL))

    def _scale(self, place: int) -> tuple[Tensor, Tensor]:
        """Scale and zero point of a group, float32 (), as `fireforge.base.quant.affine_of_range` makes them."""
        scale = ((self.high[place] - self.low[place]) / FULL).float()
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        return scale, (-self.low[place] / scale.double()).round().clamp(0, FULL).float()

    def _passes(self, node: Node) -> bool:
        """Whether a node only moves numbers of one group, which are whole steps already."""
        sources = node.inputs if node.op == "Concat" else node.inputs[:1]
        places = {self.group.get(name, -1) for name in (*sources, *node.outputs)}
        return node.op in MOVERS and len(places) == 1 and -1 not in places

    def _whole(self, node: Node) -> bool:
        """Whether the layer's bias is added in integers; see `fireforge.base.meaning`."""
        attrs: Any = filled(node)
        plain = node.op in BIASED and attrs.get("alpha", 1) == 1 and attrs.get("beta", 1) == 1
        bias = node.inputs[2] if len(node.inputs) > 2 else ""
        known = bias in self.model.weights and bias not in self.plan.weights and node.inputs[0] in self.group
        return plain and known and node.inputs[1] in self.plan.weights


class _Rounding(torch.autograd.Function):
    """Real numbers to whole steps and back; the gradient is 1 within the ends and 0 beyond."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero: Tensor | int, ends: tuple[int, int]) -> Tensor:
        whole = torch.round(x / scale) + zero  # ties to even
        held = whole.clamp(*ends)
        ctx.save_for_backward(whole == held)
        return (held - zero) * scale

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        return grads[0] * ctx.saved_tensors[0], None, None, None


def _round(x: Tensor, scale: Tensor, zero: Tensor | int, ends: tuple[int, int]) -> Tensor:
    result: Tensor = _Rounding.apply(x, scale, zero, ends)  # type: ignore[no-untyped-call]
    return result


def _along(scale: np.ndarray, weight: np.ndarray, axis: int | None) -> np.ndarray:
    shape = [1] * weight.ndim
    if axis is not None:
        shape[axis] = -1
    return scale.reshape(shape)
