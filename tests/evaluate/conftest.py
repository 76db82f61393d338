"""The exports of one network, shared by the tests that only read them."""

from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files of one network with random weights."""
    from safetensors.torch import save_file

    from edgekd.models import build
    from edgekd.pipeline import single

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("exports")
    save_file(build.build("digits_resnet", 10).state_dict(), folder / "net.safetensors")
    for target in ("onnx-fp32", "onnx-int8", "tensorrt-int8"):
        single.export(
            single.ModelArguments("digits_resnet", folder / "net.safetensors"),
            target, folder / target, source="digits", calibrator="minmax", images=256, seed=0,
        )  # fmt: skip
    return {path.name: path / "model.onnx" for path in folder.iterdir() if path.is_dir()}
