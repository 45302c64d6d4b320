# SPDX-License-Identifier: Apache-2.0
"""Protobuf's wire format against messages that protobuf itself wrote; cut and lying ones are refused."""

from __future__ import annotations

import pytest
from onnx import TensorProto

from fireforge.base.wire import LENGTH, VARINT, parts


def test_fields_are_those_that_protobuf_wrote():
    tensor = TensorProto(dims=[3, 2**40], data_type=1, name="weights", raw_data=b"x" * 300)
    data = tensor.SerializeToString()
    found = list(parts(data, 0, len(data)))
    assert [(part.number, part.wire) for part in found if part.wire == LENGTH] == [(8, LENGTH), (9, LENGTH)]
    assert [part.value for part in found if part.wire == VARINT] == [3, 2**40, 1]
    assert {data[part.start : part.stop] for part in found if part.wire == LENGTH} == {b"weights", b"x" * 300}
    assert found[-1].stop == len(data)


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_message_that_is_cut_is_refused(cut):
    data = TensorProto(name="weights", double_data=[0.5]).SerializeToString()
    whole = {part.stop for part in parts(data, 0, len(data))}
    if len(data) - cut in whole:
        return  # between two fields
    with pytest.raises(ValueError, match=r"left|cut off"):
        list(parts(data[:-cut], 0, len(data) - cut))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x0a\xff\xff\xff\xff\x7f", "are left"),
        (b"\x08" + b"\xff" * 11, "10 bytes"),
        (b"\x0b", "of kind 3"),
        (b"\x02\x00", "part 0"),
        (b"\x09\x00", "are left"),
    ],
)
def test_what_lies_is_refused(data, words):
    with pytest.raises(ValueError, match=words):
        list(parts(data, 0, len(data)))
