"""What an ONNX file says about itself."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgekd.core import provenance, records
from edgekd.core.errors import RecordError
from edgekd.export import metadata
from tests import nets
from tests.export import graphs

CHECKPOINT = records.Checkpoint(
    provenance=provenance.stamp(),
    stage="teacher",
    model="cifar_resnet20",
    classes=2,
    class_names=("chat", "épagneul"),
    input_shape=(16, 8, 8),
    normalisation=records.Normalisation(mean=(0.5,), std=(0.25,)),
    weights_sha256="ab" * 32,
    parameters=1,
    macs=1,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    model = graphs.plain()
    metadata.write(model, CHECKPOINT, "onnx-int8")
    onnx.save(model, str(tmp_path / "model.onnx"))
    return tmp_path / "model.onnx"


def test_what_is_written_can_be_read_again(path: Path) -> None:
    found = metadata.read(path)
    assert found == metadata.Metadata(
        input_shape=(16, 8, 8),
        batch=None,
        opset=17,
        input_name="images",
        normalisation=CHECKPOINT.normalisation,
        class_names=("chat", "épagneul"),
        checkpoint_sha256="ab" * 32,
    )


def test_notes_tell_how_to_prepare_images(path: Path) -> None:
    notes = {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}
    assert '"layout": "NCHW"' in notes["preprocessing"]
    assert '"mean": [0.5]' in notes["preprocessing"]
    assert notes["edgekd.target"] == "onnx-int8"


def test_notes_name_platform_versions_parents_and_profile(tmp_path: Path) -> None:
    model = graphs.plain()
    sizes = records.Shapes(min=(1, 16, 8, 8), opt=(4, 16, 8, 8), max=(8, 16, 8, 8))
    taught = CHECKPOINT.model_copy(update={"parents": ("cd" * 32,)})
    metadata.write(model, taught, "tensorrt-int8", "jp6.2", {"images": sizes})
    onnx.save(model, str(tmp_path / "model.onnx"))
    notes = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(notes["edgekd.profile"]) == {
        "images": {"min": [1, 16, 8, 8], "opt": [4, 16, 8, 8], "max": [8, 16, 8, 8]}
    }
    assert json.loads(notes["edgekd.parents"]) == ["cd" * 32]
    assert json.loads(notes["edgekd.versions"])["onnx"] == onnx.__version__
    found = metadata.read(tmp_path / "model.onnx")
    assert (found.platform, found.profiles) == ("jp6.2", {"images": sizes})


def test_file_of_another_program_has_a_shape_and_no_notes(tmp_path: Path) -> None:
    onnx.save(graphs.plain(), str(tmp_path / "model.onnx"))
    found = metadata.read(tmp_path / "model.onnx")
    assert (found.input_shape, found.normalisation) == ((16, 8, 8), None)


def test_shape_is_channels_height_width(tmp_path: Path) -> None:
    path = nets.linear(tmp_path / "model.onnx", np.ones((2, 24)), (2, 3, 4))
    assert metadata.read(path).input_shape == (2, 3, 4)


def test_size_counts_weights_in_other_files(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside.onnx", tmp_path / "outside.onnx"
    onnx.save(graphs.plain(), str(inside))
    onnx.save(
        graphs.plain(), str(outside), save_as_external_data=True, location="w.bin", size_threshold=0
    )
    assert metadata.total_bytes(inside) == inside.stat().st_size
    both = outside.stat().st_size + (tmp_path / "w.bin").stat().st_size
    assert metadata.total_bytes(outside) == both
    (tmp_path / "w.bin").unlink()
    with pytest.raises(RecordError, match="missing"):
        metadata.total_bytes(outside)


def test_file_that_is_no_onnx_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(np.random.default_rng(0).bytes(100))
    with pytest.raises(RecordError, match="not an ONNX file"):
        metadata.read(tmp_path / "model.onnx")


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="there is no file"):
        metadata.read(tmp_path / "model.onnx")


def test_images_of_any_size_are_refused(tmp_path: Path) -> None:
    model = graphs.plain()
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    onnx.save(model, str(tmp_path / "model.onnx"))
    with pytest.raises(RecordError, match="of one size"):
        metadata.read(tmp_path / "model.onnx")


def test_notes_that_were_spoiled_are_refused(path: Path) -> None:
    model = onnx.load(str(path))
    for entry in model.metadata_props:
        if entry.key == "preprocessing":
            entry.value = "{"
    onnx.save(model, str(path))
    with pytest.raises(RecordError, match="cannot be read"):
        metadata.read(path)
