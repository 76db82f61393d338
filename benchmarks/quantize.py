"""edgekd's INT8 against ONNX Runtime's, NNCF's and modelopt's, from the same float files.

    python benchmarks/quantize.py DIR --work WORK [--images 8000] [--half CHECKPOINT]

DIR holds CIFAR-10, JPEG q75 re-encoded; the weights lie in the data folder beside the project.
CHECKPOINT is half a ResNet-56, such as ``edgekd run cifar10-resnet56`` leaves in checkpoints/deep.
Every tool quantises in a process of its own, edgekd's rivals in environments that are made in WORK.
All files then compute the same test images in edgekd's ONNX Runtime, and those
that are made for it are timed in turns. What is done is a file in WORK: an interrupted run goes on
where it stopped. Writes benchmarks/results/quantize.{json,md}.
"""

import argparse
import json
import subprocess
import sys
import sysconfig
import venv
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import quantize_table
from numpy.typing import NDArray

from edgekd.core import files, provenance, records, specs
from edgekd.core.records import Measurement
from edgekd.data import augment, sources
from edgekd.data.draw import draw
from edgekd.data.sources import ImageSet
from edgekd.export import runtime
from edgekd.export.target import Target
from edgekd.export.write import export
from edgekd.models import checkpoint
from edgekd.models.checkpoint import Model
from edgekd.profile import local
from edgekd.profile.local import Subject

HERE = Path(__file__).parent
RESULTS = HERE / "results"
WEIGHTS = HERE.parents[1] / "shared" / "data" / "weights"
MODELS = {"resnet20": "cifar10_resnet20", "resnet56": "cifar10jpeg_resnet56"}
HALF = "resnet56 at half its MACs"
CALIBRATION_IMAGES = 512
PARITY_IMAGES = 64
FLOAT = "onnx-fp32"
OWN = "own"  # the environment that this script runs in
RUNS = {1: 30, 64: 5}  # batch -> timed inferences in a block
PACKAGES = {
    "onnxruntime": ("onnxruntime==1.31.1", "onnx==1.23.2", "sympy"),
    "nncf": ("nncf==3.4.0", "onnx==1.23.2", "onnxruntime==1.31.1"),
    # modelopt asks for onnxruntime-gpu and CuPy, which have no use here: its own list without them.
    "modelopt": (
        *("nvidia-modelopt==0.47.0", "onnx==1.21.0", "onnxruntime==1.24.4", "numpy", "scipy"),
        *("onnxconverter-common", "onnx-graphsurgeon", "onnxscript", "onnxslim", "polygraphy"),
        *("cppimport", "lief", "ml_dtypes", "nvidia-ml-py", "omegaconf", "packaging", "pulp<4"),
        *("pydantic", "PyYAML", "regex", "rich", "safetensors", "setuptools", "tqdm"),
    ),
}


@dataclass(frozen=True)
class Row:
    """One way to quantise."""

    name: str
    form: str  # "ONNX Runtime" or "TensorRT": only rows of one form compete
    tool: str
    weight_bits: int
    environment: str = OWN
    setting: dict[str, Any] = field(default_factory=dict)


ONNX = "ONNX Runtime"
TENSORRT = "TensorRT"
FP32: dict[str, Any] = {"high_precision_dtype": "fp32", "dq_only": True}


def own(name: str, form: str, weight_bits: int, calibrator: str) -> Row:
    target = "onnx-int8" if form == ONNX else "tensorrt-int8"
    setting = {"target": target, "weight_bits": weight_bits, "calibrator": calibrator}
    return Row(f"edgekd {target}{name}", form, "edgekd", weight_bits, OWN, setting)


def rival(name: str, form: str, tool: str, bits: int = 8, **setting: Any) -> Row:
    return Row(name, form, tool, bits, tool, setting)


ROWS = (
    own("", ONNX, 7, "entropy"),
    own(", MinMax", ONNX, 7, "minmax"),
    own(", 8 bits", ONNX, 8, "entropy"),
    rival(
        *("ONNX Runtime MinMax, 7 bits", ONNX, "onnxruntime", 7),
        calibrator="MinMax", reduce_range=True,
    ),
    rival("ONNX Runtime MinMax", ONNX, "onnxruntime", calibrator="MinMax"),
    rival("ONNX Runtime Entropy", ONNX, "onnxruntime", calibrator="Entropy"),
    rival("ONNX Runtime Percentile", ONNX, "onnxruntime", calibrator="Percentile"),
    rival("NNCF performance", ONNX, "nncf", preset="performance"),
    rival("NNCF mixed", ONNX, "nncf", preset="mixed"),
    own("", TENSORRT, 8, "entropy"),
    own(", MinMax", TENSORRT, 8, "minmax"),
    rival(
        *("ONNX Runtime MinMax, symmetric", TENSORRT, "onnxruntime"),
        calibrator="MinMax", symmetric=True,
    ),
    rival("modelopt max, FP32", TENSORRT, "modelopt", calibration_method="max", **FP32),
    rival("modelopt entropy, FP32", TENSORRT, "modelopt", calibration_method="entropy", **FP32),
    rival("modelopt, as it comes (FP16)", TENSORRT, "modelopt"),
)  # fmt: skip


def main() -> None:
    arguments = parse()
    work = arguments.work.absolute()
    pythons = {OWN: Path(sys.executable)}
    pythons |= {name: environment(work / "environments" / name, name) for name in PACKAGES}
    splits = sources.load(specs.Data(source=f"cifar10:{arguments.data}"), seed=0)
    tests = some(splits.test, min(arguments.images, len(splits.test)))
    content: dict[str, Any] = {"rows": [asdict(row) for row in ROWS], "models": {}}
    for name, model in models(arguments, splits.class_names).items():
        folder = work / name.replace(" ", "-")
        prepare(folder, model, splits.train)
        failures = {}
        for row in ROWS:
            print(f"{name}: {row.name}", file=sys.stderr, flush=True)
            failures[row.name] = quantise(folder, row, pythons[row.environment])
        made = [row for row in ROWS if not failures[row.name]]
        images_nchw = normalised(model, tests)
        rights = {
            name: right(folder, name, images_nchw, tests.labels_n)
            for name in [FLOAT, *(row.name for row in made)]
        }
        raced = [FLOAT, *(row.name for row in made if row.form == ONNX)]
        timed = {
            batch: measure(folder, raced, images_nchw[:batch], arguments.blocks) for batch in RUNS
        }
        content["models"][name] = quantize_table.facts(
            folder, content["rows"], failures, rights, timed
        )
    stamp = provenance.stamp("onnx", "onnxruntime", "torch")
    content |= {"machine": stamp.machine, "versions": stamp.versions}
    content |= {"test_images": len(tests), "calibration_images": CALIBRATION_IMAGES}
    RESULTS.mkdir(exist_ok=True)
    files.write_text(RESULTS / "quantize.json", json.dumps(content, indent=1) + "\n")
    text = quantize_table.markdown(content)
    files.write_text(RESULTS / "quantize.md", text)
    print(text)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--images", type=int, default=8_000, help="test images")
    parser.add_argument("--blocks", type=int, default=8, help="of timed inferences, at least 6")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--half", type=Path, help="checkpoint of a pruned ResNet-56")
    return parser.parse_args()


def environment(folder: Path, name: str) -> Path:
    """Return the interpreter of a rival's environment, which is made if it is not there."""
    python, done = folder / "bin" / "python", folder / "packages.txt"
    wanted = "\n".join(PACKAGES[name]) + "\n"
    if done.exists() and done.read_text() == wanted:
        return python
    print(f"make the environment of {name}", file=sys.stderr)
    venv.create(folder, with_pip=True, clear=True)
    first, *others = PACKAGES[name]
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    if name == "modelopt":
        subprocess.run([*pip, "--no-deps", first], check=True)
        subprocess.run([*pip, *others], check=True)
        # It needs torch, too, and looks here for what it does not find among its own packages.
        paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
        (Path(paths["purelib"]) / "torch.pth").write_text(sysconfig.get_path("purelib") + "\n")
    else:
        subprocess.run([*pip, first, *others], check=True)
    files.write_text(done, wanted)
    return python


def models(arguments: argparse.Namespace, class_names: tuple[str, ...]) -> dict[str, Model]:
    found = {
        name: checkpoint.open_model(
            f"cifar_{name}",
            weights=WEIGHTS / f"{MODELS[name]}.safetensors",
            class_names=class_names,
        )
        for name in arguments.models
    }
    return found | ({HALF: checkpoint.load(arguments.half)} if arguments.half else {})


def some(images: ImageSet, count: int) -> ImageSet:
    return images.take(draw(images.labels_n, count, np.random.default_rng(0)))


def normalised(model: Model, images: ImageSet) -> NDArray[np.float32]:
    """Return images as the model takes them, [N, 3, 32, 32]."""
    pixels_nhwc = images.batch(np.arange(len(images)))
    return augment.normalise(pixels_nhwc, model.record.normalisation, "cpu").numpy()


def prepare(folder: Path, model: Model, train: ImageSet) -> None:
    """Write the float file and the calibration images, [N, 3, 32, 32]."""
    images_nchw = normalised(model, some(train, CALIBRATION_IMAGES))
    record = folder / FLOAT / "artifact.json"
    parent = model.record.weights_sha256
    if not record.exists() or records.read(records.Artifact, record).parents != (parent,):
        export(model, Target.read(FLOAT), folder / FLOAT, parity_nchw=images_nchw[:PARITY_IMAGES])
    np.save(folder / "images.npy", images_nchw)


def quantise(folder: Path, row: Row, python: Path) -> str:
    """Make one file; return why it could not be made, or nothing."""
    place = folder / row.name
    paths = [folder / FLOAT / "model.onnx", folder / "images.npy", place / "model.onnx"]
    asked = {
        **asdict(row),
        "packages": list(PACKAGES.get(row.environment, ())),
        "read": [files.sha256_of(path) for path in paths[:2]],
    }
    done = place / "made.json"
    if done.exists() and json.loads(done.read_text())["asked"] == asked:
        return ""
    place.mkdir(exist_ok=True)
    script = HERE / "quantize_rivals" / f"with_{row.tool}.py"
    command: list[str | Path] = [python, script, *paths, json.dumps(row.setting)]
    told = subprocess.run(command, check=False, capture_output=True, text=True)
    if told.returncode:
        files.write_text(place / "error.txt", told.stderr)
        said = told.stderr.strip().splitlines()
        return said[-1] if said else f"status {told.returncode}"
    found = json.loads(told.stdout.strip().splitlines()[-1])
    files.write_text(done, json.dumps({"asked": asked, **found}) + "\n")
    return ""


def right(
    folder: Path, row: str, images_nchw: NDArray[np.float32], labels_n: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which test images a file has right, [N]."""
    path = folder / row / "model.onnx"
    done = folder / f"right-{len(labels_n)}-{files.sha256_of(path)[:16]}.npy"
    if not done.exists():
        logits_nk = runtime.logits(path, images_nchw)
        with files.replacing(done) as temporary, temporary.open("wb") as handle:
            np.save(handle, logits_nk.argmax(axis=1) == labels_n)
    return np.asarray(np.load(done), dtype=np.bool_)


def measure(
    folder: Path, rows: list[str], images_nchw: NDArray[np.float32], blocks: int
) -> tuple[Measurement, dict[str, NDArray[np.float64]]]:
    """Time all files in turns on one thread; return the record and the latencies in ms."""
    batch = len(images_nchw)
    paths = {row: folder / row / "model.onnx" for row in rows}
    subjects = [Subject(row, path, files.sha256_of(path)) for row, path in paths.items()]
    out = folder / f"latency-batch{batch}-{blocks}x{RUNS[batch]}"
    done = out / "measurement.json"
    parents = tuple(subject.sha256 for subject in subjects)
    if not done.exists() or records.read(Measurement, done).parents != parents:
        print(f"{folder.name}: latency, batch {batch}", file=sys.stderr, flush=True)
        spec = specs.Profile(batch=batch, blocks=blocks, runs=RUNS[batch])
        local.measure(subjects, spec, images_nchw, out)
    record = records.read(Measurement, done)
    with np.load(out / record.samples_file) as samples:
        return record, {row: np.asarray(samples[row]) for row in rows}


if __name__ == "__main__":
    main()
