"""Rules about what was measured on a device: latency, throughput, energy, memory."""

from collections.abc import Iterator

import numpy as np

from edgekd.core import p_values, rules, run_folder, samples, statistics
from edgekd.core.errors import RecordError, UsageError
from edgekd.core.records import Finding, Interval, Measurement, State, Timing
from edgekd.core.run_folder import REFERENCE
from edgekd.gate.decide import exactly, finding, side, side_above
from edgekd.gate.evidence import Evidence

ENERGY = "energy_per_image_mj"
_ROUNDING = 1e-9  # of a confidence, by halving and doubling
_ESTIMATES = 0.9  # 33 of 37 published medians lay within their range: docs/estimate.md
_LEAST_MIB = 0.01  # no process that runs a model takes less
_P99_RUNS = statistics.fewest_samples(0.99)


def ratio(rule: rules.LatencyRule, evidence: Evidence) -> Iterator[Finding]:
    """Judge the median latency over the teacher's, measured in turns with it."""
    key = "latency_ratio"
    measurement = evidence.measurement(key, rule.devices)
    reference = _reference(key, evidence, measurement)
    for name, timing in _timings(key, rule, evidence):
        found = timing.ratio_to_first
        missing = "too few blocks for an interval of the ratio: raise profile.blocks"
        detail = f"{_ms(reference.p50_ms)} -> {_ms(timing.p50_ms)}, {name}"
        yield _judged(key, rule, measurement, timing, found, detail, missing)


def p90_ratio(rule: rules.LatencyRule, evidence: Evidence) -> Iterator[Finding]:
    """Judge the latency that one in ten inferences exceeds over the teacher's."""
    yield from _tail_ratio("latency_p90_ratio", 0.9, rule, evidence)


def p99_ratio(rule: rules.LatencyRule, evidence: Evidence) -> Iterator[Finding]:
    """Judge the latency that one in a hundred inferences exceeds over the teacher's."""
    yield from _tail_ratio("latency_p99_ratio", 0.99, rule, evidence)


def baseline_ratio(rule: rules.LatencyRule, evidence: Evidence) -> Iterator[Finding]:
    """Judge the median latency over the baseline's."""
    yield from _baseline_ratio("latency_baseline_ratio", "p50_ms", rule, evidence)


def p90_baseline_ratio(rule: rules.LatencyRule, evidence: Evidence) -> Iterator[Finding]:
    """Judge the latency that one in ten inferences exceeds over the baseline's."""
    yield from _baseline_ratio("latency_p90_baseline_ratio", "p90_ms", rule, evidence)


def p99_baseline_ratio(rule: rules.LatencyRule, evidence: Evidence) -> Iterator[Finding]:
    """Judge the latency that one in a hundred inferences exceeds over the baseline's."""
    yield from _baseline_ratio("latency_p99_baseline_ratio", "p99_ms", rule, evidence)


def p50(rule: rules.MedianRule, evidence: Evidence) -> Iterator[Finding]:
    """Judge the median latency: as measured or, if the rule accepts that, as estimated."""
    key = "latency_p50_ms"
    if rule.accept_estimates and not _is_measured(rule, evidence):
        for name in evidence.names(key, rule.artifacts):
            yield _estimated(key, rule, evidence, name)
        return
    measurement = evidence.measurement(key, rule.devices)
    for name, timing in _timings(key, rule, evidence):
        yield _judged(key, rule, measurement, timing, timing.p50_ms, name)


def p90(rule: rules.LatencyRule, evidence: Evidence) -> Iterator[Finding]:
    """Judge the latency that one in ten inferences exceeds."""
    key = "latency_p90_ms"
    measurement = evidence.measurement(key, rule.devices)
    for name, timing in _timings(key, rule, evidence):
        yield _judged(key, rule, measurement, timing, timing.p90_ms, name)


def p99(rule: rules.LatencyRule, evidence: Evidence) -> Iterator[Finding]:
    """Judge the latency that one in a hundred inferences exceeds."""
    key = "latency_p99_ms"
    measurement = evidence.measurement(key, rule.devices)
    for name, timing in _timings(key, rule, evidence):
        missing = f"p99 takes {_P99_RUNS} timed inferences, {timing.runs} were measured"
        yield _judged(key, rule, measurement, timing, timing.p99_ms, name, missing)


def throughput(rule: rules.ThroughputRule, evidence: Evidence) -> Iterator[Finding]:
    """Judge the images a second, of all streams together."""
    key = "throughput_per_s"
    measurement = evidence.measurement(key, rule.devices)
    for name, timing in _timings(key, rule, evidence):
        found = timing.images_per_s
        detail = f"batch {measurement.batch}, streams {measurement.streams}, {name}"
        if found is None:
            missing = "the record is too old to say: measure again"
            yield finding(key, rule, name, None, rule.least, "inconclusive", detail, missing)
            continue
        state, doubt, doubts = _doubted(
            side_above(found, rule.least), key, rule, measurement, timing, found
        )
        seconds = Interval(
            value=1 / found.value,
            low=1 / found.high,
            high=1 / found.low,
            confidence=found.confidence,
        )
        p_value = p_values.ratio_p_value(seconds, 1 / rule.least)
        yield finding(key, rule, name, found, rule.least, state, detail, doubt, p_value, doubts)


def energy(rule: rules.LatencyRule, evidence: Evidence) -> Iterator[Finding]:
    """Judge the energy of one image, above what the device takes when idle."""
    key = ENERGY
    measurement = evidence.measurement(key, rule.devices)
    asked = measurement.energy
    for name, timing in _timings(key, rule, evidence):
        if asked is None or timing.energy is None:
            why = asked.missing if asked and asked.missing else "measure with profile.energy = true"
            raise RecordError(
                f"the energy of '{name}' was not measured, so rule {key} cannot be judged: {why}"
            )
        detail = f"{asked.source}, {asked.scope}, {name}"
        yield _judged(key, rule, measurement, timing, timing.energy.per_image_mj, detail)


def memory(rule: rules.MemoryRule, evidence: Evidence) -> Iterator[Finding]:
    """Judge the peak memory of the process that ran the model, and what it took on the GPU."""
    key = "peak_memory_mib"
    for name, timing in _timings(key, rule, evidence):
        found = exactly(timing.peak_memory_mib)
        yield finding(key, rule, name, found, rule.limit, side(found, rule.limit), name)


def memory_baseline_ratio(rule: rules.MemoryRule, evidence: Evidence) -> Iterator[Finding]:
    """Judge the peak memory over the baseline's."""
    key = "memory_baseline_ratio"
    for name, timing in _timings(key, rule, evidence):
        now, then = timing.peak_memory_mib, evidence.entry(name, key).peak_memory_mib
        if then < _LEAST_MIB:
            raise RecordError(f"the baseline of '{name}' has no peak memory to compare with")
        found = exactly(now / then)
        detail = f"{then:.3g} MiB -> {now:.3g} MiB, {name}"
        yield finding(key, rule, name, found, rule.limit, side(found, rule.limit), detail)


def _reference(key: str, evidence: Evidence, measurement: Measurement) -> Timing:
    """Return the latency of the teacher's file, which must be what the others took turns with."""
    first = measurement.timings[0].subject if measurement.timings else "nothing"
    if first != REFERENCE:
        raise RecordError(
            f"latency was measured against '{first}', but rule {key} is against "
            f"'{REFERENCE}': measure that first"
        )
    return evidence.timing(REFERENCE, key, measurement)


def _tail_ratio(
    key: str, quantile: float, rule: rules.LatencyRule, evidence: Evidence
) -> Iterator[Finding]:
    """Judge the ratio of a percentile to the teacher's, from the samples, block by block."""
    measurement = evidence.measurement(key, rule.devices)
    _reference(key, evidence, measurement)
    ms = samples.read(run_folder.measurement(evidence.run.folder), measurement)
    fewest, theirs = statistics.fewest_samples(quantile), ms[REFERENCE]
    for name, timing in _timings(key, rule, evidence):
        mine, found, missing = ms[name], None, ""
        if len(mine) != len(theirs):
            raise RecordError(
                f"'{name}' has {len(mine)} blocks of latencies and '{REFERENCE}' {len(theirs)}, "
                "so they were not measured in turns: measure both again"
            )
        if (runs := min(mine.size, theirs.size)) < fewest:
            missing = f"p{100 * quantile:g} takes {fewest} timed inferences, {runs} were measured"
        elif len(mine) < statistics.FEWEST_BLOCKS:
            missing = (
                f"the ratio takes {statistics.FEWEST_BLOCKS} blocks, {len(mine)} were measured: "
                "raise profile.blocks"
            )
        else:
            level = 2 * rule.confidence - 1
            found = statistics.ratio_of_quantiles(theirs, mine, quantile, level)
        times = (f"{float(np.quantile(of, quantile)):.3g} ms" for of in (theirs, mine))
        detail = f"{' -> '.join(times)}, {name}"
        yield _judged(key, rule, measurement, timing, found, detail, missing)


def _baseline_ratio(
    key: str, which: str, rule: rules.LatencyRule, evidence: Evidence
) -> Iterator[Finding]:
    """Judge a percentile over the baseline's, measured another day on the same device.

    The two were not measured in turns, so the interval goes from the least of the one over the
    most of the other to the reverse.
    """
    measurement = evidence.measurement(key, rule.devices)
    for name, timing in _timings(key, rule, evidence):
        now, then = getattr(timing, which), getattr(evidence.entry(name, key), which)
        if now is None or then is None:
            missing = f"p99 takes {_P99_RUNS} timed inferences, now and for the baseline"
            yield _judged(key, rule, measurement, timing, None, name, missing)
            continue
        found = Interval(
            value=now.value / then.value,
            low=now.low / then.high,
            high=now.high / then.low,
            confidence=min(now.confidence, then.confidence),
        )
        detail = f"{_ms(then)} -> {_ms(now)}, {name}"
        yield _judged(key, rule, measurement, timing, found, detail)


def _timings(
    key: str, rule: rules.MeasuredRule | rules.MemoryRule, evidence: Evidence
) -> Iterator[tuple[str, Timing]]:
    measurement = evidence.measurement(key, rule.devices)
    for name in evidence.names(key, rule.artifacts):
        yield name, evidence.timing(name, key, measurement)


def _is_measured(rule: rules.MedianRule, evidence: Evidence) -> bool:
    found = evidence.run.measurement
    return found is not None and (rule.devices is None or found.device in rule.devices)


def _estimated(key: str, rule: rules.MedianRule, evidence: Evidence, name: str) -> Finding:
    """Judge a range that was worked out, not measured; see docs/estimate.md for its worth."""
    guess = evidence.estimate(name, key, rule.devices)
    ms = guess.p50_ms
    found = Interval(value=(ms.low + ms.high) / 2, low=ms.low, high=ms.high, confidence=_ESTIMATES)
    _check_confidence(key, rule, found, "estimated")
    detail = f"{name}, an estimate for {guess.device}, not measured"
    state, doubt = side(found, rule.limit), ""
    if rule.runs > 1:
        state, doubt = "inconclusive", f"an estimate has no runs, the rule asks for {rule.runs}"
    elif state == "inconclusive":
        doubt = "the estimate does not decide: measure on the device"
    return finding(key, rule, name, found, rule.limit, state, detail, doubt)


def _judged(
    key: str,
    rule: rules.LatencyRule,
    measurement: Measurement,
    timing: Timing,
    found: Interval | None,
    detail: str,
    missing: str = "",
) -> Finding:
    """Judge a latency or a ratio; None: not known, and ``missing`` says why."""
    name = timing.subject
    if found is None:
        return finding(key, rule, name, None, rule.limit, "inconclusive", detail, missing)
    state, doubt, doubts = _doubted(side(found, rule.limit), key, rule, measurement, timing, found)
    p_value = p_values.ratio_p_value(found, rule.limit)
    return finding(key, rule, name, found, rule.limit, state, detail, doubt, p_value, doubts)


def _doubted(
    state: State,
    key: str,
    rule: rules.MeasuredRule,
    measurement: Measurement,
    timing: Timing,
    found: Interval,
) -> tuple[State, str, tuple[str, ...]]:
    """What makes a measurement doubtful makes its answer so, a pass as well as a failure."""
    _check_confidence(key, rule, found, "measured")
    doubts = measurement.doubts if key == ENERGY else measurement.warnings
    if doubts:
        return "inconclusive", "", doubts
    if timing.runs < rule.runs:
        doubt = f"{timing.runs} timed inferences, but the rule asks for {rule.runs}"
        return "inconclusive", doubt, ()
    doubt = "take more blocks or a quieter machine" if state == "inconclusive" else ""
    return state, doubt, ()


def _check_confidence(key: str, rule: rules.MeasuredRule, found: Interval, how: str) -> None:
    known = (1 + found.confidence) / 2
    if rule.confidence > known + _ROUNDING:
        raise UsageError(
            f"gate.{key}.confidence is {rule.confidence:g}, but latency was {how} for at most "
            f"{known:g}"
        )


def _ms(time: Interval) -> str:
    return f"{time.value:.3g} ms"
