# SPDX-License-Identifier: Apache-2.0
"""A specification that holds its graph: there and back, and what it refuses."""

from __future__ import annotations

import pytest

from fireforge.base.errors import FireforgeError
from fireforge.base.spec import NetSpec
from fireforge.nets.families import NETWORKS, build_graph
from fireforge.nets.given import given_spec


def test_the_graph_comes_back_also_from_json() -> None:
    graph = build_graph(NETWORKS["squeezenet-1.1"](classes=5))
    spec = given_spec(graph, source="a file", licence="MIT")
    assert build_graph(NetSpec.from_json(spec.to_json())) == graph
    assert (spec.classes, spec.input_shape) == (5, (3, 227, 227))
    assert spec.digest() != given_spec(build_graph(NETWORKS["squeezenet-1.1"](classes=6))).digest()


@pytest.mark.parametrize("text", ["", "{}", "[1", "[" * 100_000, '{"inputs": 3}'])
def test_what_is_no_graph_is_refused(text: str) -> None:
    with pytest.raises(FireforgeError):
        build_graph(NetSpec(family="given", params={"graph": text}, classes=5, input_shape=(3, 8, 8)))


def test_a_graph_for_other_classes_is_refused() -> None:
    spec = given_spec(build_graph(NETWORKS["caffe-lenet"]()))
    with pytest.raises(FireforgeError, match="BAD_SPEC"):
        build_graph(spec.replace(classes=11))
