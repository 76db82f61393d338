import pytest
import torch
from torch import Tensor, nn

from edgekd.core import records
from edgekd.distill.batches import Batch
from edgekd.distill.hardware import Arithmetic
from edgekd.distill.teacher import Frozen, Online
from edgekd.models.build import build
from tests.distill import toys

CPU = Arithmetic(torch.device("cpu"))
SAME = (toys.NORMALISATION, toys.NORMALISATION)


def batch(images_nchw: Tensor) -> Batch:
    count = len(images_nchw)
    ids = torch.arange(count)
    return Batch(ids.numpy(), 0, images_nchw, torch.zeros(count, dtype=torch.int64))


def used(module: nn.Module, images_nchw: Tensor) -> nn.Module:
    """Give batch normalisations statistics and weights that matter."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias)
    module.train()
    with torch.no_grad():
        for _ in range(3):
            module(images_nchw)
    return module


@pytest.mark.parametrize(
    ("name", "pairs"),
    [("cifar_resnet20", 19), ("torchvision:resnet18", 20), ("torchvision:mobilenet_v2", 52)],
)
def test_folding_keeps_the_logits_and_the_names(name: str, pairs: int) -> None:
    images_nchw = torch.randn(8, 3, 32, 32)
    module = used(build(name, 10), images_nchw)
    frozen = Frozen(module, images_nchw[:2])
    assert frozen.note == f"teacher: {pairs} batch normalisations folded into convolutions"
    expected = module.eval()(images_nchw)
    assert torch.allclose(
        frozen(images_nchw), expected, rtol=1e-3, atol=1e-3 * expected.std().item()
    )
    names = [path for path, _ in module.named_modules()]
    assert [path for path, _ in frozen.module.named_modules()] == names


def test_folding_is_given_up_where_it_would_change_the_logits() -> None:
    class Twice(nn.Module):
        """The convolution's output goes to the normalisation and around it."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 3, 3)
            self.bn = nn.BatchNorm2d(3)

        def forward(self, images_nchw: Tensor) -> Tensor:
            features_nchw = self.conv(images_nchw)
            return (features_nchw + self.bn(features_nchw)).mean((2, 3))

    images_nchw = torch.randn(4, 1, 6, 6)
    module = used(Twice(), images_nchw)
    frozen = Frozen(module, images_nchw)
    assert "not folded" in frozen.note
    assert torch.equal(frozen(images_nchw), module.eval()(images_nchw))


def test_a_network_without_batch_normalisation_is_taken_as_it_is() -> None:
    frozen = Frozen(nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), torch.randn(2, 1, 6, 6))
    assert frozen.note == "teacher: no batch normalisation to fold"


def test_training_its_owner_does_not_wake_it() -> None:
    owner = nn.ModuleList([Frozen(toys.network().train(), torch.randn(2, 1, 6, 6))])
    owner.train()
    assert not any(part.training for part in owner[0].modules())


def test_it_learns_nothing_and_leaves_the_original_alone() -> None:
    module = toys.network().train()
    frozen = Frozen(module, torch.randn(2, 1, 6, 6))
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert toys.same(module, toys.network())
    assert module.training


def test_online_outputs_have_no_graph_but_can_be_saved_for_a_backward_pass() -> None:
    frozen = Frozen(toys.network(), torch.randn(2, 1, 6, 6))
    said = Online(frozen, {"here": "blocks.1"}, SAME, CPU)(batch(torch.randn(2, 1, 6, 6)))
    for tensor in (said.logits_nk, said.features["here"]):
        assert not tensor.requires_grad
        factor = torch.ones((), requires_grad=True)
        (tensor * factor).sum().backward()  # fails on tensors of inference mode
        assert factor.grad is not None


def test_features_come_under_the_students_paths() -> None:
    images_nchw = torch.randn(2, 1, 6, 6)
    module = toys.network().eval()
    said = Online(Frozen(module, images_nchw), {"a": "relu", "b": "blocks.1"}, SAME, CPU)(
        batch(images_nchw)
    )
    assert list(said.features) == ["a", "b"]
    relu_nchw = module.relu(module.bn(module.conv(images_nchw)))
    assert torch.allclose(said.features["a"], relu_nchw, atol=1e-5)
    assert torch.allclose(said.features["b"], module.blocks(relu_nchw), atol=1e-4)


def test_a_teacher_of_another_normalisation_sees_the_same_pixels() -> None:
    theirs = records.Normalisation(mean=(0.5,), std=(0.2,))
    pixels_nchw = torch.rand(3, 1, 6, 6)
    module = toys.network().eval()
    frozen = Frozen(module, pixels_nchw)
    said = Online(frozen, {}, (toys.NORMALISATION, theirs), CPU)(batch((pixels_nchw - 0.4) / 0.3))
    expected = module((pixels_nchw - 0.5) / 0.2)
    assert torch.allclose(said.logits_nk, expected, atol=1e-4)


def test_outputs_are_fp32_under_autocast() -> None:
    arithmetic = Arithmetic(torch.device("cpu"), amp=torch.bfloat16)
    frozen = Frozen(toys.network(), torch.randn(2, 1, 6, 6))
    said = Online(frozen, {"here": "conv"}, SAME, arithmetic)(batch(torch.randn(2, 1, 6, 6)))
    assert said.logits_nk.dtype == said.features["here"].dtype == torch.float32
    # It did compute in bf16: 8 bits of mantissa, so the last 16 of FP32 are empty.
    assert torch.equal(said.features["here"], said.features["here"].bfloat16().float())


def test_what_is_asked_with_a_graph_is_computed_in_fp32_and_leaves_the_weights_alone() -> None:
    images_nchw = torch.randn(2, 1, 6, 6).requires_grad_()
    frozen = Frozen(toys.network(), images_nchw.detach())
    teacher = Online(frozen, {}, SAME, Arithmetic(torch.device("cpu"), amp=torch.bfloat16))
    said = teacher.ask(images_nchw)
    assert torch.equal(said.logits_nk, frozen(images_nchw))
    said.logits_nk.sum().backward()
    assert images_nchw.grad is not None
    assert images_nchw.grad.any()
    assert all(parameter.grad is None for parameter in frozen.parameters())
