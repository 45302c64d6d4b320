# SPDX-License-Identifier: Apache-2.0
"""import_torch against the imported module itself: torch is the reference for every number here."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fireforge.base.errors import FireforgeError
from fireforge.base.reference import run_reference
from fireforge.cost.count import count
from fireforge.importers.torch_module import import_torch
from fireforge.nets.module import GraphModule, load_arrays

torch.set_num_threads(1)
# torch says so of an even kernel; the modules here have one so that the padding is uneven
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")


class Basic(nn.Module):
    def __init__(self, c: int, k: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c, k, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(k)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(k, k, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(k)
        self.downsample = None
        if stride != 1 or c != k:
            self.downsample = nn.Sequential(nn.Conv2d(c, k, 1, stride, bias=False), nn.BatchNorm2d(k))

    def forward(self, x):
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class Bottleneck(nn.Module):
    def __init__(self, c: int, k: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c, k, 1, bias=False), nn.BatchNorm2d(k)
        self.conv2, self.bn2 = nn.Conv2d(k, k, 3, stride, 1, groups=2, bias=False), nn.BatchNorm2d(k)
        self.conv3, self.bn3 = nn.Conv2d(k, 4 * k, 1, bias=False), nn.BatchNorm2d(4 * k)
        self.downsample = nn.Sequential(nn.Conv2d(c, 4 * k, 1, stride, bias=False), nn.BatchNorm2d(4 * k))

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        return F.relu(self.bn3(self.conv3(out)) + self.downsample(x))


class ResNetLike(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Basic(8, 8, 1), Basic(8, 12, 2))
        self.layer2 = nn.Sequential(Bottleneck(12, 6, 2))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(24, 7)

    def forward(self, x):
        x = self.maxpool(F.relu(self.bn1(self.conv1(x)), inplace=True))
        return self.fc(torch.flatten(self.avgpool(self.layer2(self.layer1(x))), 1))


class VggLike(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for c, k in ((3, 8), (8, 12)):
            layers += [nn.Conv2d(c, k, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2, 2)]
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((4, 4))
        self.classifier = nn.Sequential(
            nn.Linear(12 * 16, 20), nn.ReLU(True), nn.Dropout(0.5), nn.Linear(20, 20), nn.ReLU(True), nn.Dropout(),
            nn.Linear(20, 5)
        )  # fmt: skip

    def forward(self, x):
        x = self.avgpool(self.features(x))
        return self.classifier(x.view(x.size(0), -1))


class Inverted(nn.Module):
    def __init__(self, c: int, k: int, stride: int, expand: int) -> None:
        super().__init__()
        inner = c * expand
        self.residual = stride == 1 and c == k
        self.conv = nn.Sequential(
            nn.Conv2d(c, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU6(inplace=True),
            nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False), nn.BatchNorm2d(inner), nn.ReLU6(True),
            nn.Conv2d(inner, k, 1, bias=False), nn.BatchNorm2d(k),
        )  # fmt: skip

    def forward(self, x):
        return x + self.conv(x) if self.residual else self.conv(x)


class SqueezeExcite(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1, self.fc2 = nn.Conv2d(c, c // 4, 1), nn.Conv2d(c // 4, c, 1)
        self.activation, self.scale_activation = nn.ReLU(), nn.Hardsigmoid()

    def forward(self, x):
        return self.scale_activation(self.fc2(self.activation(self.fc1(self.avgpool(x))))) * x


class MobileV2Like(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(inplace=True))
        self.features = nn.Sequential(stem, Inverted(8, 8, 1, 4), Inverted(8, 12, 2, 6))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(12, 6))

    def forward(self, x):
        return self.classifier(F.adaptive_avg_pool2d(self.features(x), (1, 1)).reshape(x.shape[0], -1))


class MobileV3Like(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.Hardswish(inplace=True))
        self.depthwise = nn.Conv2d(8, 8, 5, 1, 2, groups=8)
        self.excite = SqueezeExcite(8)
        self.head, self.fc = nn.Conv2d(8, 16, 1), nn.Linear(16, 6)

    def forward(self, x):
        x = self.excite(F.hardswish(self.depthwise(self.stem(x))))
        return self.fc(F.hardswish(self.head(x)).mean([2, 3]))


class Oddments(nn.Module):
    """One of nearly everything else on the list."""

    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Conv2d(3, 8, 4, padding="same", bias=False)
        self.up = nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1, output_padding=1)
        self.norm = nn.LayerNorm(6)
        self.mix = nn.Linear(6, 6)
        self.gain = nn.Parameter(torch.randn(1, 4, 1, 1))
        self.register_buffer("mean", torch.randn(1, 3, 1, 1))
        self.pad = nn.ReflectionPad2d((1, 0, 2, 1))

    def forward(self, x):
        x = self.same(x - self.mean) / 2.5
        left, right = x.chunk(2, dim=1)
        x = torch.cat([F.silu(left), F.leaky_relu(right, 0.2)], 1)
        x = self.up(x) * self.gain
        x = F.interpolate(x, scale_factor=0.5, mode="nearest") + F.interpolate(
            x, size=(x.shape[2] // 2, x.shape[3] // 2), mode="bilinear"
        )
        x = F.avg_pool2d(self.pad(x), 3, 2, 1, ceil_mode=True, count_include_pad=False)
        x = F.pad(x, (1, 0, 0, 2), value=0.5)[:, :, 1:, :6]
        x = torch.tanh(self.mix(self.norm(x[:, :, :, -6:])))
        x = (1 - x).clamp(-0.5, 0.75).transpose(2, 3)
        a, b = torch.split(x, [1, 3], dim=1)
        x = torch.sub(b, a, alpha=0.5) + x[:, 2].unsqueeze(1)
        return F.log_softmax(x.mean(dim=2).flatten(1), dim=1)


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for name, buffer in module.named_buffers():
        if name.endswith("running_var"):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
        elif name.endswith("running_mean"):
            buffer.copy_(torch.randn(buffer.shape, generator=generator))
    return module


CASES = {
    "resnet": (ResNetLike, (3, 64, 48)),
    "vgg": (VggLike, (3, 32, 16)),
    "mobilenet-v2": (MobileV2Like, (3, 32, 33)),
    "mobilenet-v3": (MobileV3Like, (3, 31, 32)),
    "oddments": (Oddments, (3, 10, 12)),
}


@pytest.mark.parametrize("case", CASES)
def test_imported_network_answers_as_the_module_does(case):
    # 1e-4 relative: float32 sums of some thousand products in another order
    make, shape = CASES[case]
    torch.manual_seed(0)
    module = randomised(make())
    graph, arrays = import_torch(module, shape)
    x = torch.randn(3, *shape)
    with torch.no_grad():
        wanted = module.eval()(x).numpy()
    got = run_reference(graph, arrays, {"input": x.numpy()})["logits"]
    assert np.abs(got - wanted).max() <= 1e-4 * np.abs(wanted).max()
    assert graph.inputs[0].shape[0] == "N"
    names = {name for name in module.state_dict() if not name.endswith("num_batches_tracked")}
    assert names == {name for name, array in arrays.items() if array.shape}


@pytest.mark.parametrize("case", ["resnet", "vgg", "mobilenet-v2", "mobilenet-v3"])
def test_parameters_are_as_many_as_the_modules_own(case):
    make, shape = CASES[case]
    module = make()
    graph, _ = import_torch(module, shape)
    assert count(graph).params == sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("case", CASES)
def test_graph_module_of_the_import_equals_the_module(case):
    # 1e-5 relative: both sides run torch's kernels, in almost the same order
    make, shape = CASES[case]
    module = randomised(make()).eval()
    graph, arrays = import_torch(module, shape)
    again = GraphModule(graph).eval()
    load_arrays(again, arrays)
    x = torch.randn(2, *shape)
    with torch.no_grad():
        torch.testing.assert_close(again(x), module(x), rtol=1e-5, atol=1e-5)


def test_layers_come_back_as_layers_with_their_dropout():
    graph, _ = import_torch(VggLike(), (3, 32, 16))
    module = GraphModule(graph)
    assert isinstance(module.get_submodule("features.0"), nn.Conv2d)
    assert isinstance(module.get_submodule("classifier.0"), nn.Linear)
    assert module.get_submodule("classifier.2").p == 0.5


@pytest.mark.parametrize("operator", ["fft", "cumsum"])
def test_foreign_operator_is_refused_by_its_name_and_place(operator):
    class Inner(nn.Module):
        def forward(self, x):
            return torch.fft.fft(x).real if operator == "fft" else torch.cumsum(x, 1)

    module = nn.Sequential(nn.Conv2d(3, 4, 3), Inner())
    with pytest.raises(FireforgeError, match=operator) as caught:
        import_torch(module, (3, 8, 8))
    assert caught.value.code == "UNKNOWN_OPERATOR"
    assert caught.value.where.startswith("1 (test_importers_torch_module.py line")


def test_adaptive_pooling_that_does_not_divide_is_refused():
    with pytest.raises(FireforgeError, match=r"adaptive pooling of \(8, 8\) to \(3, 3\)"):
        import_torch(nn.AdaptiveAvgPool2d(3), (3, 8, 8))


def test_module_that_fixes_the_batch_is_refused():
    class Fixed(nn.Module):
        def forward(self, x):
            return x.reshape(2, -1)

    with pytest.raises(FireforgeError) as caught:
        import_torch(Fixed(), (3, 4, 4))
    assert caught.value.code == "BAD_MODULE"


def test_double_precision_is_refused():
    with pytest.raises(FireforgeError, match="float64"):
        import_torch(nn.Linear(3, 2).double(), torch.zeros(2, 3, dtype=torch.float64))


@pytest.mark.parametrize("training", [True, False])
def test_training_flags_and_numbers_stay(training):
    module = ResNetLike().train(training)
    module.layer1.train(not training)
    flags = [part.training for part in module.modules()]
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    import_torch(module, (3, 64, 48))
    assert [part.training for part in module.modules()] == flags
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_write_in_place_is_seen_through_a_view():
    class Aliased(nn.Module):
        def forward(self, x):
            y = x * 2
            y.flatten(1).relu_()
            return y + 1

    graph, arrays = import_torch(Aliased(), (3, 4, 4))
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)
    got = run_reference(graph, arrays, {"input": x})["logits"]
    np.testing.assert_allclose(got, np.maximum(x * 2, 0) + 1, rtol=1e-6)


def test_write_in_place_reaches_later_readers():
    class Shared(nn.Module):
        def forward(self, x):
            y = x * 2
            z = F.relu(y, inplace=True)
            return y + z

    graph, arrays = import_torch(Shared(), (3, 4, 4))
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)
    got = run_reference(graph, arrays, {"input": x})["logits"]
    np.testing.assert_allclose(got, 2 * np.maximum(x * 2, 0), rtol=1e-6)


def test_embedding_becomes_gather():
    module = nn.Sequential(nn.Embedding(11, 4), nn.Flatten(), nn.Linear(20, 3)).eval()
    x = torch.randint(0, 11, (2, 5), generator=torch.Generator().manual_seed(0))
    graph, arrays = import_torch(module, x)
    got = run_reference(graph, arrays, {"input": x.numpy()})["logits"]
    with torch.no_grad():
        np.testing.assert_allclose(got, module(x).numpy(), rtol=1e-5, atol=1e-6)
