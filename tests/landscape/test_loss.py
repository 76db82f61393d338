import pytest
import torch

from edgekd.landscape import curvature, slices
from edgekd.landscape.loss import CrossEntropy, moved, parameters, value
from tests.landscape.toys import images, net


def test_the_loss_is_the_mean_cross_entropy_in_evaluation_mode() -> None:
    module = net()
    images_nchw, labels_n = images()
    found = value(CrossEntropy(module, [(images_nchw, labels_n)]), parameters(module))
    with torch.no_grad():
        expected = torch.nn.functional.cross_entropy(module.eval()(images_nchw), labels_n)
    assert found == pytest.approx(float(expected), rel=1e-6)


def test_batches_of_unequal_size_do_not_change_the_loss_or_its_gradient() -> None:
    module = net()
    images_nchw, labels_n = images()
    weights = parameters(module)
    whole = CrossEntropy(module, [(images_nchw, labels_n)])
    parts = CrossEntropy(module, [(images_nchw[:1], labels_n[:1]), (images_nchw[1:], labels_n[1:])])
    assert value(parts, weights) == pytest.approx(value(whole, weights), rel=1e-6)
    slopes = curvature.gradient(whole, weights)
    for name, slope in curvature.gradient(parts, weights).items():
        torch.testing.assert_close(slope, slopes[name])


def test_looking_leaves_the_network_as_it_is() -> None:
    module = net()
    module[1].eval()  # the rest trains: each part keeps its own mode
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    modes = [part.training for part in module.modules()]
    loss, weights = CrossEntropy(module, [images()]), parameters(module)
    slices.line(loss, weights, weights, (-1.0, 1.0))
    curvature.top_eigenvalue(loss, weights, 0, most=2)
    curvature.trace(loss, weights, 0, probes=2)
    curvature.sharpness(loss, weights, 0.05)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert [part.training for part in module.modules()] == modes
    assert all(parameter.grad is None for parameter in module.parameters())


def test_a_loss_needs_images() -> None:
    with pytest.raises(ValueError, match="found none"):
        CrossEntropy(net(), [])


def test_a_move_leaves_what_the_direction_lacks() -> None:
    weights = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([5.0])}
    found = moved(weights, {"a": torch.tensor([10.0, -1.0])}, 0.5)
    assert found["a"].tolist() == [6.0, 1.5]
    assert found["b"].tolist() == [5.0]
