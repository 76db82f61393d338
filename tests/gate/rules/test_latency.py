from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.core import checking, files, records, run_folder, specs
from edgekd.core.errors import RecordError, UsageError
from edgekd.core.estimate import Estimate, Range
from edgekd.core.records import Consumption, Energy, Finding, Interval, Measurement
from edgekd.core.run_folder import REFERENCE
from edgekd.gate import baselines
from edgekd.gate import rules as gate
from tests import builders
from tests.builders import Step


def judged(run: Path, baseline: baselines.Baseline | None = None, **given: Any) -> Finding:
    spec = checking.checked(specs.Gate, given, "gate")
    return gate.judge(spec, run_folder.read(run), baseline=baseline).findings[0]


def with_timing(folder: Path, batch: int = 1, streams: int = 1, **changes: Any) -> Path:
    """Make a run whose onnx-int8 has other fields in its timing."""
    run = builders.make_run(folder, artifacts={"onnx-int8": Step()})
    path = run_folder.measurement(run) / "measurement.json"
    measurement = records.read(Measurement, path)
    timings = tuple(
        timing.model_copy(update=changes) if timing.subject == "onnx-int8" else timing
        for timing in measurement.timings
    )
    builders.change(Measurement, path, timings=timings, batch=batch, streams=streams)
    return run


def ms(low: float, value: float, high: float) -> Interval:
    return Interval(value=value, low=low, high=high, confidence=0.95)


def baseline(run: Path, **changes: Any) -> baselines.Baseline:
    found = run_folder.read(run)
    assert found.measurement is not None
    return baselines.of(found, found.measurement).model_copy(update=changes)


@pytest.mark.parametrize("which", ["p50", "p90", "p99"])
@pytest.mark.parametrize(
    ("limit", "state"), [(6.0, "passed"), (5.0, "inconclusive"), (3.9, "failed")]
)
def test_each_percentile_is_judged_by_its_interval(
    tmp_path: Path, which: str, limit: float, state: str
) -> None:
    run = with_timing(tmp_path, **{f"{which}_ms": ms(4.0, 5.0, 6.0)})
    found = judged(run, **{f"latency_{which}_ms": {"limit": limit}})
    assert found.state == state
    assert found.unit == "ms"


def test_percentile_is_said_with_its_unit(tmp_path: Path) -> None:
    run = with_timing(tmp_path, p99_ms=ms(4.0, 5.0, 6.0))
    found = judged(run, latency_p99_ms={"limit": 8})
    assert found.message == "latency p99 5.00 ms [..6.00], limit 8.00 ms (onnx-int8)"


def test_p99_of_too_few_inferences_is_inconclusive(tmp_path: Path) -> None:
    run = with_timing(tmp_path, p99_ms=None, runs=100)
    found = judged(run, latency_p99_ms={"limit": 1000})
    assert found.state == "inconclusive"
    assert found.measured is None
    assert "p99 takes 299 timed inferences, 100 were measured" in found.message


def test_fewer_inferences_than_the_rule_asks_for_are_inconclusive(tmp_path: Path) -> None:
    run = with_timing(tmp_path)
    assert judged(run, latency_p50_ms={"limit": 1000, "runs": 300}).state == "passed"
    found = judged(run, latency_p50_ms={"limit": 1000, "runs": 301})
    assert found.state == "inconclusive"
    assert "300 timed inferences, but the rule asks for 301" in found.message


def test_throughput_is_that_of_all_streams_together(tmp_path: Path) -> None:
    # 8 images in 5 ms would be 1,600 a second on one stream; two streams brought 2,400.
    rates = ms(2300.0, 2400.0, 2500.0)
    run = with_timing(tmp_path, batch=8, streams=2, p50_ms=ms(4.0, 5.0, 6.25), images_per_s=rates)
    found = judged(run, throughput_per_s={"least": 2200})
    assert found.state == "passed"
    assert found.measured == rates
    assert found.message == (
        "throughput 2400 images/s [2300..], at least 2200 (batch 8, streams 2, onnx-int8)"
    )
    assert judged(run, throughput_per_s={"least": 2400}).state == "inconclusive"
    assert judged(run, throughput_per_s={"least": 2600}).state == "failed"


def test_throughput_that_a_record_does_not_tell_is_inconclusive(tmp_path: Path) -> None:
    found = judged(with_timing(tmp_path, images_per_s=None), throughput_per_s={"least": 1})
    assert found.state == "inconclusive"
    assert found.measured is None
    assert "measure again" in found.message


@pytest.mark.parametrize(("limit", "state"), [(48.0, "passed"), (47.9, "failed")])
def test_peak_memory_is_judged_as_measured(tmp_path: Path, limit: float, state: str) -> None:
    run = with_timing(tmp_path, peak_memory_mib=48.0)
    assert judged(run, peak_memory_mib={"limit": limit}).state == state


@pytest.mark.parametrize("rule", ["latency_p50_ms", "peak_memory_mib"])
def test_rule_for_another_device_is_refused(tmp_path: Path, rule: str) -> None:
    run = with_timing(tmp_path)
    assert judged(run, **{rule: {"limit": 1000, "devices": ["orin", "host-cpu"]}}).state == "passed"
    with pytest.raises(RecordError, match="is for orin, but latency was measured on 'host-cpu'"):
        judged(run, **{rule: {"limit": 1000, "devices": ["orin"]}})


def test_disturbed_measurement_decides_no_percentile_and_no_throughput(tmp_path: Path) -> None:
    run = with_timing(tmp_path, images_per_s=ms(9.0, 10.0, 11.0))
    path = run_folder.measurement(run) / "measurement.json"
    builders.change(Measurement, path, warnings=("the board throttled",))
    for rule in ({"latency_p50_ms": {"limit": 1000}}, {"throughput_per_s": {"least": 1}}):
        found = judged(run, **rule)
        assert found.state == "inconclusive"
        assert "the board throttled" in found.message


# Energy


def with_energy(folder: Path, low: float = 4.0) -> Path:
    used = Consumption(
        per_image_mj=ms(low, 5.0, 6.0),
        gross_per_image_mj=9.0,
        power_mw=3000.0,
        ratio_to_first=None,
        images=1000,
    )
    run = with_timing(folder, energy=used)
    path = run_folder.measurement(run) / "measurement.json"
    readings = path.with_name("power.npz")
    readings.write_bytes(b"readings")
    found = Energy(
        source="tegrastats",
        scope="module",
        readings_file=readings.name,
        readings_sha256=files.sha256_of(readings),
    )
    builders.change(Measurement, path, energy=found)
    return run


@pytest.mark.parametrize(
    ("limit", "state"), [(6.0, "passed"), (5.0, "inconclusive"), (3.9, "failed")]
)
def test_energy_is_judged_by_its_interval(tmp_path: Path, limit: float, state: str) -> None:
    found = judged(with_energy(tmp_path), energy_per_image_mj={"limit": limit})
    assert found.state == state
    assert found.message.startswith("energy per image 5.00 mJ")
    assert "(tegrastats, module, onnx-int8)" in found.message


def test_energy_that_may_be_nothing_fails_no_limit(tmp_path: Path) -> None:
    found = judged(with_energy(tmp_path, low=-1.0), energy_per_image_mj={"limit": 1})
    assert (found.state, found.p_value) == ("inconclusive", 1.0)


@pytest.mark.parametrize(
    ("energy", "said"),
    [(None, "profile.energy = true"), (Energy(missing="no sensor"), "judged: no sensor")],
)
def test_energy_that_was_not_measured_is_refused(
    tmp_path: Path, energy: Energy | None, said: str
) -> None:
    run = with_timing(tmp_path)
    builders.change(Measurement, run_folder.measurement(run) / "measurement.json", energy=energy)
    with pytest.raises(RecordError, match=rf"energy of 'onnx-int8' was not measured.*{said}"):
        judged(run, energy_per_image_mj={"limit": 1})


def test_doubts_about_energy_spoil_its_rule_and_no_other(tmp_path: Path) -> None:
    run = with_energy(tmp_path)
    path = run_folder.measurement(run) / "measurement.json"
    how = run_folder.read(run).measurement.energy
    changed = how.model_copy(update={"doubts": ("idle power changed by 30 %",)})
    builders.change(Measurement, path, energy=changed)
    found = judged(run, energy_per_image_mj={"limit": 6.0})
    assert found.state == "inconclusive"
    assert "idle power changed" in found.message
    assert judged(run, latency_ratio={"limit": 5.0}).state == "passed"


def test_changed_readings_are_refused(tmp_path: Path) -> None:
    run = with_energy(tmp_path)
    (run_folder.measurement(run) / "power.npz").write_bytes(b"lower ones")
    with pytest.raises(RecordError, match=r"power\.npz' was changed"):
        judged(run, energy_per_image_mj={"limit": 1})


# Baselines


@pytest.mark.parametrize(
    ("now", "limit", "state"),
    [
        (ms(4.9, 5.0, 5.1), 1.10, "passed"),  # at most 5.1 / 4.9 = 1.041
        (ms(4.9, 5.0, 5.1), 1.03, "inconclusive"),
        (ms(5.9, 6.0, 6.1), 1.10, "failed"),  # at least 5.9 / 5.1 = 1.157
    ],
)
def test_median_is_compared_with_the_baselines(
    tmp_path: Path, now: Interval, limit: float, state: str
) -> None:
    then = baseline(with_timing(tmp_path / "then", p50_ms=ms(4.9, 5.0, 5.1)))
    run = with_timing(tmp_path / "now", p50_ms=now)
    found = judged(run, then, latency_baseline_ratio={"limit": limit})
    assert found.state == state
    assert "times the baseline's" in found.message


def test_ratio_to_the_baseline_goes_from_best_over_worst_to_the_reverse(tmp_path: Path) -> None:
    then = baseline(with_timing(tmp_path / "then", p50_ms=ms(4.0, 5.0, 8.0)))
    run = with_timing(tmp_path / "now", p50_ms=ms(4.0, 5.0, 6.0))
    found = judged(run, then, latency_baseline_ratio={"limit": 9}).measured
    assert found == ms(0.5, 1.0, 1.5)


@pytest.mark.parametrize("which", ["p90", "p99"])
def test_tails_are_compared_with_the_baselines(tmp_path: Path, which: str) -> None:
    then = baseline(with_timing(tmp_path / "then", **{f"{which}_ms": ms(1.9, 2.0, 2.1)}))
    run = with_timing(tmp_path / "now", **{f"{which}_ms": ms(3.8, 4.0, 4.2)})
    for limit, state in ((2.22, "passed"), (2.0, "inconclusive"), (1.8, "failed")):
        found = judged(run, then, **{f"latency_{which}_baseline_ratio": {"limit": limit}})
        assert found.measured is not None
        assert (found.measured.value, found.state) == (2.0, state)


def test_p99_that_a_baseline_does_not_have_is_inconclusive(tmp_path: Path) -> None:
    then = baseline(with_timing(tmp_path / "then", p99_ms=None))
    run = with_timing(tmp_path / "now")
    found = judged(run, then, latency_p99_baseline_ratio={"limit": 1000})
    assert found.state == "inconclusive"
    assert "p99 takes 299 timed inferences, now and for the baseline" in found.message


def test_memory_is_compared_with_the_baselines(tmp_path: Path) -> None:
    then = baseline(with_timing(tmp_path / "then", peak_memory_mib=40.0))
    run = with_timing(tmp_path / "now", peak_memory_mib=50.0)
    assert judged(run, then, memory_baseline_ratio={"limit": 1.25}).state == "passed"
    assert judged(run, then, memory_baseline_ratio={"limit": 1.2}).state == "failed"


def test_artifact_that_the_baseline_does_not_have_is_refused(tmp_path: Path) -> None:
    run = with_timing(tmp_path)
    with pytest.raises(RecordError, match="baseline of 'host-cpu' has no 'onnx-int8'"):
        judged(run, baseline(run, entries={}), latency_baseline_ratio={"limit": 1})


def test_rule_about_a_baseline_needs_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--baselines DIR"):
        judged(with_timing(tmp_path), latency_baseline_ratio={"limit": 1})


def with_estimate(folder: Path, **changes: Any) -> Path:
    """Make a run, measured on host-cpu, beside whose latency lies an estimate for a board."""
    run = builders.make_run(folder, artifacts={"onnx-int8": Step()})
    record = Estimate(
        provenance=run_folder.read(run).checkpoints["teacher"].provenance,
        subject="model.onnx",
        sha256=builders.sha256_of("onnx-int8"),
        device="orin-nano-8gb",
        power_mode=None,
        gpu_mhz=1020,
        batch=1,
        precision="int8",
        macs=330_000,
        p50_ms=Range(low=0.5, high=1.5),
        layers=(),
    )
    path = run_folder.measurement(run) / "estimate.json"
    records.write(record.model_copy(update=changes), path)
    return run


ACCEPTED = {"devices": ["orin-nano-8gb"], "accept_estimates": True}


@pytest.mark.parametrize(
    ("limit", "state"), [(1.5, "passed"), (1.49, "inconclusive"), (0.49, "failed")]
)
def test_an_accepted_estimate_is_judged_by_its_whole_range_and_called_one(
    tmp_path: Path, limit: float, state: str
) -> None:
    found = judged(with_estimate(tmp_path), latency_p50_ms={"limit": limit, **ACCEPTED})
    assert found.state == state
    assert "onnx-int8, an estimate for orin-nano-8gb, not measured" in found.message


def test_an_estimate_that_the_rule_does_not_accept_is_refused(tmp_path: Path) -> None:
    run = with_estimate(tmp_path)
    with pytest.raises(RecordError, match="but latency was measured on 'host-cpu'"):
        judged(run, latency_p50_ms={"limit": 9, "devices": ["orin-nano-8gb"]})


def test_a_measurement_goes_before_an_estimate(tmp_path: Path) -> None:
    found = judged(with_estimate(tmp_path), latency_p50_ms={"limit": 9, "accept_estimates": True})
    assert "estimate" not in found.message


def test_an_estimate_for_another_device_or_file_is_refused(tmp_path: Path) -> None:
    other = with_estimate(tmp_path / "1", device="nano")
    with pytest.raises(RecordError, match="is an estimate for 'nano'"):
        judged(other, latency_p50_ms={"limit": 9, **ACCEPTED})
    other = with_estimate(tmp_path / "2", sha256="0" * 64)
    with pytest.raises(RecordError, match="another file than 'onnx-int8': estimate 'onnx-int8'"):
        judged(other, latency_p50_ms={"limit": 9, **ACCEPTED})


def test_an_estimate_that_is_not_there_is_told_with_its_command(tmp_path: Path) -> None:
    run = builders.make_run(tmp_path, artifacts={"onnx-int8": Step()})
    with pytest.raises(RecordError, match=r"accepts an estimate, .* `edgekd profile .*model\.onnx"):
        judged(run, latency_p50_ms={"limit": 9, **ACCEPTED})


def test_an_estimate_is_asked_neither_for_runs_nor_for_more_confidence(tmp_path: Path) -> None:
    run = with_estimate(tmp_path)
    found = judged(run, latency_p50_ms={"limit": 9, "runs": 300, **ACCEPTED})
    assert found.state == "inconclusive"
    with pytest.raises(UsageError, match=r"latency was estimated for at most 0\.95"):
        judged(run, latency_p50_ms={"limit": 9, "confidence": 0.97, **ACCEPTED})


@pytest.mark.parametrize("key", ["latency_p90_ms", "latency_p99_ms", "latency_ratio"])
def test_only_the_median_can_be_estimated(tmp_path: Path, key: str) -> None:
    with pytest.raises(UsageError, match="accept_estimates"):
        judged(with_estimate(tmp_path), **{key: {"limit": 9, **ACCEPTED}})


# Tails over the teacher's


def with_samples(folder: Path, **ms: np.ndarray) -> Path:
    """Make a run whose samples are given, [blocks, runs]: of the teacher's file, of onnx-int8."""
    run = builders.make_run(folder, artifacts={"onnx-int8": Step()})
    path = run_folder.measurement(run) / "measurement.json"
    np.savez(path.with_name("samples.npz"), **{REFERENCE: ms["teacher"], "onnx-int8": ms["mine"]})
    sha256 = files.sha256_of(path.with_name("samples.npz"))
    builders.change(Measurement, path, samples_sha256=sha256)
    return run


def with_slow_runs(share: int) -> np.ndarray:
    """Return 6 blocks of 100 runs of 1 ms, of which one in so many takes 3 ms."""
    return np.tile(np.where(np.arange(100) % share == 0, 3.0, 1.0), (6, 1))


@pytest.mark.parametrize(("key", "ratio"), [("latency_p90_ratio", 1.0), ("latency_p99_ratio", 3.0)])
def test_tail_is_compared_with_the_teachers(tmp_path: Path, key: str, ratio: float) -> None:
    # One run in 20 is slow: above p90, below p99.
    run = with_samples(tmp_path, teacher=np.ones((6, 100)), mine=with_slow_runs(20))
    for limit, state in ((ratio + 0.1, "passed"), (ratio - 0.1, "failed")):
        found = judged(run, **{key: {"limit": limit}})
        assert found.measured is not None
        assert (found.measured.value, found.state) == (ratio, state)


def test_a_tail_is_said_with_both_times(tmp_path: Path) -> None:
    run = with_samples(tmp_path, teacher=np.ones((6, 100)), mine=with_slow_runs(5))
    assert judged(run, latency_p90_ratio={"limit": 4}).message == (
        "latency p90 3.00 times the teacher's, limit 4.00 (1 ms -> 3 ms, onnx-int8)"
    )


def test_a_tail_that_varies_from_block_to_block_is_inconclusive(tmp_path: Path) -> None:
    mine = np.linspace(1.0, 3.0, 6)[:, None] * np.ones((6, 100))
    run = with_samples(tmp_path, teacher=np.ones((6, 100)), mine=mine)
    assert judged(run, latency_p90_ratio={"limit": 2.5}).state == "inconclusive"


@pytest.mark.parametrize(
    ("key", "shape", "message"),
    [
        ("latency_p90_ratio", (7, 4), "p90 takes 29 timed inferences, 28 were measured"),
        ("latency_p99_ratio", (13, 22), "p99 takes 299 timed inferences, 286 were measured"),
        ("latency_p90_ratio", (5, 100), "takes 6 blocks, 5 were measured: raise profile.blocks"),
    ],
)
def test_too_few_samples_of_a_tail_are_inconclusive_and_say_how_many_it_takes(
    tmp_path: Path, key: str, shape: tuple[int, int], message: str
) -> None:
    run = with_samples(tmp_path, teacher=np.ones(shape), mine=np.ones(shape))
    found = judged(run, **{key: {"limit": 1000}})
    assert found.state == "inconclusive"
    assert message in found.message


def test_tails_that_were_not_measured_in_turns_are_refused(tmp_path: Path) -> None:
    run = with_samples(tmp_path, teacher=np.ones((6, 100)), mine=np.ones((7, 100)))
    with pytest.raises(RecordError, match=r"'onnx-int8' has 7 blocks .* '.*' 6"):
        judged(run, latency_p90_ratio={"limit": 1})


def test_changed_samples_tell_no_tail(tmp_path: Path) -> None:
    run = with_samples(tmp_path, teacher=np.ones((6, 100)), mine=np.ones((6, 100)))
    (run_folder.measurement(run) / "samples.npz").write_bytes(b"faster ones")
    with pytest.raises(RecordError, match=r"samples.npz' was changed"):
        judged(run, latency_p90_ratio={"limit": 1})
