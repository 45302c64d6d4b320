# SPDX-License-Identifier: Apache-2.0
"""SGD that turns kernels, against torch's own optimizers and a singular value decomposition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fireforge.base.trial import Recipe
from fireforge.nets.families import NETWORKS, build_graph
from fireforge.nets.module import GraphModule, initialise
from fireforge.train.muon import POLYNOMIAL, ROUNDS, orthogonal, turn
from fireforge.train.optimizer import make_optimizer, set_rate
from fireforge.train.step import make_tools, train_step

SHAPES = [(8, 27), (16, 16), (32, 4, 3, 3), (24, 1, 3, 3)]  # the last one has more filters than numbers a filter


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def matrix(tensor: torch.Tensor) -> np.ndarray:
    return tensor.reshape(len(tensor), -1).double().numpy()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_step_is_that_of_torchs_muon_on_the_matrix(shape: tuple[int, ...]) -> None:
    gradient = random(*shape).reshape(shape[0], -1)
    theirs = torch.nn.Parameter(torch.zeros_like(gradient))
    theirs.grad = gradient.clone()
    torch.optim.Muon([theirs], lr=1.0, weight_decay=0.0, momentum=0.0, nesterov=False, ns_steps=ROUNDS).step()
    tall = max(1.0, gradient.shape[0] / gradient.shape[1]) ** 0.5  # torch's factor for matrices of many rows
    np.testing.assert_allclose(matrix(orthogonal(gradient)), -matrix(theirs.detach()) / tall, atol=0.02)  # bfloat16


@pytest.mark.parametrize("shape", SHAPES)
def test_directions_stay_and_singular_values_follow_the_polynomial(shape: tuple[int, ...]) -> None:
    gradient = matrix(random(*shape, seed=1))
    left, sizes, right = np.linalg.svd(gradient, full_matrices=False)
    sizes = sizes / np.linalg.norm(gradient)
    a, b, c = POLYNOMIAL
    for _ in range(ROUNDS):
        sizes = a * sizes + b * sizes**3 + c * sizes**5
    found = orthogonal(torch.from_numpy(gradient).float()).double().numpy()
    assert np.linalg.norm(found - left * sizes @ right) < 0.02 * np.linalg.norm(found)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_kernel_turns_by_the_angle_and_keeps_its_norm(shape: tuple[int, ...]) -> None:
    kernel, change = 3 * random(*shape), random(*shape, seed=1)
    before = kernel.clone()
    turn(kernel, change, angle=0.05)
    assert kernel.norm().item() == pytest.approx(before.norm().item(), rel=1e-5)
    left, _, right = np.linalg.svd(matrix(change), full_matrices=False)
    moved, wanted = matrix(kernel - before), -left @ right
    cosine = (moved * wanted).sum() / np.linalg.norm(moved) / np.linalg.norm(wanted)
    assert cosine > 0.9  # what the step has along the kernel is taken back, and three rounds are not all
    angle = math.acos((matrix(kernel) * matrix(before)).sum() / np.linalg.norm(matrix(before)) ** 2)
    rank = min(matrix(change).shape)
    assert angle == pytest.approx(0.05 * math.sqrt(rank / shape[0]), rel=0.25)


def test_a_kernel_of_zeros_is_not_stuck() -> None:
    kernel = torch.zeros(4, 2, 3, 3)
    turn(kernel, random(4, 2, 3, 3), angle=0.1)
    assert kernel.norm().item() == pytest.approx(2.0, rel=1e-5)
    still = kernel.clone()
    turn(kernel, torch.zeros(4, 2, 3, 3), angle=0.1)
    torch.testing.assert_close(kernel, still)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_all_that_is_no_convolution_steps_as_torchs_sgd(momentum: float) -> None:
    def stepped(kind: str) -> list[torch.Tensor]:
        layer = torch.nn.Linear(3, 2)
        with torch.no_grad():
            layer.weight.copy_(random(2, 3))
            layer.bias.copy_(random(2, seed=1))
        recipe = Recipe(epochs=1, momentum=momentum, weight_decay=0.01, bias_times=8.0)
        made = make_optimizer(layer, Recipe.from_json({**recipe.to_json(), "optimizer": kind}))
        for step in range(4):
            set_rate(made, 0.1 / (step + 1))
            layer.weight.grad, layer.bias.grad = random(2, 3, seed=step + 2), random(2, seed=step + 9)
            made.step()
        return [p.detach() for p in layer.parameters()]

    for ours, theirs in zip(stepped("muon"), stepped("sgd"), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_convolutions_turn_with_the_rate_and_do_not_decay() -> None:
    module = GraphModule(build_graph(NETWORKS["resnet-small"](10, input_shape=(1, 8, 8))))
    made = make_optimizer(module, Recipe(epochs=1, lr=0.5, optimizer="muon", turn=0.1, weight_decay=0.25))
    set_rate(made, 0.25)  # half of the greatest one
    names = {id(p): name for name, p in module.named_parameters()}
    seen = {names[id(p)]: group for group in made.param_groups for p in group["params"]}
    assert len(seen) == len(names)
    for name, parameter in module.named_parameters():
        group = seen[name]
        assert group["turned"] == (parameter.ndim == 4), name
        assert group["lr"] == pytest.approx(0.05 if parameter.ndim == 4 else 0.25), name
        assert group["weight_decay"] == (0.25 if parameter.ndim == 2 else 0.0), name


def test_channels_last_changes_rounding_alone() -> None:
    def trained(layout: str) -> dict[str, torch.Tensor]:
        module = GraphModule(build_graph(NETWORKS["resnet-small"](10, input_shape=(3, 8, 8))))
        initialise(module, 0)
        recipe = Recipe.from_json({"epochs": 1, "lr": 0.1, "optimizer": "muon", "layout": layout})
        tools = make_tools(module.train(), recipe, torch.device("cpu"))
        targets = torch.eye(10)
        for step in range(3):
            train_step(tools, (random(10, 3, 8, 8, seed=step), targets), rate=0.1, recipe=recipe)
        return module.state_dict()

    plain, last = trained("contiguous"), trained("channels_last")
    for name in plain:
        torch.testing.assert_close(plain[name], last[name], atol=2e-2, rtol=2e-2)
