import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import relu

from edgekd.core.errors import UsageError
from edgekd.distill import taps
from edgekd.distill.taps import Tap, Tapped
from edgekd.models.build import build
from edgekd.models.surgery import Kept, Surgery
from tests.distill import toys


def found(module: nn.Module, side: int = 64, channels: int = 3) -> list[str]:
    device = next(module.parameters()).device
    images_nchw = torch.zeros(2, channels, side, side, device=device)
    return [tap.path for tap in taps.discover(module, images_nchw)]


def of_torchvision(name: str, side: int = 64) -> list[str]:
    # Shapes alone: nothing is computed. RegNet's constructor reads numbers back.
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        options = EXTRA.get(name, {})
        module = torchvision.models.get_model(name, weights=None, num_classes=10, **options)
    module.to("meta")
    return found(module, side)


EXTRA = {
    "googlenet": {"aux_logits": False, "init_weights": False},
    "inception_v3": {"aux_logits": False, "init_weights": False},
}


@pytest.mark.parametrize(
    ("name", "count", "first", "last"),
    [
        ("alexnet", 5, "features.1", "features.11"),
        ("convnext_tiny", 18, "features.1.0", "features.7.2"),
        ("densenet121", 5, "features.denseblock1", "features"),
        ("efficientnet_b0", 17, "features.1.0", "features"),
        ("googlenet", 9, "inception3a", "inception5b"),
        ("mnasnet0_5", 17, "layers.8.0", "layers"),
        ("mobilenet_v2", 18, "features.1", "features"),
        ("mobilenet_v3_small", 12, "features.1", "features"),
        ("regnet_y_400mf", 16, "trunk_output.block1.block1-0", "trunk_output.block4.block4-5"),
        ("resnet18", 8, "layer1.0", "layer4.1"),
        ("resnet50", 16, "layer1.0", "layer4.2"),
        ("shufflenet_v2_x0_5", 17, "stage2.0", "conv5"),
        ("squeezenet1_1", 8, "features.3", "features.12"),
        ("vgg11", 8, "features.1", "features.19"),
        ("vgg11_bn", 8, "features.2", "features.27"),
    ],
)
def test_taps_of_torchvision_are_blocks_and_the_last_feature(
    name: str, count: int, first: str, last: str
) -> None:
    paths = of_torchvision(name)
    assert (len(paths), paths[0], paths[-1]) == (count, first, last)


def test_taps_of_inception_are_its_mixed_blocks() -> None:
    paths = of_torchvision("inception_v3", side=96)
    assert len(paths) == 11
    assert (paths[0], paths[-1]) == ("Mixed_5b", "Mixed_7c")


def test_taps_of_a_cifar_resnet_are_its_blocks_with_their_shapes() -> None:
    found = taps.discover(build("cifar_resnet20", 10), torch.zeros(1, 3, 32, 32))
    assert [tap.path for tap in found] == [f"layer{s}.{b}" for s in (1, 2, 3) for b in (0, 1, 2)]
    assert found[-1] == Tap("layer3.2", (64, 8, 8))


def test_blocks_inside_a_wrapper_are_tapped_one_by_one() -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = toys.network()

        def forward(self, images_nchw: Tensor) -> Tensor:
            return self.inner(images_nchw)

    assert found(Wrapped(), 6, 1) == ["inner.blocks.0", "inner.blocks.1"]


class Plain(nn.Module):
    """Activations are functions, so nothing but normalisations and convolutions can be tapped."""

    def __init__(self, *, norm: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 2, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(2) if norm else nn.Identity()
        self.conv2 = nn.Conv2d(2, 3, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(3) if norm else nn.Identity()
        self.linear = nn.Linear(3, 2)

    def forward(self, images_nchw: Tensor) -> Tensor:
        hidden_nchw = relu(self.norm1(self.conv1(images_nchw)))
        return self.linear(relu(self.norm2(self.conv2(hidden_nchw))).mean((2, 3)))


def test_without_blocks_and_activations_normalisations_are_tapped() -> None:
    assert found(Plain(norm=True), 6, 1) == ["norm1", "norm2"]


def test_without_normalisations_either_convolutions_are_tapped() -> None:
    assert found(Plain(norm=False), 6, 1)[0] == "conv1"


def test_a_module_that_is_used_twice_is_not_tapped() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = toys.Block(1)
            self.linear = nn.Linear(1, 2)

        def forward(self, images_nchw: Tensor) -> Tensor:
            return self.linear(self.block(self.block(images_nchw)).mean((2, 3)))

    assert found(Twice(), 6, 1) == []


def test_discovery_leaves_mode_statistics_and_hooks_as_they_were() -> None:
    module = toys.network().train()
    before = toys.network().train()
    found(module, 6, 1)
    assert toys.same(module, before)
    assert all(part.training for part in module.modules())
    assert not any(part._forward_hooks for part in module.modules())


def test_tapped_returns_what_the_modules_return() -> None:
    module = toys.network().eval()
    images_nchw = torch.randn(3, 1, 6, 6)
    logits_nk, features = Tapped(module, ["relu", "blocks.1"])(images_nchw)
    relu_nchw = module.relu(module.bn(module.conv(images_nchw)))
    assert torch.equal(features["relu"], relu_nchw)
    assert torch.equal(features["blocks.1"], module.blocks(relu_nchw))
    assert torch.equal(logits_nk, module(images_nchw))


def test_tapped_keeps_no_graph_after_the_step() -> None:
    tapped = Tapped(toys.network(), ["relu"])
    tapped(torch.randn(2, 1, 6, 6))
    assert not tapped._found


def test_remove_takes_the_hooks_away() -> None:
    module = toys.network()
    Tapped(module, ["relu"]).remove()
    assert not module.relu._forward_hooks


def test_a_tapped_network_is_one_graph_for_the_compiler() -> None:
    module = toys.network()
    images_nchw = torch.randn(2, 1, 6, 6)
    compiled = torch.compile(Tapped(module, ["blocks.0"]), backend="eager", fullgraph=True)
    logits_nk, features = compiled(images_nchw)
    assert features["blocks.0"].shape == (2, 4, 6, 6)
    assert logits_nk.requires_grad


def test_a_path_that_the_network_lacks_is_named() -> None:
    with pytest.raises(UsageError, match="Net has no module 'layer9'"):
        Tapped(toys.network(), ["layer9"])


def test_networks_of_one_architecture_are_paired_by_path() -> None:
    images_nchw = torch.zeros(1, 1, 6, 6)
    student = taps.discover(toys.network(), images_nchw)
    pairs = taps.pair_same(student, toys.network(1, channels=6), images_nchw)
    assert pairs == {"blocks.0": "blocks.0", "blocks.1": "blocks.1"}


def test_a_network_without_features_is_refused_with_the_way_out() -> None:
    with pytest.raises(UsageError, match=r"no convolutional features.*'kd'"):
        taps.pair_same([], toys.network(), torch.zeros(1, 1, 6, 6))
    with pytest.raises(UsageError, match="the teacher has no convolutional features"):
        taps.pair_stages([Tap("a", (1, 2, 2))], [])


def test_architectures_are_paired_by_the_last_map_of_each_size() -> None:
    images_nchw = torch.zeros(1, 3, 32, 32)
    student = taps.discover(build("cifar_resnet20", 10), images_nchw)
    teacher = taps.discover(build("cifar_resnet32", 10), images_nchw)
    assert taps.pair_stages(student, teacher) == {
        "layer1.2": "layer1.4",
        "layer2.2": "layer2.4",
        "layer3.2": "layer3.4",
    }


def test_stages_of_equal_size_are_paired_wherever_they_are() -> None:
    student = [Tap("a", (1, 16, 16)), Tap("b", (1, 8, 8)), Tap("c", (1, 4, 4))]
    teacher = [Tap("A", (1, 32, 32)), Tap("B", (1, 16, 16)), Tap("C", (1, 8, 8))]
    assert taps.pair_stages(student, teacher) == {"a": "B", "b": "C"}


def test_stages_without_equal_sizes_are_counted_from_the_end() -> None:
    student = [Tap("b", (1, 8, 8)), Tap("c", (1, 4, 4))]
    teacher = [Tap("A", (1, 14, 14)), Tap("B", (1, 7, 7)), Tap("C", (1, 3, 3))]
    assert taps.pair_stages(student, teacher) == {"b": "B", "c": "C"}


def test_channels_are_those_of_a_teacher_that_was_cut_itself() -> None:
    teacher = Surgery(outputs={"a": (1, 3, 5, 7)})
    student = Surgery(outputs={"a": (3, 7)})
    assert taps.between(teacher, student, ["a"]).kept_output("a") == (1, 3)


def test_channels_are_the_students_own_if_the_teacher_is_whole() -> None:
    student = Surgery(kept={"a": Kept(out=(0, 2))})
    assert taps.between(Surgery.none(), student, ["a", "b"]).outputs == {"a": (0, 2), "b": None}


def test_a_channel_that_the_teacher_lost_makes_the_match_unknown() -> None:
    teacher, student = Surgery(outputs={"a": (1, 3)}), Surgery(outputs={"a": (2, 3)})
    assert taps.between(teacher, student, ["a"]).kept_output("a") is None
