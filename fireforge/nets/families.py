# SPDX-License-Identifier: Apache-2.0
"""The network families and the named presets."""

from __future__ import annotations

from collections.abc import Callable

from fireforge.base.errors import lookup
from fireforge.base.graph import Graph
from fireforge.base.spec import NetSpec
from fireforge.nets.convnet import convnet, small_convnet
from fireforge.nets.fillers import Filler
from fireforge.nets.firenet import firenet, small_firenet, squeezenet_1_0, squeezenet_1_1
from fireforge.nets.mobilenet import mobilenet, mobilenet_v2, small_mobilenet
from fireforge.nets.resnet import resnet, resnet_20, small_resnet

FAMILIES: dict[str, Callable[[NetSpec], Graph]] = {
    "convnet": convnet,
    "firenet": firenet,
    "mobilenet": mobilenet,
    "resnet": resnet,
}

# first weights as the authors of a family draw them; families that are not here take the rule of `initialise`
FILLERS: dict[str, Callable[[NetSpec], tuple[Filler, ...]]] = {}

# each is called as preset(classes, input_shape=(C, H, W), params={...}); all three have defaults
NETWORKS: dict[str, Callable[..., NetSpec]] = {
    "convnet-small": small_convnet,
    "firenet-small": small_firenet,
    "mobilenet-small": small_mobilenet,
    "mobilenet-v2": mobilenet_v2,
    "resnet-20": resnet_20,
    "resnet-small": small_resnet,
    "squeezenet-1.0": squeezenet_1_0,
    "squeezenet-1.1": squeezenet_1_1,
}


def build_graph(spec: NetSpec) -> Graph:
    """The Graph that a specification names.

    Args:
      spec: family, parameters, classes and input shape.

    Returns:
      The Graph; equal specifications give equal graphs.

    Raises:
      FireforgeError: UNKNOWN_NAME or BAD_SPEC, if the family or a parameter is unknown, or they make no network.
    """
    return lookup(FAMILIES, spec.family, "network family")(spec)


def fillers_of(spec: NetSpec) -> tuple[Filler, ...]:
    """How the authors of a network draw its first weights.

    Args:
      spec: of a family of FAMILIES.

    Returns:
      Fillers for `fireforge.nets.module.initialise`; none where the family has no rule of its own.
    """
    return FILLERS[spec.family](spec) if spec.family in FILLERS else ()
