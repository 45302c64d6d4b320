# SPDX-License-Identifier: Apache-2.0
"""What was printed of the networks, by their names in NETWORKS."""

from __future__ import annotations

from fireforge.base.published import Published

PUBLISHED: dict[str, Published] = {
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
    "squeezenet-1.1": Published(
        source="Iandola et al., SqueezeNet's repository",
        year=2016,
        params=1_235_496,
        gmacs="0.39",
        top1=57.5,
        top5=80.3,
        note="227 px; accuracy 'the same as 1.0'",
    ),
}
