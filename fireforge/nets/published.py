# SPDX-License-Identifier: Apache-2.0
"""What was printed of the networks, by their names in NETWORKS."""

from __future__ import annotations

from fireforge.base.published import Published
from fireforge.nets.published_modern import MODERN

CAFFE = "the readme of Caffe's model zoo"
VGG = "Simonyan and Zisserman, Very Deep Convolutional Networks; torchvision's documentation"
DENSE = "accuracy at one scale, the network laid over the whole picture"

PUBLISHED: dict[str, Published] = {
    "alexnet": Published(
        source=CAFFE,
        year=2012,
        params=60_965_224,
        size="240MB",
        top1=57.1,
        top5=80.2,
        note="227 px; the size is that of Iandola et al. and Han et al.",
    ),
    "alexnet-owt": Published(
        source="Krizhevsky, One weird trick; torchvision's documentation",
        year=2014,
        params=61_100_840,
        gmacs="0.71",
        top1=56.52,
        top5=79.07,
    ),
    "alexnet-paper": Published(
        source="Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks",
        year=2012,
        note="227 px; errors of 40.7 % and 18.2 % on the mean of ten crops",
    ),
    "alexnet-ungrouped": Published(source="Iandola et al., FireCaffe", year=2016, size="249MB", note="227 px"),
    "caffe-lenet": Published(
        source="Han et al., Deep Compression", year=2016, size="1720KB", note="MNIST, error 0.80 %"
    ),
    "caffenet": Published(source=CAFFE, year=2012, top1=57.4, top5=80.4, note="227 px"),
    "googlenet": Published(source=CAFFE, year=2014, top1=68.7, top5=88.9),
    "googlenet-aux": Published(
        source="Iandola et al., FireCaffe",
        year=2016,
        size="53MB",
        top1=68.3,
        top5=88.7,
        note="the size is what training sends, the heads included",
    ),
    "lenet-300-100": Published(
        source="Han et al., Deep Compression", year=2016, size="1070KB", note="MNIST, error 1.64 %"
    ),
    "lenet-5": Published(
        source="LeCun et al., Gradient-Based Learning Applied to Document Recognition",
        year=1998,
        params=60_000,
        note="MNIST, error 0.95 %",
    ),
    "nin": Published(source="Iandola et al., FireCaffe", year=2016, size="30MB"),
    "squeezenet-1.0": Published(
        source="Iandola et al., SqueezeNet, and its repository",
        year=2016,
        params=1_248_424,
        gmacs="0.86",
        size="4.8MB",
        top1=57.5,
        top5=80.3,
        note="227 px",
    ),
    "squeezenet-1.0-complex-bypass": Published(
        source="Iandola et al., SqueezeNet, table 3",
        year=2016,
        size="7.7MB",
        top1=58.8,
        top5=82.0,
        note="227 px; the convolutions of the text make 6.06 MiB, not the size in print",
    ),
    "squeezenet-1.0-simple-bypass": Published(
        source="Iandola et al., SqueezeNet, table 3",
        year=2016,
        size="4.8MB",
        top1=60.4,
        top5=82.5,
        note="227 px",
    ),
    "squeezenet-1.1": Published(
        source="Iandola et al., SqueezeNet's repository",
        year=2016,
        params=1_235_496,
        gmacs="0.36",
        top1=57.5,
        top5=80.3,
        note="0.72 GFLOPS in print; at 227 px there are 0.388 GMACs; accuracy 'the same as 1.0'",
    ),
    "vgg-a": Published(
        source=VGG,
        year=2014,
        params=132_863_336,
        gmacs="7.61",
        top1=70.4,
        top5=89.6,
        note=DENSE,
    ),
    "vgg-a-lrn": Published(
        source=VGG,
        year=2014,
        top1=70.3,
        top5=89.5,
        note=DENSE,
    ),
    "vgg-b": Published(
        source=VGG,
        year=2014,
        params=133_047_848,
        gmacs="11.31",
        top1=71.3,
        top5=90.1,
        note=DENSE,
    ),
    "vgg-c": Published(
        source=VGG,
        year=2014,
        top1=71.9,
        top5=90.6,
        note=f"134 million parameters; {DENSE}",
    ),
    "vgg-d": Published(
        source=VGG,
        year=2014,
        params=138_357_544,
        gmacs="15.47",
        size="552MB",
        top1=73.0,
        top5=91.2,
        note=f"the size is that of Han et al.; {DENSE}",
    ),
    "vgg-e": Published(
        source=VGG,
        year=2014,
        params=143_667_240,
        gmacs="19.63",
        size="575MB",
        top1=72.7,
        top5=91.0,
        note=f"the size is that of Iandola et al.; {DENSE}",
    ),
    **MODERN,
}
