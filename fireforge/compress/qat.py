# SPDX-License-Identifier: Apache-2.0
"""Quantization-aware training: an 8-bit network learns to answer as the float network does."""

from __future__ import annotations

from fireforge.base.model import Model
from fireforge.base.record import StageReport
from fireforge.base.tensorform import Affine
from fireforge.compress.fakequant import FakeQuant
from fireforge.compress.int8 import quantized
from fireforge.compress.stage import Context, staged
from fireforge.nets.module import GraphModule, load_arrays

RATE = 0.1  # of Adam, in steps of the weights' integers


def qat(model: Model, ctx: Context) -> tuple[Model, StageReport]:
    """The stage "qat": see `retrained`.

    Args:
      model: float, batch norms folded; or one that `softened` gives, whose plan is taken.
      ctx: finetune, evaluate and deadline are used, and calibration for a model without a plan.

    Returns:
      The model with a QuantPlan and Affine weights, and the report.
    """
    return staged("qat", retrained, model, ctx=ctx)


def retrained(model: Model, ctx: Context) -> tuple[Model, tuple[str, ...]]:
    """The model in 8-bit integers, trained with every rounding of its plan in the forward pass.

    The teacher is the network without the roundings. Where nothing may be trained, or there is no time, it is what
    "int8" makes of the model.

    Args:
      model: float, or with a plan and weights that are still real numbers.
      ctx: see `qat`.

    Returns:
      The quantized model, and notes on what was done.

    Raises:
      FireforgeError: as in `fireforge.compress.int8.quantized`; DIVERGED, if the loss is not finite.

    Source:
      Jacob et al. 2018, section 3; Mishra and Marr 2018 (the float network as the teacher).
    """
    notes: tuple[str, ...] = ()
    if model.quant is None:
        made, notes = quantized(model, ctx)
        model = softened(made, model)
    student = FakeQuant(model)
    updates = 0
    if ctx.finetune is not None and not ctx.deadline.over():
        teacher = GraphModule(model.graph)
        load_arrays(teacher, model.arrays())
        updates = ctx.finetune(student, teacher, lr=RATE)
    head = f"{updates} updates with rounding in the forward pass" if updates else "nothing was trained"
    return student.trained(), (head, *notes)


def softened(made: Model, real: Model) -> Model:
    """A quantized model whose weights are real numbers again.

    Args:
      made: what the stage "int8" gave.
      real: the float model that it was made of.

    Returns:
      The plan and biases of the first, the weights of the second.
    """
    forms = {name: real.weights[name] if isinstance(form, Affine) else form for name, form in made.weights.items()}
    return made.replace(weights=forms)
