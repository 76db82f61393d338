import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from edgekd.core.errors import UsageError
from edgekd.models import build
from edgekd.models.zoo import cifar_resnet

CODE = """
from torch import nn
def with_classes(classes): return nn.Linear(2, classes)
def without(): return nn.Linear(2, 3)
def number(classes): return 7
def broken(classes): raise ValueError("no such width")
value = 7
"""


@pytest.fixture
def own_nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_nets_of_a_user.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_nets_of_a_user", raising=False)


def test_a_weights_file_in_place_of_a_network_is_told_where_it_belongs() -> None:
    with pytest.raises(UsageError, match="name the network, and give the file as its weights"):
        build.defaults("mine.pth")


def test_a_network_of_torchvision_without_its_prefix_is_offered_with_it() -> None:
    with pytest.raises(UsageError, match="Did you mean 'torchvision:resnet18'"):
        build.defaults("resnet18")


@pytest.mark.parametrize(
    ("name", "parameters"),
    # He et al., 2015, table 6: 0.27, 0.46, 0.66, 0.85 and 1.7 million.
    [
        ("cifar_resnet20", 0.27e6),
        ("cifar_resnet32", 0.46e6),
        ("cifar_resnet44", 0.66e6),
        ("cifar_resnet56", 0.85e6),
        ("cifar_resnet110", 1.73e6),
    ],
)
def test_cifar_networks_have_as_many_parameters_as_published(name: str, parameters: float) -> None:
    module = build.build(name, 10)
    assert sum(p.numel() for p in module.parameters()) == pytest.approx(parameters, rel=0.02)


@pytest.mark.parametrize(
    "name", ["cifar_resnet20", "cifar_vgg16_narrow", "digits_resnet", "timm:resnet10t"]
)
def test_a_network_takes_its_default_input_and_makes_as_many_logits_as_classes(name: str) -> None:
    module = build.build(name, 7).eval()
    image_nchw = torch.zeros(2, *build.defaults(name).input_shape)
    assert module(image_nchw).shape == (2, 7)


def test_every_relu_is_called_once_so_that_its_features_can_be_tapped() -> None:
    module = build.build("cifar_resnet20", 10).eval()
    calls: dict[nn.Module, int] = {}
    for part in module.modules():
        if isinstance(part, nn.ReLU):
            part.register_forward_hook(
                lambda part, *_: calls.update({part: calls.get(part, 0) + 1})
            )
    module(torch.zeros(1, 3, 32, 32))
    assert len(calls) == 19
    assert set(calls.values()) == {1}


def test_every_classifier_of_torchvision_is_built_by_its_name() -> None:
    module = build.build("torchvision:mobilenet_v3_small", 5)
    assert module.classifier[-1].out_features == 5


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_networks_trained_on_minus_one_to_one_say_so(name: str) -> None:
    assert build.defaults(f"torchvision:{name}").normalisation.mean == (0.5, 0.5, 0.5)
    assert build.defaults("torchvision:resnet18").normalisation.mean == (0.485, 0.456, 0.406)


def test_inception_takes_larger_images_than_the_others() -> None:
    assert build.defaults("torchvision:inception_v3").input_shape == (3, 299, 299)
    assert build.defaults("torchvision:resnet18").input_shape == (3, 224, 224)


def test_names_list_every_file_of_the_zoo() -> None:
    assert {"cifar_resnet56", "digits_resnet", "timm:NAME", "torchvision:NAME"} <= set(
        build.names()
    )
    assert set(cifar_resnet.NAMES.split()) <= set(build.names())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar_resnet57", "Did you mean 'cifar_resnet56'"),
        ("torchvision:resnet19", "torchvision has no classifier 'resnet19'. Did you mean"),
        ("torchvision:fcos_resnet50_fpn", "no classifier"),
        ("timm:resnet10q", "timm has no network 'resnet10q'"),
        ("no_such_package:build", "importing 'no_such_package' failed"),
        ("own_nets_of_a_user:wth_classes", "Did you mean 'with_classes'"),
        ("own_nets_of_a_user:value", "no function 'value'"),
        ("own_nets_of_a_user:number", "returned a int; expected a torch.nn.Module"),
        ("own_nets_of_a_user:broken", "no such width"),
        ("os:abort", "part of Python"),
    ],
)
@pytest.mark.usefixtures("own_nets")
def test_a_name_that_cannot_be_built_says_why(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build.build(name, 10)


def test_no_classes_are_refused() -> None:
    with pytest.raises(UsageError, match="at least one class, found 0"):
        build.build("digits_resnet", 0)


@pytest.mark.usefixtures("own_nets")
def test_a_factory_in_the_working_directory_is_called_with_the_classes() -> None:
    before = list(sys.path)
    assert build.build("own_nets_of_a_user:with_classes", 5).out_features == 5
    assert build.build("own_nets_of_a_user:without", 5).out_features == 3
    assert sys.path == before
