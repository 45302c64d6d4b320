# SPDX-License-Identifier: Apache-2.0
"""A network's specification: the family, its parameters, the classes and the input's shape."""

from __future__ import annotations

from dataclasses import dataclass, field

from fireforge.base.value import Value

Param = int | float | bool | str


@dataclass(frozen=True, kw_only=True)
class NetSpec(Value):
    """What a family's function turns into a Graph.

    Args:
      family: a name of `fireforge.nets.families.FAMILIES`, or "given" where params holds the whole graph.
      params: the family's own parameters; absent ones take the family's defaults.
      classes: outputs of the classifier.
      input_shape: (C, H, W) of one image.
    """

    family: str
    params: dict[str, Param] = field(default_factory=dict)
    classes: int
    input_shape: tuple[int, int, int]
