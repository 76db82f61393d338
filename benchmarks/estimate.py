"""Hold estimates against latencies that others have measured and published.

torch2trt's documentation (NVIDIA, docs/benchmarks/jetson_xavier.md and jetson_nano.md) has the
latency of torchvision's networks in FP16 at 1 x 3 x 224 x 224 on a Jetson AGX Xavier and a Jetson
Nano. The networks are exported without training and estimated; a line says whether the range holds.
Of the VGGs, which need gigabytes to be exported, two stand for all.

    python benchmarks/estimate.py          # some minutes; writes benchmarks/results/estimate.md
"""

import tempfile
from pathlib import Path
from statistics import median

import torch
import torchvision

from edgekd.core.estimate import Range
from edgekd.profile import estimate
from edgekd.profile.estimate import Known, Wishes
from edgekd.remote import devices

XAVIER = {
    "alexnet": 2.02, "squeezenet1_0": 1.49, "squeezenet1_1": 1.02, "resnet18": 1.64,
    "resnet34": 2.79, "resnet50": 3.37, "resnet101": 6.04, "resnet152": 8.57, "densenet121": 13,
    "densenet169": 23.7, "densenet201": 33, "densenet161": 23, "vgg11": 5.24,
    "vgg16": 7.46, "mobilenet_v2": 1.67, "shufflenet_v2_x0_5": 2.17,
    "shufflenet_v2_x1_0": 2.43, "shufflenet_v2_x1_5": 2.37, "shufflenet_v2_x2_0": 2.48,
    "mnasnet0_5": 1.4, "mnasnet0_75": 1.6, "mnasnet1_0": 1.77, "mnasnet1_3": 2.02,
}  # fmt: skip
NANO = {
    "alexnet": 14.7, "squeezenet1_0": 7.6, "squeezenet1_1": 4.34, "resnet18": 11.4,
    "resnet34": 20.2, "resnet50": 29.8, "resnet101": 51.1, "resnet152": 72.3, "densenet121": 24.8,
    "densenet169": 31.2, "densenet201": 40.8, "densenet161": 65.8, "vgg11": 55.1, "vgg16": 85.1,
}  # fmt: skip
BOARDS = {"agx-xavier": XAVIER, "nano": NANO}
RESULT = Path(__file__).parent / "results" / "estimate.md"


def export(name: str, folder: Path) -> Path:
    """Write a network of torchvision's with random weights as ONNX."""
    path = folder / f"{name}.onnx"
    with torch.device("meta"):  # drawing random weights takes longer than all the rest
        net = torchvision.models.get_model(name, weights=None).eval()
    net = net.to_empty(device="cpu")
    for value in (*net.parameters(), *net.buffers()):
        torch.nn.init.ones_(value) if value.is_floating_point() else value.zero_()
    images = torch.zeros(1, 3, 224, 224)
    torch.onnx.export(net, (images,), str(path), dynamo=False, opset_version=17)
    return path


def main() -> None:
    """Estimate every network on both boards and write the table."""
    found: dict[str, dict[str, Known]] = {board: {} for board in BOARDS}
    for name in XAVIER:
        with tempfile.TemporaryDirectory() as folder:
            model = export(name, Path(folder))
            for board, measured in BOARDS.items():
                if name in measured:
                    record = estimate.estimate(
                        model, board, devices.find(board), Wishes(precision="fp16")
                    )
                    found[board][name] = Known(measured[name], record.p50_ms)
    RESULT.write_text("\n".join(lines(found)) + "\n", encoding="utf-8")


def lines(found: dict[str, dict[str, Known]]) -> list[str]:
    """Return the page."""
    out = [
        "# Estimates against published latencies",
        "",
        "Written by `benchmarks/estimate.py`. Measured by NVIDIA, not by edgekd: torch2trt's",
        "documentation (FP16, batch 1, 224 x 224).",
    ]
    for board, knowns in found.items():
        held = sum(holds(one.estimated, one.measured_ms) for one in knowns.values())
        factors = [one.factor for one in knowns.values()]
        few = list(knowns.values())[::4]
        calibration = estimate.calibrate(few)
        rest = [one for one in knowns.values() if one not in few]
        later = sum(
            holds(estimate.moved(one.estimated, calibration), one.measured_ms) for one in rest
        )
        assert calibration.error_ratio is not None
        out += [
            "",
            f"## {board}",
            "",
            f"{held} of {len(knowns)} lie within the range. Measured over the range's middle:",
            f"{min(factors):.2f} to {max(factors):.2f}, median {median(factors):.2f}.",
            f"Calibrated by every fourth ({len(few)}; leave-one-out error up to",
            f"{100 * calibration.error_ratio:.0f} %), {later} of the other {len(rest)} do.",
            "",
            "| network | measured ms | estimate ms | within | calibrated ms | within |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for name, one in knowns.items():
            line = f"| {name} | {one.measured_ms:g} | {_range(one.estimated, one.measured_ms)}"
            if one in few:
                out.append(f"{line} | calibrates | |")
            else:
                near = estimate.moved(one.estimated, calibration)
                out.append(f"{line} | {_range(near, one.measured_ms)} |")
    return out


def holds(estimated: Range, measured_ms: float) -> bool:
    """Say whether a measurement lies within a range."""
    return estimated.low <= measured_ms <= estimated.high


def _range(estimated: Range, measured_ms: float) -> str:
    yes = "yes" if holds(estimated, measured_ms) else "no"
    return f"{estimated.low:.3g} to {estimated.high:.3g} | {yes}"


if __name__ == "__main__":
    main()
