"""Judge a finished run, with the linter where a rule asks for it, or keep it as the baseline."""

from pathlib import Path

from edgekd.core import manifest, records, specs
from edgekd.core.errors import UsageError
from edgekd.core.records import Artifact, Verdict
from edgekd.core.run_folder import Run
from edgekd.gate import baselines, rules
from edgekd.gate.evidence import Evidence


def judge(gate: specs.Gate, run: Run, folder: Path | None = None) -> Verdict:
    """Judge a run.

    Args:
        gate: the rules.
        run: its records.
        folder: of the baselines; None: no rule compares with one.

    Raises:
        UsageError: rules and ``folder`` do not fit together; see also ``rules.judge``.
        RecordError: see ``rules.judge``, ``baselines.read`` and ``manifest.check_records``.
    """
    manifest.check_records(run)
    comparing = gate.against_baseline()
    if comparing and folder is None:
        raise UsageError(
            f"rule {comparing[0]} compares with a baseline: say where it lies with --baselines DIR"
        )
    if folder is not None and not comparing:
        raise UsageError(
            "--baselines is given, but no rule compares with a baseline: give [gate] one, such as "
            "latency_baseline_ratio = { limit = 1.05 }"
        )
    baseline = baselines.read(folder, run.measurement) if folder is not None else None
    return rules.judge(gate, run, baseline=baseline, lint=lint)


def keep(run: Run, folder: Path) -> Path:
    """Write what a run needed as the baseline of its device, in place of an earlier one.

    Raises:
        RecordError: it was not measured, or its files were changed since.
        InconclusiveError: the measurement was disturbed.
    """
    manifest.check_records(run)
    measurement = Evidence(run).measurement("of a baseline")
    file = baselines.path(folder, measurement.device)
    records.write(baselines.of(run, measurement), file)
    return file


def lint(path: Path, artifact: Artifact) -> tuple[int, int]:
    """Return how many errors and warnings the linter finds in a file for TensorRT.

    It is linted for its platform's versions of TensorRT, or for the usual ones.
    """
    from edgekd.export.platform import Platform
    from edgekd.lint import run as linter
    from edgekd.lint.model import load  # onnx: only where a rule asks for it

    names = Platform.read(artifact.platform).tensorrt if artifact.platform else ()
    versions = [linter.parse(name) for name in names] or list(linter.USUAL)
    graph = load(path, labelled_int8=artifact.precision == "int8", dla="dla" in artifact.target)
    result = linter.lint(graph, versions)
    return result.count("error"), result.count("warning")
