from pathlib import Path

import numpy as np
import pytest

from edgekd.core import files, run_folder, samples
from edgekd.core.errors import RecordError
from edgekd.core.measured import Measurement
from tests import builders
from tests.builders import Step


def measured(folder: Path) -> tuple[Path, Measurement]:
    run = run_folder.read(builders.make_run(folder, artifacts={"onnx-int8": Step()}))
    assert run.measurement is not None
    return run_folder.measurement(run.folder), run.measurement


def rewritten(where: Path, record: Measurement, **arrays: np.ndarray) -> Measurement:
    np.savez(where / record.samples_file, **arrays)
    sha256 = files.sha256_of(where / record.samples_file)
    return record.model_copy(update={"samples_sha256": sha256})


def test_each_artifact_has_its_blocks_of_runs(tmp_path: Path) -> None:
    found = samples.read(*measured(tmp_path))
    assert "onnx-int8" in found
    assert {of.shape for of in found.values()} == {(builders.BLOCKS, builders.RUNS)}


def test_an_artifact_that_is_left_out_is_refused(tmp_path: Path) -> None:
    where, record = measured(tmp_path)
    with pytest.raises(RecordError, match="does not hold every artifact's samples"):
        samples.read(where, rewritten(where, record, other=np.ones((6, 6))))


@pytest.mark.parametrize(
    "ms",
    [np.ones(6), np.full((6, 6), np.nan), np.ones((6, 0)), np.zeros((6, 6)), np.ones((6, 6), "U1")],
)
def test_what_is_no_finite_time_in_blocks_is_refused(tmp_path: Path, ms: np.ndarray) -> None:
    where, record = measured(tmp_path)
    arrays = {timing.subject: ms for timing in record.timings}
    with pytest.raises(RecordError, match="must hold finite times above 0 in blocks and runs"):
        samples.read(where, rewritten(where, record, **arrays))
