"""INT8 of trained networks: accuracy, size, latency; four calibrators; a rival.

    python benchmarks/int8.py [--images 10000] [--blocks 20] [--models cifar_resnet20 ...]

Needs the data folder beside the project. Rows: the float model, both INT8 forms, 8-bit weights
(computed by the processor's integer kernels and, to see what saturation costs, exactly), the other
calibrators, and ONNX Runtime's quantize_static. All see the same calibration images. Latency: one
thread, batch 1, files in turns. Writes benchmarks/results/int8.{json,md}.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime import quantization

from edgekd.core import files, plugins, provenance, specs
from edgekd.core.records import Measurement
from edgekd.data import augment
from edgekd.export.target import Target
from edgekd.export.write import Calibration, export
from edgekd.models import checkpoint
from edgekd.models.checkpoint import Model
from edgekd.profile import local
from edgekd.profile.local import Subject
from edgekd.quantize import ranges

DATA = Path(__file__).parents[2] / "shared" / "data"
RESULTS = Path(__file__).parent / "results"
WEIGHTS = {"cifar_resnet20": "cifar10_resnet20", "cifar_resnet56": "cifar10jpeg_resnet56"}
CALIBRATION_IMAGES = 512
PARITY_IMAGES = 64
BATCH = 50
TIMED = ("onnx-fp32", "onnx-int8", "tensorrt-int8", "rival, 7 bits", "rival, 8 bits")


def main() -> None:
    arguments = parse()
    sys.path.insert(0, str(DATA))
    from load_shards import JpegShard

    tests, labels_n = read(JpegShard(DATA / "cifar10_jpeg" / "test.npz"), arguments.images, None)
    calibration, _ = read(JpegShard(DATA / "cifar10_jpeg" / "train.npz"), CALIBRATION_IMAGES, 0)
    rows: list[dict[str, Any]] = []
    measured: dict[str, Measurement] = {}
    for name in arguments.models:
        model = checkpoint.open_model(
            name, weights=DATA / "weights" / f"{WEIGHTS[name]}.safetensors", classes=10
        )
        with tempfile.TemporaryDirectory() as folder:
            paths = write_all(model, prepare(model, calibration), Path(folder))
            rows += [
                {"model": name, **row} for row in score_all(paths, prepare(model, tests), labels_n)
            ]
            measured[name] = measure(paths, prepare(model, tests[:1]), arguments.blocks)
    report(rows, measured, arguments.images)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000, help="test images")
    parser.add_argument("--blocks", type=int, default=20, help="of 30 timed inferences each")
    parser.add_argument("--models", nargs="+", choices=WEIGHTS, default=list(WEIGHTS))
    return parser.parse_args()


def read(shard: Any, count: int, seed: int | None) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return ``count`` images [N, H, W, C] and their labels: the first, or drawn with a seed."""
    order = (
        np.arange(len(shard))
        if seed is None
        else np.random.default_rng(seed).permutation(len(shard))
    )
    pairs = [shard[i] for i in order[:count]]
    return np.stack([np.asarray(image) for image, _ in pairs]), np.array([y for _, y in pairs])


def prepare(model: Model, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return augment.normalise(images, model.record.normalisation, "cpu").numpy()


def write_all(model: Model, images_nchw: NDArray[np.float32], folder: Path) -> dict[str, Path]:
    """Return row -> file."""
    paths = {}

    def write(row: str, target: Target, calibrator: str) -> None:
        def find(path: Path, tensors: list[str]) -> dict[str, ranges.Range]:
            batches = np.array_split(images_nchw, len(images_nchw) // BATCH)
            return ranges.calibrate(path, tensors, batches, calibrator)

        artifact = export(
            model,
            target,
            folder / row,
            parity_nchw=images_nchw[:PARITY_IMAGES],
            calibration=Calibration(find, calibrator),
        )
        paths[row] = folder / row / artifact.file

    int8 = Target.read("onnx-int8")
    eight = int8.model_copy(
        update={"quantise": int8.quantise.model_copy(update={"weight_bits": 8})}
    )
    write("onnx-fp32", Target.read("onnx-fp32"), "minmax")
    write("onnx-int8", int8, "entropy")
    write("tensorrt-int8", Target.read("tensorrt-int8"), "entropy")
    write("onnx-int8, 8-bit weights", eight, "entropy")
    for calibrator in plugins.names(ranges.CALIBRATORS):
        if calibrator != "entropy":
            write(f"onnx-int8, {calibrator}", int8, calibrator)
    for bits in (7, 8):
        path = folder / f"rival{bits}.onnx"
        rival(paths["onnx-fp32"], path, images_nchw, reduced=bits == 7)
        paths[f"rival, {bits} bits"] = path
    return paths


def rival(source: Path, path: Path, images_nchw: NDArray[np.float32], *, reduced: bool) -> None:
    """Quantise with ONNX Runtime's own tool: UINT8 activations, minimum and maximum."""

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.left = np.array_split(images_nchw, len(images_nchw) // BATCH)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return {"images": self.left.pop(0)} if self.left else None

    quantization.quantize_static(
        str(source), str(path), Reader(), per_channel=True, reduce_range=reduced,
        activation_type=quantization.QuantType.QUInt8,
    )  # fmt: skip


def score_all(
    paths: dict[str, Path], images_nchw: NDArray[np.float32], labels_n: NDArray[np.int64]
) -> list[dict[str, Any]]:
    expected_nk = logits(paths["onnx-fp32"], images_nchw)
    rows = []
    for row, path in paths.items():
        rows.append(score(row, path, logits(path, images_nchw), expected_nk, labels_n))
        if "8" in row.removeprefix("onnx-int8") and row.startswith(("onnx-int8,", "rival")):
            exact_nk = logits(path, images_nchw, fused=False)
            rows.append(score(f"{row}, computed exactly", path, exact_nk, expected_nk, labels_n))
    return rows


def score(
    row: str,
    path: Path,
    logits_nk: NDArray[np.float32],
    expected_nk: NDArray[np.float32],
    labels_n: NDArray[np.int64],
) -> dict[str, Any]:
    top1_n = logits_nk.argmax(axis=1)
    error = float(np.sqrt(np.mean((logits_nk - expected_nk) ** 2)) / expected_nk.std())
    return {
        "row": row,
        "top1_percent": 100 * float((top1_n == labels_n).mean()),
        "same_top1_percent": 100 * float((top1_n == expected_nk.argmax(axis=1)).mean()),
        "logit_error": error,  # root mean square, in standard deviations of the float logits
        "bytes": path.stat().st_size,
    }


def logits(
    path: Path, images_nchw: NDArray[np.float32], *, fused: bool = True
) -> NDArray[np.float32]:
    """Run a file; not fused: Q and DQ are computed as they stand, in floating point."""
    levels = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if fused else levels.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    batch = source.shape[0] if isinstance(source.shape[0], int) else BATCH
    parts = [
        session.run(None, {source.name: images_nchw[first : first + batch]})[0]
        for first in range(0, len(images_nchw), batch)
    ]
    return np.concatenate(parts)


def measure(paths: dict[str, Path], image_nchw: NDArray[np.float32], blocks: int) -> Measurement:
    subjects = [Subject(row, paths[row], files.sha256_of(paths[row])) for row in TIMED]
    spec = specs.Profile(blocks=blocks)
    with tempfile.TemporaryDirectory() as folder:
        return local.measure(subjects, spec, image_nchw, Path(folder))


def report(rows: list[dict[str, Any]], measured: dict[str, Measurement], images: int) -> None:
    stamp = provenance.stamp("onnx", "onnxruntime", "torch").model_dump(
        mode="json", exclude={"command"}
    )
    timings = {name: found.model_dump(mode="json") for name, found in measured.items()}
    RESULTS.mkdir(exist_ok=True)
    content = {**stamp, "images": images, "rows": rows, "measurements": timings}
    files.write_text(RESULTS / "int8.json", json.dumps(content, indent=2) + "\n")
    text = "\n".join(table(rows, measured, images, stamp)) + "\n"
    files.write_text(RESULTS / "int8.md", text)
    print(text)


def table(
    rows: list[dict[str, Any]],
    measured: dict[str, Measurement],
    images: int,
    stamp: dict[str, Any],
) -> list[str]:
    versions = stamp["versions"]
    intro = (
        f"`python benchmarks/int8.py`: {images:,} test images of CIFAR-10, JPEG q75 re-encoded "
        "(not comparable with published figures), "
        f"{CALIBRATION_IMAGES} training images for calibration.\n"
        f"{stamp['machine']}, ONNX Runtime {versions['onnxruntime']}, one thread, batch 1. "
        "Speed: float time over this row's, with its 95 % interval. Rival: `quantize_static`.\n"
        "Computed exactly: Q and DQ in floating point, without the integer kernels.\n"
        "Logit error: root mean square, in standard deviations of the float logits."
    )
    lines = ["# INT8", "", intro]
    for model in dict.fromkeys(row["model"] for row in rows):
        speeds = {timing.subject: speed(timing) for timing in measured[model].timings}
        lines += ["", f"## {model}", ""]
        lines += ["| | top-1 % | same top-1 % | logit error | bytes | p50 ms | speed |"]
        lines += ["| --- | --- | --- | --- | --- | --- | --- |"]
        lines += [
            f"| {row['row']} | {row['top1_percent']:.2f} | {row['same_top1_percent']:.2f} | "
            f"{row['logit_error']:.3f} | {row['bytes']:,} | {speeds.get(row['row'], ' | ')} |"
            for row in rows
            if row["model"] == model
        ]
        warnings = [f"- {warning}" for warning in measured[model].warnings]
        lines += ["", *warnings] if warnings else []
    return lines


def speed(timing: Any) -> str:
    ratio = timing.ratio_to_first
    shown = f"{timing.p50_ms.value:.3f}"
    if ratio is None:  # the float file itself, or too few blocks
        return f"{shown} | "
    return f"{shown} | {1 / ratio.value:.2f} ({1 / ratio.high:.2f} to {1 / ratio.low:.2f})"


if __name__ == "__main__":
    main()
