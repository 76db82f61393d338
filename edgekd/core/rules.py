"""What people write under ``[gate]``: the rules of the verdict, fixed before anything is measured.

Margins are in percentage points (pp), confidences one-sided. Every rule decides, unless it is
informative. A rule's name says what is measured and in which unit.
"""

from typing import Annotated, Literal

from pydantic import Field

from edgekd.core.checking import Spec

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Rule(Spec):
    """What every rule takes."""

    informative: bool = False  # shown, but not part of the verdict
    artifacts: tuple[str, ...] | None = None  # targets; None: all that are exported


class MarginRule(Rule):
    """Non-inferiority: the teacher's share of right answers minus the student's is below it."""

    margin: Annotated[float, Field(gt=0, lt=100)]  # pp
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95  # one-sided
    images: Count = 1  # fewer are inconclusive; for worst_class_drop_pp: of each class


class AccuracyRule(MarginRule):
    """Non-inferiority of all images together, whose interval can be had in two ways."""

    interval: Literal["score", "bootstrap"] = "score"  # Tango's; or images drawn anew, in pairs


class AgreementRule(Rule):
    """The student gives the teacher's answer, right or wrong, for at least this share of images."""

    least: Annotated[float, Field(gt=0, lt=100)]  # percent
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95  # one-sided
    images: Count = 1  # fewer are inconclusive


class MeasuredRule(Rule):
    """What every rule about a measured time takes."""

    devices: tuple[str, ...] | None = None  # the measurement must be from one of them; None: any
    confidence: Annotated[float, Field(gt=0.5, le=0.975)] = 0.95  # one-sided
    runs: Count = 1  # timed inferences; fewer are inconclusive


class LatencyRule(MeasuredRule):
    """A latency or an energy, or its ratio to another, must not exceed the limit."""

    limit: Positive  # ms or mJ; or a ratio: 0.5 is at most half of the other


class MedianRule(LatencyRule):
    """The median latency, which alone can be estimated, too."""

    accept_estimates: bool = False  # take an estimate where such a device was not measured


class ThroughputRule(MeasuredRule):
    """So many images a second at least, at the batch that was measured."""

    least: Positive  # images a second


class MemoryRule(Rule):
    """Peak memory, or its ratio to the baseline's, must not exceed the limit."""

    limit: Positive  # MiB; or a ratio
    devices: tuple[str, ...] | None = None  # the measurement must be from one of them; None: any


class LimitRule(Rule):
    """What is known exactly must not exceed the limit."""

    limit: Positive  # as the rule's name says: a ratio, MiB, or standard deviations of the logits


class LintRule(Rule):
    """`edgekd lint` must not find more than this, for the versions of TensorRT that it checks."""

    errors: Annotated[int, Field(ge=0)] = 0  # at most
    warnings: Annotated[int, Field(ge=0)] | None = None  # at most; None: any number


class Gate(Spec):
    """The rules of the verdict."""

    top1_drop_pp: AccuracyRule | None = None  # paired, image by image
    top5_drop_pp: AccuracyRule | None = None  # likewise, from 6 classes on
    worst_class_drop_pp: MarginRule | None = None  # top-1 of the class that loses most
    agreement_percent: AgreementRule | None = None  # with the teacher's top-1
    latency_ratio: LatencyRule | None = None  # median over the teacher's, as onnx-fp32, in turns
    latency_p90_ratio: LatencyRule | None = None  # p90 over the teacher's, likewise
    latency_p99_ratio: LatencyRule | None = None  # p99 over the teacher's, likewise
    latency_p50_ms: MedianRule | None = None  # median
    latency_p90_ms: LatencyRule | None = None
    latency_p99_ms: LatencyRule | None = None  # from 299 timed inferences on
    throughput_per_s: ThroughputRule | None = None  # images a second, of all streams
    energy_per_image_mj: LatencyRule | None = None  # above idle; needs profile.energy = true
    peak_memory_mib: MemoryRule | None = None  # of its process, and on the GPU
    size_ratio: LimitRule | None = None  # bytes over the teacher's (onnx-fp32)
    size_mib: LimitRule | None = None
    parity_sd: LimitRule | None = None  # largest error of a logit / their standard deviation
    lint: LintRule | None = None
    latency_baseline_ratio: LatencyRule | None = None  # median over the baseline's
    latency_p90_baseline_ratio: LatencyRule | None = None  # p90 over the baseline's
    latency_p99_baseline_ratio: LatencyRule | None = None  # p99 over the baseline's
    memory_baseline_ratio: MemoryRule | None = None
    size_baseline_ratio: LimitRule | None = None

    def given(self) -> dict[str, Rule]:
        """Return the rules that were asked for, by name, in the order above."""
        rules = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: rule for name, rule in rules.items() if rule is not None}

    def against_baseline(self) -> list[str]:
        """Return the names of the rules that compare with an earlier measurement."""
        return [name for name in self.given() if "_baseline_" in name]
