# SPDX-License-Identifier: Apache-2.0
"""ResNeXt (Xie et al. 2017): presets of the family "resnet" whose bottlenecks have a grouped 3x3 convolution.

"32x4d" says 32 groups of 4 filters in the first stage; a group's filters double at each stage, the groups stay.
"""

from __future__ import annotations

from fireforge.nets.preset import preset
from fireforge.nets.resnet import BOTTLENECK, for_cifar

resnext_50_32x4d = preset("resnet", {**BOTTLENECK, "depths": "3,4,6,3", "groups": 32, "group_width": 4})
resnext_101_32x4d = preset("resnet", {**BOTTLENECK, "depths": "3,4,23,3", "groups": 32, "group_width": 4})
resnext_101_64x4d = preset("resnet", {**BOTTLENECK, "depths": "3,4,23,3", "groups": 64, "group_width": 4})

# section 5.2's 29 layers of three stages; the paper's stages put out 256, 512 and 1024 filters, these a quarter
small_resnext = for_cifar({"block": "bottleneck", "widths": "16,32,64", "stem": 16, "groups": 8, "group_width": 4})
