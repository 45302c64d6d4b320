# SPDX-License-Identifier: Apache-2.0
"""Every printed figure against what is counted; exact counts of a family stand in its own test."""

from __future__ import annotations

import re

import pytest

from fireforge.cost.count import count
from fireforge.nets.families import NETWORKS, build_graph
from fireforge.nets.published import PUBLISHED

UNITS = {"KB": (1e3, 2**10), "MB": (1e6, 2**20)}  # papers mean either
# what the authors count in another way than is counted here, with the shares by which it differs
OTHERWISE = {
    "resnet-50": (0.077, "their stride is on the first 1x1 convolution"),
    "resnet-101": (0.027, "the same"),
    "resnet-152": (0.019, "the same"),
    "resnext-101-32x4d": (0.022, "about 7.8 in print"),
    "resnext-101-64x4d": (0.01, "about 15.6 in print"),
    "squeezenet-1.1": (0.078, "0.72 GFLOPS in print"),
    "mobilenet-v3-large": (0.012, "217 of their code's counter, 219 of their table"),
    **dict.fromkeys(("shufflenet-v2-0.5", "shufflenet-v2-1.0", "shufflenet-v2-1.5", "shufflenet-v2-2.0"), (0.014, "")),
    "vgg-d": (0.003, "552 MB of Han et al., 553.4 by its parameters"),
    "squeezenet-1.0-complex-bypass": (0.22, "the convolutions of the text do not make the size in print"),
}


def test_every_figure_belongs_to_a_network():
    assert set(PUBLISHED) <= set(NETWORKS)
    assert set(OTHERWISE) <= set(PUBLISHED)


def unit(printed: str) -> float:
    """What the last digit stands for; noughts at the end of whole numbers are no digits: 10 for "240"."""
    if "." in printed:
        return 10.0 ** -len(printed.partition(".")[2])
    return 10.0 ** (len(printed) - len(printed.rstrip("0")))


def agrees(name: str, counted: float, printed: str) -> bool:
    """Whether a count is the one in print, rounded or cut off; for those of OTHERWISE within a share."""
    away = abs(counted - float(printed))
    if name in OTHERWISE and away >= unit(printed):
        return away <= OTHERWISE[name][0] * float(printed)
    return away < unit(printed)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_figures_as_printed(name):
    """Parameters exact; multiply-adds and sizes to the last digit in print, sizes in 1000s or 1024s."""
    row, cost = PUBLISHED[name], count(build_graph(NETWORKS[name]()))
    assert row.params in (None, cost.params)
    if row.gmacs:
        assert agrees(name, cost.macs / 1e9, row.gmacs)
    if row.size:
        number, scale = re.fullmatch(r"([\d.]+)([KM]B)", row.size).groups()
        assert any(agrees(name, cost.weight_bytes / one, number) for one in UNITS[scale])
    for share in (row.top1, row.top5):
        assert share is None or 50 < share < 100
    assert row.top1 is None or row.top5 is None or row.top1 < row.top5
