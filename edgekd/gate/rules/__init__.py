"""Judge a run by rules: passed, failed or inconclusive, each with what speaks for it.

Both answers need evidence: a rule is passed if the interval at its confidence lies on the right
side of the limit, failed if it lies on the wrong side, and inconclusive if the limit is inside.
So of the models that lie exactly at the limit, a share of 1 - confidence passes by luck, and as
many fail by bad luck; "inconclusive" says what would decide. A gate asks for all of its rules, so
more rules and artifacts make a lucky pass rarer still; that more of them do not make failures by
bad luck more frequent is Holm's method's work, see ``edgekd.gate.decide``.

Whatever cannot be judged (an artifact that was not measured, other images, changed files) is a
``RecordError``, never a pass. Reads records and predictions; needs neither torch nor onnx.
"""

from collections.abc import Callable, Iterable
from typing import Any

from edgekd.core import provenance, specs
from edgekd.core.errors import UsageError
from edgekd.core.records import Finding, Verdict
from edgekd.core.run_folder import Run
from edgekd.gate.baselines import Baseline
from edgekd.gate.decide import corrected, overall, side
from edgekd.gate.evidence import Evidence, Lint
from edgekd.gate.rules import accuracy, files, latency

__all__ = ["judge", "overall", "side"]

# Each takes its rule of the [gate], and yields a finding for each artifact.
RULES: dict[str, Callable[[Any, Evidence], Iterable[Finding]]] = {
    "top1_drop_pp": accuracy.top1_drop,
    "top5_drop_pp": accuracy.top5_drop,
    "worst_class_drop_pp": accuracy.worst_class_drop,
    "agreement_percent": accuracy.agreement,
    "latency_ratio": latency.ratio,
    "latency_p90_ratio": latency.p90_ratio,
    "latency_p99_ratio": latency.p99_ratio,
    "latency_p50_ms": latency.p50,
    "latency_p90_ms": latency.p90,
    "latency_p99_ms": latency.p99,
    "throughput_per_s": latency.throughput,
    "energy_per_image_mj": latency.energy,
    "peak_memory_mib": latency.memory,
    "size_ratio": files.size_ratio,
    "size_mib": files.size,
    "parity_sd": files.parity,
    "lint": files.lint,
    "latency_baseline_ratio": latency.baseline_ratio,
    "latency_p90_baseline_ratio": latency.p90_baseline_ratio,
    "latency_p99_baseline_ratio": latency.p99_baseline_ratio,
    "memory_baseline_ratio": latency.memory_baseline_ratio,
    "size_baseline_ratio": files.size_baseline_ratio,
}


def judge(
    gate: specs.Gate, run: Run, *, baseline: Baseline | None = None, lint: Lint | None = None
) -> Verdict:
    """Judge a run's records.

    Args:
        gate: at least one rule that is not informative.
        run: evaluated and measured as far as the rules ask.
        baseline: of the device that the run was measured on; None: no rule compares with one.
        lint: counts errors and warnings of a model file; None: no rule asks for them.

    Raises:
        UsageError: no rule decides anything, or one asks for more confidence than was measured.
        RecordError: what a rule needs is missing, was changed, or does not fit together.
    """
    given = gate.given()
    if all(rule.informative for rule in given.values()):
        raise UsageError(
            "the gate has no rule that decides: give [gate] one that is not informative, "
            "such as top1_drop_pp = { margin = 1.0 }"
        )
    evidence = Evidence(run, baseline, lint)
    found = [finding for name, rule in given.items() for finding in RULES[name](rule, evidence)]
    errors = {name: 1 - getattr(rule, "confidence", 1.0) for name, rule in given.items()}
    findings = corrected(found, errors)
    return Verdict(
        provenance=provenance.stamp("numpy"),
        parents=evidence.parents(),
        findings=tuple(findings),
        state=overall([finding.state for finding in findings if not finding.informative]),
    )
