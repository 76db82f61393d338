from pathlib import Path

import numpy as np
import pytest

from edgekd.core.errors import DeviceError
from edgekd.profile import timings
from tests.profile.agent import subject, taken

STEADY = np.full((12, 50), 2.0)


def test_drift_is_the_last_third_over_the_first() -> None:
    samples = np.array([[1.0, 1.0, 9.0], [5.0, 5.0, 5.0], [2.0, 2.0, 9.0]])
    assert timings.drift(samples) == 2.0


def test_spread_is_that_of_block_medians_and_blind_to_one_slow_run() -> None:
    samples = np.array([[1.0, 1.0, 500.0], [3.0, 3.0, 3.0]])
    # medians 1 and 3: mean 2, standard deviation sqrt(2)
    assert timings.spread(samples) == pytest.approx(np.sqrt(2) / 2)


def test_one_block_has_no_spread() -> None:
    assert timings.spread(np.array([[1.0, 2.0, 3.0]])) == 0.0


def test_nanoseconds_become_milliseconds_in_the_order_of_the_blocks(tmp_path: Path) -> None:
    samples = np.repeat([[1.5 * (block + 1)] for block in range(6)], 5, axis=1)
    found = taken([subject(tmp_path, "net")], [samples]).samples()
    assert found["net"].tolist() == samples.tolist()


def test_each_quantile_waits_for_its_samples(tmp_path: Path) -> None:
    net = [subject(tmp_path, "net")]
    few = taken(net, [np.ones((6, 49))])  # 294
    enough = taken(net, [np.ones((6, 50))])
    many = taken(net, [np.ones((6, 500))])
    assert few.timings[0].p95_ms is not None
    assert few.timings[0].p99_ms is None
    assert enough.timings[0].p99_ms is not None
    assert enough.timings[0].p999_ms is None
    assert many.timings[0].p999_ms is not None
    assert "294 samples are too few for p99 (299), p99.9 (2,995)" in list(
        few.remarks(None, locked=None)
    )


def test_streams_at_once_infer_more_images_in_the_same_time(tmp_path: Path) -> None:
    spec = {"scenario": "multi", "streams": 2, "batch": 3}
    found = taken([subject(tmp_path, "net")], [STEADY], spec=spec).timings[0]
    # Two streams of 25 runs, 2 ms each: 2 * 25 * 3 images in 50 ms.
    assert found.images_per_s is not None
    assert found.images_per_s.value == pytest.approx(3000)
    assert found.runs == 12 * 50


def test_the_gpu_s_own_time_is_kept_apart(tmp_path: Path) -> None:
    found = taken([subject(tmp_path, "net")], [STEADY], gpu_ms=0.5).timings[0]
    assert found.gpu_p50_ms is not None
    assert found.gpu_p50_ms.value == 0.5
    assert found.p50_ms.value == 2.0


def test_without_a_gpu_there_is_no_time_of_it(tmp_path: Path) -> None:
    assert taken([subject(tmp_path, "net")], [STEADY]).timings[0].gpu_p50_ms is None


def test_peak_memory_is_that_of_the_process_and_that_on_the_gpu(tmp_path: Path) -> None:
    found = taken([subject(tmp_path, "net")], [STEADY], device_mib=40.0).timings[0]
    assert (found.peak_memory_mib, found.device_memory_mib) == (43.0, 40.0)


def test_without_a_gpu_peak_memory_is_that_of_the_process(tmp_path: Path) -> None:
    found = taken([subject(tmp_path, "net")], [STEADY]).timings[0]
    assert (found.peak_memory_mib, found.device_memory_mib) == (3.0, None)


@pytest.mark.parametrize(("load", "told"), [(None, True), (0.0, False)])
def test_a_gpu_whose_load_cannot_be_read_is_told(
    tmp_path: Path, load: float | None, *, told: bool
) -> None:
    engines = ["tensorrt 10.3.0, libcudart 12.6"]
    found = taken([subject(tmp_path, "net")], [STEADY], before={"gpu_load": load}, engines=engines)
    assert told is any("programs use the GPU" in said for said in found.remarks(None, locked=None))


@pytest.mark.parametrize(("device_mib", "told"), [(None, True), (40.0, False)])
def test_memory_on_a_gpu_that_is_not_known_is_told(
    tmp_path: Path, device_mib: float | None, *, told: bool
) -> None:
    engines = ["tensorrt 10.3.0, libcudart 12.6"]
    found = taken([subject(tmp_path, "net")], [STEADY], device_mib=device_mib, engines=engines)
    assert told is any(
        "peak memory leaves out" in said for said in found.remarks(None, locked=None)
    )


def test_of_several_engines_the_slowest_is_reported_but_of_the_reference_the_quickest(
    tmp_path: Path,
) -> None:
    models = [subject(tmp_path, name, plans=2) for name in ("teacher", "student")]
    found = taken(models, [4 * STEADY, 3 * STEADY, STEADY, 2 * STEADY])
    teacher, student = found.timings
    assert (teacher.p50_ms.value, student.p50_ms.value) == (6.0, 4.0)
    assert student.ratio_to_first is not None
    assert student.ratio_to_first.value == pytest.approx(4 / 6)
    assert [build.p50_ms.value for build in student.builds] == [2.0, 4.0]
    files = [one.reported(timing) for one, timing in zip(models, found.timings, strict=True)]
    assert files == [models[0].plans[1], models[1].plans[1]]
    assert sorted(found.samples()) == [
        "student", "student build 1", "teacher", "teacher build 1",
    ]  # fmt: skip


def test_engines_of_a_model_that_is_alone_give_the_slowest(tmp_path: Path) -> None:
    model = subject(tmp_path, "net", plans=2)
    (timing,) = taken([model], [2 * STEADY, STEADY]).timings
    assert timing.p50_ms.value == 4.0
    assert model.reported(timing) == model.plans[0]


def test_a_file_that_runs_itself_is_the_one_that_is_reported(tmp_path: Path) -> None:
    model = subject(tmp_path, "net")
    assert model.reported(taken([model], [STEADY]).timings[0]) == model.path


def test_a_a_compares_odd_blocks_of_the_first_with_even_ones(tmp_path: Path) -> None:
    samples = np.where(np.arange(12)[:, None] % 2 == 0, 1.0, 1.1) * np.ones((12, 9))
    noise = taken([subject(tmp_path, "net")], [samples]).noise
    assert noise is not None
    assert noise.value == pytest.approx(1.1)


def test_under_twelve_blocks_there_is_no_a_a(tmp_path: Path) -> None:
    found = taken([subject(tmp_path, "net")], [STEADY[:11]])
    assert found.noise is None
    assert any("no A/A" in remark for remark in found.remarks(None, locked=None))


def test_a_difference_that_noise_makes_alone_is_called_so(tmp_path: Path) -> None:
    noisy = np.where(np.arange(12)[:, None] % 2 == 0, 1.0, 1.02) * np.ones((12, 9))
    models = [subject(tmp_path, name) for name in ("teacher", "same", "other")]
    found = taken(models, [noisy, 1.01 * noisy, 0.5 * noisy])
    (remark,) = [text for text in found.remarks(found.noise, locked=None) if "noise" in text]
    assert remark.startswith("'same' differs from the first by 1.0%")


def test_clocks_that_are_free_are_told(tmp_path: Path) -> None:
    found = taken([subject(tmp_path, "net")], [STEADY])
    assert any("not locked" in text for text in found.remarks(None, locked=False))
    assert not any("not locked" in text for text in found.remarks(None, locked=True))


def test_an_agent_that_forgets_the_state_of_the_machine_is_refused(tmp_path: Path) -> None:
    found = taken([subject(tmp_path, "net")], [STEADY])
    del found.notes.conditions[1]
    with pytest.raises(DeviceError, match="state of the machine"):
        timings.Taken(found.subjects, found.spec, found.notes)
