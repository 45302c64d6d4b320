# SPDX-License-Identifier: Apache-2.0
"""What was printed of the residual, mobile and regular networks, a table a paper."""

from __future__ import annotations

from collections.abc import Iterable

from fireforge.base.published import Published

# name, parameters, multiply-adds in billions, errors of the first and of the first five answers in percent, note
Row = tuple[str, int | None, str, float | None, float | None, str]


def _table(rows: Iterable[Row], *, source: str, year: int) -> dict[str, Published]:
    """Errors become accuracies; a name of NETWORKS to what was printed."""
    return {
        name: Published(
            source=source,
            year=year,
            params=params,
            gmacs=gmacs,
            top1=None if first is None else round(100 - first, 2),
            top5=None if five is None else round(100 - five, 2),
            note=note,
        )
        for name, params, gmacs, first, five, note in rows
    }


FIRST_1X1 = "MACs with the stride on the first 1x1; accuracy of the authors' files"
RESIDUAL = _table(
    (
        ("plain-18", None, "1.8", None, None, "error 27.94 % on ten crops"),
        ("plain-34", None, "3.6", None, None, "error 28.54 % on ten crops"),
        ("resnet-18", 11_689_512, "1.8", 30.43, 10.76, "accuracy of fb.resnet.torch; ten crops: error 27.88 %"),
        ("resnet-34", 21_797_672, "3.6", 26.73, 8.74, "accuracy of fb.resnet.torch; ten crops: 25.03 % (option A)"),
        ("resnet-50", 25_557_032, "3.8", 24.7, 7.8, f"{FIRST_1X1}; ten crops: errors 22.85 % and 6.71 %"),
        ("resnet-101", 44_549_160, "7.6", 23.6, 7.1, f"{FIRST_1X1}; ten crops: errors 21.75 % and 6.05 %"),
        ("resnet-152", 60_192_808, "11.3", 23.0, 6.7, f"{FIRST_1X1}; ten crops: errors 21.43 % and 5.71 %"),
        ("cifar-resnet-20", None, "", None, None, "0.27 million parameters; CIFAR-10, error 8.75 %"),
        ("cifar-resnet-32", None, "", None, None, "0.46 million parameters; CIFAR-10, error 7.51 %"),
        ("cifar-resnet-44", None, "", None, None, "0.66 million parameters; CIFAR-10, error 7.17 %"),
        ("cifar-resnet-56", None, "", None, None, "0.85 million parameters; CIFAR-10, error 6.97 %"),
        ("cifar-resnet-110", None, "", None, None, "1.7 million parameters; CIFAR-10, error 6.43 %"),
    ),
    source="He et al., Deep Residual Learning for Image Recognition; parameters of torchvision's documentation",
    year=2015,
)
GROUPED = _table(
    (
        ("resnext-50-32x4d", 25_028_904, "4.2", 22.2, None, ""),
        ("resnext-101-32x4d", 44_177_704, "7.8", 21.2, 5.6, "MACs of about 7.8 in print"),
        ("resnext-101-64x4d", 83_455_272, "15.6", 20.4, 5.3, "MACs of about 15.6 in print"),
    ),
    source="Xie et al., Aggregated Residual Transformations, and its repository; parameters of pytorchcv's tables",
    year=2016,
)
MOBILE_V1 = _table(
    (("mobilenet-v1", 4_231_976, "0.569", 29.4, None, "4.2 million parameters in print"),),
    source="Howard et al., MobileNets; parameters of pytorchcv's tables",
    year=2017,
)
MOBILE_V2 = _table(
    (("mobilenet-v2", 3_504_872, "0.300", 28.0, None, "3.4 million parameters in print"),),
    source="Sandler et al., MobileNetV2; parameters of torchvision's documentation",
    year=2018,
)
MOBILE_V3 = _table(
    (
        ("mobilenet-v3-large", 5_483_032, "0.219", 24.8, None, "5.4 million parameters in print; 0.217 in the code's"),
        ("mobilenet-v3-small", 2_542_856, "0.056", 32.6, None, "2.5 million parameters in print; first version 0.066"),
    ),
    source="Howard et al., Searching for MobileNetV3; parameters of torchvision's documentation",
    year=2019,
)
SHUFFLE = _table(
    (
        ("shufflenet-v2-0.5", 1_366_792, "0.041", 38.9, 17.4, ""),
        ("shufflenet-v2-1.0", 2_278_604, "0.146", 30.6, 11.1, ""),
        ("shufflenet-v2-1.5", 3_503_624, "0.299", 27.4, 9.4, ""),
        ("shufflenet-v2-2.0", 7_393_996, "0.591", 25.0, 7.6, ""),
    ),
    source="Ma et al., ShuffleNet V2, and its repository; parameters of torchvision's documentation",
    year=2018,
)
REGULAR = _table(
    (
        ("regnetx-200mf", 2_684_792, "0.2", 31.1, None, ""),
        ("regnetx-400mf", 5_157_512, "0.4", 27.3, None, ""),
        ("regnetx-600mf", 6_196_040, "0.6", 25.9, None, ""),
        ("regnetx-800mf", 7_259_656, "0.8", 24.8, None, ""),
        ("regnetx-1.6gf", 9_190_136, "1.6", 23.0, None, ""),
        ("regnetx-3.2gf", 15_296_552, "3.2", 21.7, None, ""),
        ("regnety-200mf", 3_162_996, "0.2", 29.6, None, ""),
        ("regnety-400mf", 4_344_144, "0.4", 25.9, None, ""),
        ("regnety-600mf", 6_055_160, "0.6", 24.5, None, ""),
        ("regnety-800mf", 6_263_168, "0.8", 23.7, None, ""),
        ("regnety-1.6gf", 11_202_430, "1.6", 22.0, None, ""),
        ("regnety-3.2gf", 19_436_338, "3.2", 21.0, None, ""),
    ),
    source="Radosavovic et al., Designing Network Design Spaces, and its model zoo; parameters of pytorchcv's tables",
    year=2020,
)
MODERN = {**RESIDUAL, **GROUPED, **MOBILE_V1, **MOBILE_V2, **MOBILE_V3, **SHUFFLE, **REGULAR}
