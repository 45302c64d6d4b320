# SPDX-License-Identifier: Apache-2.0
"""Optimizers against update rules written out by hand."""

from __future__ import annotations

import numpy as np
import torch

from fireforge.base.trial import Recipe
from fireforge.nets.families import NETWORKS, build_graph
from fireforge.nets.module import GraphModule
from fireforge.train.optimizer import make_optimizer, set_rate


def test_only_kernels_decay_and_every_parameter_is_trained() -> None:
    module = GraphModule(build_graph(NETWORKS["resnet-small"](10, input_shape=(1, 8, 8))))
    optimizer = make_optimizer(module, Recipe(epochs=1, weight_decay=0.25))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    names = dict(module.named_parameters())
    assert len(decay) == sum(len(group["params"]) for group in optimizer.param_groups) == len(names)
    for name, parameter in names.items():
        is_kernel = name.endswith(".weight") and "norm" not in name
        assert decay[id(parameter)] == (0.25 if is_kernel else 0.0), name
    assert any(decay.values())
    assert not all(decay.values())


def trace(optimizer: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights and bias of a 2 -> 1 layer after steps with the gradients (step + 1) * [1, -2] and step + 1."""
    layer = torch.nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2.0]]))
        layer.bias.fill_(3.0)
    recipe = Recipe.from_json({"epochs": 1, "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "optimizer": optimizer})
    made = make_optimizer(layer, recipe)
    for step in range(steps):
        layer.weight.grad = torch.tensor([[1.0, -2.0]]) * (step + 1)
        layer.bias.grad = torch.tensor([1.0]) * (step + 1)
        made.step()
    return layer.weight.detach().numpy()[0], layer.bias.detach().numpy()


def test_sgd_is_nesterov_momentum_with_decay_in_the_gradient_by_a_naive_loop() -> None:
    weight, bias = np.array([1.0, 2.0]), np.array([3.0])
    v_weight, v_bias = np.zeros(2), np.zeros(1)
    for step in range(3):
        g = np.array([1.0, -2.0]) * (step + 1) + 0.01 * weight
        v_weight = 0.9 * v_weight + g
        weight = weight - 0.1 * (g + 0.9 * v_weight)
        h = np.array([1.0]) * (step + 1)
        v_bias = 0.9 * v_bias + h
        bias = bias - 0.1 * (h + 0.9 * v_bias)
    found = trace("sgd", 3)
    np.testing.assert_allclose(found[0], weight, rtol=1e-6)  # float32 against double
    np.testing.assert_allclose(found[1], bias, rtol=1e-6)


def test_adamw_by_a_naive_loop_of_loshchilov_and_hutter_2019_algorithm_2() -> None:
    weight, bias = np.array([1.0, 2.0]), np.array([3.0])
    moments = [np.zeros(2), np.zeros(2), np.zeros(1), np.zeros(1)]

    def update(x: np.ndarray, g: np.ndarray, at: int, step: int, decay: float) -> np.ndarray:
        moments[at] = 0.9 * moments[at] + 0.1 * g
        moments[at + 1] = 0.999 * moments[at + 1] + 0.001 * g * g
        mean, square = moments[at] / (1 - 0.9 ** (step + 1)), moments[at + 1] / (1 - 0.999 ** (step + 1))
        return x - 0.1 * decay * x - 0.1 * mean / (np.sqrt(square) + 1e-8)

    for step in range(3):
        weight = update(weight, np.array([1.0, -2.0]) * (step + 1), 0, step, 0.01)
        bias = update(bias, np.array([1.0]) * (step + 1), 2, step, 0.0)
    found = trace("adamw", 3)
    np.testing.assert_allclose(found[0], weight, rtol=1e-5)  # float32; a division by a root of small squares
    np.testing.assert_allclose(found[1], bias, rtol=1e-5)


def test_without_momentum_sgd_is_plain_gradient_descent() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(layer.weight, 1.0)
    made = make_optimizer(layer, Recipe(epochs=1, lr=0.5, momentum=0.0, weight_decay=0.0))
    for _ in range(2):
        layer.weight.grad = torch.tensor([[0.25]])
        made.step()
    assert layer.weight.item() == 0.75  # exact in binary


def test_biases_may_have_a_rate_of_their_own_and_what_is_frozen_has_none() -> None:
    layer = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2), torch.nn.Linear(2, 2))
    layer[2].weight.requires_grad_(False)
    made = make_optimizer(layer, Recipe(epochs=1, bias_times=64.0))
    set_rate(made, 0.5)
    rates = {id(p): (group["lr"], group["weight_decay"]) for group in made.param_groups for p in group["params"]}
    names = {name: rates.get(id(p)) for name, p in layer.named_parameters()}
    quick, still = (32.0, 0.0), (0.5, 0.0)
    assert names == {
        "0.weight": (0.5, 5e-4),
        "0.bias": quick,
        "1.weight": still,
        "1.bias": quick,
        "2.weight": None,
        "2.bias": quick,
    }
