"""Running an ONNX file."""

from pathlib import Path

import numpy as np
import pytest

from edgekd.core.errors import ExportError
from edgekd.export import runtime
from tests import nets


@pytest.mark.parametrize("batch", ["N", 1, 4])
def test_every_image_gets_its_logits_at_any_batch(tmp_path: Path, batch: int | str) -> None:
    path = nets.linear(tmp_path / "model.onnx", [[1], [-1]], (1, 1, 1), batch)
    images_nchw = np.arange(6, dtype=np.float32).reshape(6, 1, 1, 1)
    logits_nk = runtime.logits(path, images_nchw)
    assert logits_nk.tolist() == [[i, -i] for i in range(6)]


def test_file_that_the_runtime_refuses_is_an_export_error(tmp_path: Path) -> None:
    nodes = [nets.helper.make_node("NoSuchOperator", ["images"], ["logits"])]
    path = nets.write(tmp_path / "model.onnx", nodes, (1, 1), (1, 1))
    with pytest.raises(ExportError, match="ONNX Runtime cannot open"):
        runtime.logits(path, np.zeros((1, 1, 1, 1), np.float32))
