# SPDX-License-Identifier: Apache-2.0
"""The dataset formats by name, in the order in which a source is offered to them."""

from __future__ import annotations

from fireforge.data.formats.archive import ARCHIVE
from fireforge.data.formats.caffe import CAFFE
from fireforge.data.formats.cifar import CIFAR
from fireforge.data.formats.digits import DIGITS
from fireforge.data.formats.folder import FOLDER
from fireforge.data.formats.format import Format
from fireforge.data.formats.idx import IDX
from fireforge.data.formats.manifest import MANIFEST
from fireforge.data.formats.npz import NPZ
from fireforge.data.formats.parquet import PARQUET
from fireforge.data.formats.shards import SHARDS
from fireforge.data.formats.webdataset import WEBDATASET

FORMATS: dict[str, Format] = {
    item.name: item for item in (DIGITS, SHARDS, NPZ, PARQUET, CAFFE, IDX, CIFAR, MANIFEST, WEBDATASET, ARCHIVE, FOLDER)
}
