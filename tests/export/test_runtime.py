"""Running an ONNX file."""

from pathlib import Path

import numpy as np
import pytest

from edgekd.core.errors import ExportError
from edgekd.export import half, qdq, runtime
from edgekd.export.target import Target
from tests import nets
from tests.export import graphs


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


def test_fp16_scales_around_a_concat_are_computed_as_they_stand(tmp_path: Path) -> None:
    target = Target.read("tensorrt-int8-fp16")
    model = graphs.inception()
    model.opset_import[0].version, model.ir_version = target.opset, 9
    images_nchw = graphs.images(model)
    plan = qdq.place(model, target)
    quantised = qdq.write(model, plan, dict.fromkeys(plan.tensors, (-4.0, 4.0)), target)
    largest = runtime.largest(quantised, half.activations(quantised), images_nchw)
    mixed, notes = half.convert(quantised, largest)
    assert notes == ()
    (tmp_path / "model.onnx").write_bytes(mixed.SerializeToString())
    found_nk = runtime.logits(tmp_path / "model.onnx", images_nchw)  # which fusing would refuse
    exact_nk = graphs.run(quantised, images_nchw, fused=False)
    assert np.abs(found_nk - exact_nk).max() < 0.05 * exact_nk.std()
