# SPDX-License-Identifier: Apache-2.0
"""A network that was trained with auxiliary heads is delivered without them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from fireforge.base.reference import run_reference
from fireforge.base.trial import Recipe, Trial
from fireforge.cost.count import count
from fireforge.export.targets import pack
from fireforge.jobs.deliver import model_of
from fireforge.jobs.scene import look
from fireforge.nets.families import build_graph
from fireforge.nets.googlenet import small_googlenet
from fireforge.nets.module import GraphModule, load_arrays
from fireforge.runtime.onnx_runtime import OnnxSession
from fireforge.space.survey import counted
from fireforge.train.feed import Pictures, Ready
from fireforge.train.trial import run_trial
from fireforge.train.weights import read_weights


def test_heads_stay_behind(tmp_path: Path) -> None:
    """Reference: the first output of the module as it was trained; 1e-4 in ONNX Runtime, which fuses."""
    torch.set_num_threads(1)
    scene = look("digits", seed=0)
    params = {"aux": True, "width": 0.05, "pools": 0}
    spec = small_googlenet(10, input_shape=scene.input_shape, params=params)
    rows = np.arange(64)
    some = Pictures(pixels=scene.pixels["train"][rows], labels=rows % 10, ids=rows)
    recipe = Recipe(epochs=1, batch=32, lr=0.01)
    trial = Trial(spec=spec, recipe=recipe, data=scene.ref, preprocess=scene.preprocess)
    record = run_trial(trial, folder=tmp_path, ready=Ready(train=some, val=some), device="cpu", keep=False)
    model = model_of(scene, record, tmp_path)
    assert model.graph.outputs == ("logits",)
    assert not any(name.startswith("aux") for name in model.weights)
    whole = GraphModule(build_graph(spec)).eval()
    load_arrays(whole, read_weights(tmp_path / record.weights))
    x = np.random.default_rng(0).normal(size=(3, *scene.input_shape)).astype(np.float32)
    with torch.no_grad():
        wanted = whole(torch.from_numpy(x))[0].numpy()
    session = OnnxSession(pack(model))
    assert [output.name for output in session.outputs] == ["logits"]
    for got in (
        session.run({"input": x})["logits"],
        run_reference(model.graph, model.arrays(), {"input": x})["logits"],
    ):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


def test_heads_cost_in_training_and_not_in_the_file() -> None:
    params = {"width": 0.05, "pools": 0}
    plain, headed = (
        counted(small_googlenet(3, input_shape=(1, 8, 8), params={**params, "aux": aux})) for aux in (False, True)
    )
    assert plain is not None
    assert headed is not None
    assert headed.cost == count(build_graph(headed.spec))
    assert headed.cost.params > plain.cost.params
    assert (headed.bytes, headed.energy_mj) == (plain.bytes, plain.energy_mj)
