# SPDX-License-Identifier: Apache-2.0
"""The network families and the named presets."""

from __future__ import annotations

from collections.abc import Callable

from fireforge.base.errors import lookup
from fireforge.base.graph import Graph
from fireforge.base.spec import NetSpec
from fireforge.nets import (
    airbench,
    alexnet,
    firenet,
    googlenet,
    lenet,
    mobilenet_v1,
    mobilenet_v3,
    nin,
    regnet,
    resnet,
    resnext,
    shufflenet,
    vgg,
)
from fireforge.nets.convnet import convnet, small_convnet
from fireforge.nets.fillers import Filler
from fireforge.nets.given import GIVEN, given
from fireforge.nets.mobilenet import mobilenet, mobilenet_v2, small_mobilenet

FAMILIES: dict[str, Callable[[NetSpec], Graph]] = {
    "airbench": airbench.airbench,
    "alexnet": alexnet.alexnet,
    "caffe-lenet": lenet.caffe_lenet,
    "convnet": convnet,
    "firenet": firenet.firenet,
    "googlenet": googlenet.googlenet,
    "lenet-5": lenet.lenet_5,
    "mlp": lenet.mlp,
    "mobilenet": mobilenet,
    "mobilenet-v1": mobilenet_v1.mobilenet_v1,
    "mobilenet-v3": mobilenet_v3.mobilenet_v3,
    "nin": nin.nin,
    "regnet": regnet.regnet,
    "resnet": resnet.resnet,
    "shufflenet": shufflenet.shufflenet,
    "vgg": vgg.vgg,
}

# first weights as the authors of a family draw them; families that are not here take the rule of `initialise`
FILLERS: dict[str, Callable[[NetSpec], tuple[Filler, ...]]] = {
    "airbench": airbench.fillers,
    "alexnet": alexnet.fillers,
    "caffe-lenet": lenet.caffe_lenet_fillers,
    "firenet": firenet.fillers,
    "googlenet": googlenet.fillers,
    "lenet-5": lenet.lenet_5_fillers,
    "mobilenet-v3": mobilenet_v3.fillers,
    "nin": nin.fillers,
    "regnet": regnet.fillers,
    "resnet": resnet.fillers,
    "vgg": vgg.fillers,
}

# each is called as preset(classes, input_shape=(C, H, W), params={...}); all three have defaults
NETWORKS: dict[str, Callable[..., NetSpec]] = {
    "airbench-medium": airbench.airbench_medium,
    "airbench-small": airbench.airbench_small,
    "airbench94": airbench.airbench94,
    "alexnet": alexnet.alexnet_caffe,
    "alexnet-owt": alexnet.alexnet_owt,
    "alexnet-paper": alexnet.alexnet_paper,
    "alexnet-small": alexnet.small_alexnet,
    "alexnet-ungrouped": alexnet.alexnet_ungrouped,
    "caffe-lenet": lenet.caffe_lenet_net,
    "caffenet": alexnet.caffenet,
    "cifar-plain-20": resnet.cifar_plain_20,
    "cifar-plain-32": resnet.cifar_plain_32,
    "cifar-plain-44": resnet.cifar_plain_44,
    "cifar-plain-56": resnet.cifar_plain_56,
    "cifar-resnet-110": resnet.cifar_resnet_110,
    "cifar-resnet-20": resnet.cifar_resnet_20,
    "cifar-resnet-32": resnet.cifar_resnet_32,
    "cifar-resnet-44": resnet.cifar_resnet_44,
    "cifar-resnet-56": resnet.cifar_resnet_56,
    "convnet-small": small_convnet,
    "firenet-small": firenet.small_firenet,
    "googlenet": googlenet.googlenet_main,
    "googlenet-aux": googlenet.googlenet_aux,
    "googlenet-naive": googlenet.googlenet_naive,
    "googlenet-small": googlenet.small_googlenet,
    "lenet-300-100": lenet.lenet_300_100,
    "lenet-5": lenet.lenet_5_net,
    "mobilenet-small": small_mobilenet,
    "mobilenet-v1": mobilenet_v1.mobilenet_v1_224,
    "mobilenet-v1-small": mobilenet_v1.small_mobilenet_v1,
    "mobilenet-v2": mobilenet_v2,
    "mobilenet-v3-large": mobilenet_v3.mobilenet_v3_large,
    "mobilenet-v3-small": mobilenet_v3.mobilenet_v3_small,
    "mobilenet-v3-tiny": mobilenet_v3.tiny_mobilenet_v3,
    "nin": nin.nin_imagenet,
    "nin-small": nin.small_nin,
    "plain-18": resnet.plain_18,
    "plain-34": resnet.plain_34,
    "regnet-small": regnet.small_regnet,
    "regnetx-1.6gf": regnet.regnetx_1_6gf,
    "regnetx-200mf": regnet.regnetx_200mf,
    "regnetx-3.2gf": regnet.regnetx_3_2gf,
    "regnetx-400mf": regnet.regnetx_400mf,
    "regnetx-600mf": regnet.regnetx_600mf,
    "regnetx-800mf": regnet.regnetx_800mf,
    "regnety-1.6gf": regnet.regnety_1_6gf,
    "regnety-200mf": regnet.regnety_200mf,
    "regnety-3.2gf": regnet.regnety_3_2gf,
    "regnety-400mf": regnet.regnety_400mf,
    "regnety-600mf": regnet.regnety_600mf,
    "regnety-800mf": regnet.regnety_800mf,
    "resnet-101": resnet.resnet_101,
    "resnet-152": resnet.resnet_152,
    "resnet-18": resnet.resnet_18,
    "resnet-20": resnet.resnet_20,
    "resnet-34": resnet.resnet_34,
    "resnet-50": resnet.resnet_50,
    "resnet-small": resnet.small_resnet,
    "resnext-101-32x4d": resnext.resnext_101_32x4d,
    "resnext-101-64x4d": resnext.resnext_101_64x4d,
    "resnext-50-32x4d": resnext.resnext_50_32x4d,
    "resnext-small": resnext.small_resnext,
    "shufflenet-small": shufflenet.small_shufflenet,
    "shufflenet-v2-0.5": shufflenet.shufflenet_v2_0_5,
    "shufflenet-v2-1.0": shufflenet.shufflenet_v2_1_0,
    "shufflenet-v2-1.5": shufflenet.shufflenet_v2_1_5,
    "shufflenet-v2-2.0": shufflenet.shufflenet_v2_2_0,
    "squeezenet-1.0": firenet.squeezenet_1_0,
    "squeezenet-1.0-complex-bypass": firenet.squeezenet_complex_bypass,
    "squeezenet-1.0-simple-bypass": firenet.squeezenet_simple_bypass,
    "squeezenet-1.1": firenet.squeezenet_1_1,
    "vgg-a": vgg.vgg_a,
    "vgg-a-lrn": vgg.vgg_a_lrn,
    "vgg-b": vgg.vgg_b,
    "vgg-c": vgg.vgg_c,
    "vgg-d": vgg.vgg_d,
    "vgg-e": vgg.vgg_e,
    "vgg-small": vgg.small_vgg,
}


def build_graph(spec: NetSpec) -> Graph:
    """The Graph that a specification names.

    Args:
      spec: family, parameters, classes and input shape.

    Returns:
      The Graph; equal specifications give equal graphs. A specification of the family "given" holds its own.

    Raises:
      FireforgeError: UNKNOWN_NAME or BAD_SPEC, if the family or a parameter is unknown, or they make no network.
    """
    return given(spec) if spec.family == GIVEN else lookup(FAMILIES, spec.family, "network family")(spec)


def fillers_of(spec: NetSpec) -> tuple[Filler, ...]:
    """How the authors of a network draw its first weights.

    Args:
      spec: of a family of FAMILIES.

    Returns:
      Fillers for `fireforge.nets.module.initialise`; none where the family has no rule of its own.
    """
    return FILLERS[spec.family](spec) if spec.family in FILLERS else ()
