# SPDX-License-Identifier: Apache-2.0
"""A named point of a family: the function that a line of NETWORKS holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fireforge.base.spec import NetSpec, Param

Preset = Callable[..., NetSpec]  # called as preset(classes, input_shape=(C, H, W), params={...}); all have defaults


def preset(
    family: str,
    own: Mapping[str, Param] | None = None,
    *,
    classes: int = 1000,
    input_shape: tuple[int, int, int] = (3, 224, 224),
) -> Preset:
    """A function from classes, input shape and differing parameters to a NetSpec.

    Args:
      family: a name of FAMILIES.
      own: parameters in which the network differs from the family's defaults.
      classes: outputs, where the caller names none.
      input_shape: (C, H, W), where the caller names none.

    Returns:
      The preset; what a caller gives as `params` stands before `own`.

    Example:
      >>> spec = preset("resnet", {"blocks": 1}, classes=10, input_shape=(3, 32, 32))(7, params={"width": 8})
      >>> spec.classes, spec.input_shape, spec.params
      (7, (3, 32, 32), {'blocks': 1, 'width': 8})
    """
    usual = (classes, input_shape)

    def named(
        classes: int = usual[0],
        *,
        input_shape: tuple[int, int, int] = usual[1],
        params: Mapping[str, Param] | None = None,
    ) -> NetSpec:
        given: dict[str, Param] = {**(own or {}), **(params or {})}
        return NetSpec(family=family, params=given, classes=classes, input_shape=input_shape)

    return named
