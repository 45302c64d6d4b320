# SPDX-License-Identifier: Apache-2.0
"""A network that no family made: its whole graph stands in the specification, such as that of an imported model."""

from __future__ import annotations

import json

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph
from fireforge.base.infer import infer
from fireforge.base.spec import NetSpec, Param
from fireforge.base.value import canonical_json

GIVEN = "given"  # what its family is called


def given_spec(graph: Graph, *, source: str = "", licence: str = "") -> NetSpec:
    """The specification of any graph.

    Args:
      graph: one image input (N, C, H, W); its first output is (N, K).
      source: where its first numbers come from, in words.
      licence: of these numbers.

    Returns:
      A specification that `given` turns into the graph; equal graphs have equal ones.

    Raises:
      FireforgeError: BAD_GRAPH, if the graph takes or makes something else.
    """
    taken, made = graph.inputs[0].shape[1:], infer(graph)[graph.outputs[0]].shape[1:]
    sizes = [size for size in (*taken, *made) if isinstance(size, int)]
    if len(graph.inputs) != 1 or (len(taken), len(made), len(sizes)) != (3, 1, 4):
        raise FireforgeError("BAD_GRAPH", f"takes {taken} and makes {made}", allowed="(C, H, W) to (classes,)")
    channels, height, width, classes = sizes
    text = canonical_json(graph.to_json())
    params: dict[str, Param] = {"graph": text, "source": source, "licence": licence}
    return NetSpec(family=GIVEN, params=params, classes=classes, input_shape=(channels, height, width))


def given(spec: NetSpec) -> Graph:
    """The graph that a specification holds.

    Args:
      spec: as `given_spec` makes it.

    Returns:
      The graph.

    Raises:
      FireforgeError: BAD_SPEC, if it holds none, or one of other classes or another input.
    """
    try:
        graph = Graph.from_json(json.loads(str(spec.params.get("graph", ""))))
    except (json.JSONDecodeError, RecursionError) as error:
        raise FireforgeError("BAD_SPEC", f"no graph in it: {error}", where=GIVEN) from error
    if given_spec(graph).replace(params={}) != spec.replace(params={}):
        raise FireforgeError(
            "BAD_SPEC", f"its graph is not for {spec.classes} classes of {spec.input_shape}", where=GIVEN
        )
    return graph
