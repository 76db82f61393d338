"""Write the generated pages: ``python docs/generate.py``. A test checks that they are up to date.

commands.md is what ``--help`` prints; recipes.md is what edgekd/core/specs.py and rules.py say of
each key; lint.md is what the rules in edgekd/lint say of themselves; platforms.md is what the files
in profiles/platforms say, power-modes.md what those in profiles do.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgekd.profile.peaks import Peaks
    from edgekd.remote.devices import Board, Mode

DOCS = Path(__file__).parent
SPECS = tuple(DOCS.parent / "edgekd" / "core" / name for name in ("specs.py", "rules.py"))

# Where each table stands in a recipe; a spec that several tables share is shown once.
SECTIONS = {
    "Recipe": "top level",
    "Teacher": "[teacher]",
    "Data": "[data]",
    "Student": "[student]",
    "Prune": "[student.prune], and prune = {...} in a stage",
    "Quantize": "[student.quantize]",
    "Stage": "[[stages]], and [teacher.train]",
    "MethodUse": "methods = [{...}] in a stage",
    "Training": "[training]",
    "Export": "[export]",
    "Profile": "[profile]",
    "Gate": "[gate]",
    "Rule": "in every rule of [gate]",
    "MarginRule": "top1_drop_pp, top5_drop_pp, worst_class_drop_pp",
    "AccuracyRule": "top1_drop_pp, top5_drop_pp",
    "AgreementRule": "agreement_percent",
    "MeasuredRule": "in every rule about a latency or throughput",
    "LatencyRule": "latency_ratio, latency_p50_ms ... latency_baseline_ratio, energy_per_image_mj",
    "MedianRule": "latency_p50_ms",
    "ThroughputRule": "throughput_per_s",
    "MemoryRule": "peak_memory_mib, memory_baseline_ratio",
    "LimitRule": "size_ratio, size_mib, size_baseline_ratio, parity_sd",
    "LintRule": "lint",
}
WORDS = {
    "Ratio": "number in (0, 1]",
    "Positive": "number > 0",
    "NotNegative": "number >= 0",
    "Count": "integer >= 1",
    "Path | None": "path",
    "str | None": "string",
    "str": "string",
    "bool": "true, false",
    "int | None": "integer",
    "Positive | None": "number > 0",
    "Count | None": "integer >= 1",
    "tuple[str, ...]": "list of strings",
    "tuple[str, ...] | None": "list of strings",
    "tuple[float, ...] | None": "list of numbers",
    "dict[str, JsonValue]": "table",
    "Bits": "1, 2, 4, 8, 32",
    "Bits | None": "1, 2, 4, 8, 32",
    "Augment": '"none", "auto", "shift", "crop-flip", "resized-crop"',
}


def recipes() -> str:
    """Return the page about recipes."""
    source = "".join(path.read_text(encoding="utf-8") for path in SPECS)
    lines = source.splitlines()
    classes = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
    parts = [RECIPES_HEAD]
    for name, place in SECTIONS.items():
        summary = (ast.get_docstring(classes[name]) or "").partition("\n")[0]
        parts += [f"\n## `{place}`\n", f"{summary}\n", "| key | value | default | meaning |"]
        parts.append("| --- | --- | --- | --- |")
        for field in classes[name].body:
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                comment = lines[(field.end_lineno or 1) - 1].partition("  # ")[2]
                parts.append(_row(field.target.id, field, comment))
    return "\n".join(parts) + "\n"


def commands() -> str:
    """Return the page about commands."""
    overview = _help()
    names = re.findall(r"^  ([a-z0-9-]+)  ", overview.partition("Commands:")[2], re.MULTILINE)
    parts = [COMMANDS_HEAD, f"```text\n{overview}```\n"]
    parts += [f"## edgekd {name}\n\n```text\n{_help(name)}```\n" for name in names]
    return "\n".join(parts)


def lint() -> str:
    """Return the page about the rules of ``edgekd lint``."""
    from edgekd.lint.rule import text_of
    from edgekd.lint.run import every_rule

    parts = [LINT_HEAD]
    for rule in every_rule():
        since = f"; from {text_of(rule.later[0])}: {rule.later[1]}" if rule.later else ""
        parts.append(
            f"### {rule.id} {rule.title}\n\n{rule.severity}{since}. {rule.why}\n\n"
            f"To mend: {rule.fix} Source: {rule.source}.\n"
        )
    return "\n".join(parts)


def platforms() -> str:
    """Return the page about platforms."""
    from edgekd.core import catalogue
    from edgekd.export.platform import Platform

    found = [Platform.read(name) for name in catalogue.names("profiles/platforms")]
    parts = [
        PLATFORMS_HEAD,
        "| platform | L4T | Python | CUDA | TensorRT | opset, IR | typing | INT8 | mixed | DLA |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in found:
        able = ["no" if key in one.refuses else "yes" for key in ("int8", "fp16-scales", "dla")]
        cells = [
            *(f"`{one.name}`", one.l4t, one.python, one.cuda, ", ".join(one.tensorrt)),
            *(f"{one.opset}, {one.ir_version}", one.typing, *able),
        ]
        parts.append(f"| {' | '.join(cells)} |")
    for one in found:
        parts.append(f"\n## `{one.name}`\n\n{one.description}. Boards: {', '.join(one.boards)}.")
        if one.accelerated:
            parts.append(f"With an accelerator: {', '.join(one.accelerated)}.")
        parts.append("")
        parts += [f"- Not `{key}`: {reason}." for key, reason in one.refuses.items()]
        parts += [f"- Source of {key}: {source}." for key, source in one.sources.items()]
    return "\n".join(parts) + "\n"


def power_modes() -> str:
    """Return the page about boards' power modes."""
    from edgekd.core import catalogue
    from edgekd.profile import peaks
    from edgekd.remote import devices

    parts = [POWER_MODES_HEAD]
    for name in catalogue.names("profiles"):
        board = devices.find(name).board
        if board is None:
            continue
        parts.append(_peaks(f"`{name}`", "highest", board, peaks.of(board, None, name)))
        for mode in board.modes:
            known = mode.name in peaks.known(board)
            most = peaks.of(board, mode.name, name) if known else None
            parts.append(_peaks("", f"`{mode.name}`", mode, most))
    return "\n".join(parts) + "\n"


def _peaks(board: str, mode: str, told: "Board | Mode", most: "Peaks | None") -> str:
    """Return a row; what is not told of a mode stays empty."""
    numbers = [told.gpu_mhz, told.sms]
    if most is not None:
        numbers += [most.int8_tops, most.fp16_tflops, most.bandwidth_gb_s, most.dla_int8_tops]
    cells = ["" if number is None else f"{round(number, 1):g}" for number in numbers]
    return f"| {' | '.join((board, mode, *cells, *[''] * (6 - len(cells))))} |"


def _help(*command: str) -> str:
    # A fixed width, so that the page does not depend on the terminal.
    environment = {"PATH": "/usr/bin:/bin", "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, "-m", "edgekd", *command, "--help"],
        env=environment, capture_output=True, text=True, check=True, cwd=DOCS.parent,
    )  # fmt: skip
    return done.stdout.replace("python -m edgekd", "edgekd")


def _row(key: str, field: ast.AnnAssign, comment: str) -> str:
    kind = ast.unparse(field.annotation)
    default = ast.unparse(field.value) if field.value else "required"
    default = {"None": "", "()": "[]"}.get(default, default)
    if default.endswith("()"):
        default = ""
    if default.startswith("Field("):
        default = "{}"
    return f"| `{key}` | {_word(kind)} | {_code(default)} | {comment.replace('|', chr(92) + '|')} |"


def _word(kind: str) -> str:
    if kind in WORDS:
        return WORDS[kind]
    if kind.startswith("Literal["):
        return kind[8:-1].replace("'", "").replace("|", "or")
    bounds = re.match(r"Annotated\[(int|float), Field\((.*?)\)\]", kind)
    if bounds:
        signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
        limits = [part.split("=") for part in bounds[2].split(", ")]
        noun = "integer" if bounds[1] == "int" else "number"
        return f"{noun} " + ", ".join(f"{signs[key]} {value}" for key, value in limits)
    return "table" if kind.removesuffix(" | None") in SECTIONS else "list of tables"


def _code(text: str) -> str:
    if not text or text == "required":
        return text
    text = text.replace("'", '"').replace("(", "[").replace(")", "]")
    return f"`{ {'True': 'true', 'False': 'false'}.get(text, text) }`"


RECIPES_HEAD = """\
# Recipes

A recipe is a TOML file that says the whole job: `edgekd init` writes one with comments, `edgekd
list recipes` shows the built-in ones, `edgekd run RECIPE --plan` shows the steps of one, and `--set
stages.0.epochs=20` overrides a key. Unknown keys are refused, with the nearest known one.

A name that ends in `.toml` is a path; any other is built in. Relative paths of weights and images
in your own file are taken from the file's folder; in a built-in recipe and in `--set`, and those
of checkpoint folders and target files everywhere, from the working directory. The resolved recipe
is stored in the run as `recipe.json`.

`macs` is always the share that is left. Epochs, margins in percentage points (pp)."""
COMMANDS_HEAD = """\
# Commands

Results go to stdout, log and progress to stderr. `--json` where a command has it prints JSON and
nothing else on stdout.
"""


LINT_HEAD = """\
# The rules of `edgekd lint`

`edgekd lint MODEL.onnx` reads anybody's ONNX file and says what TensorRT would refuse (error), run
slowly or less accurately than it could (warning), or what is good to know (info). It needs neither
a GPU nor TensorRT. Status: 0 no error, 1 errors, 2 the file cannot be read.

- `--trt 10.3` judges for one version, repeated for several. Without it the versions of JetPack 5, 6
  and 7 and the newest count; a finding that holds for some of them names them.
- `--platform jp6.2` judges for the versions of that JetPack ([platforms](platforms.md)).
- `--target tensorrt-int8` says what the file was made for: then Q023 wants it quantised.
- `--fix OUT.onnx` writes a copy, mended where that changes no result (Q002 for weights, Q007, T009,
  T011), and judges the copy.
- `--dla` adds the rules of the deep learning accelerator, D001 and D002.
- `--format sarif` is for code hosts and editors, `--format json` for scripts.

Operators are looked up in the parser's tables of TensorRT 10.1 and 10.15; for another version the
nearest earlier one is used, or the oldest, and a note says so. The rules come from documents and
from the parser's source; no engine was built to check them. Optimisation profiles are no part of an
ONNX file: T007 only says where the builder needs one. A rule's severity stands first; what is found
can lower or raise it.

## Rules
"""


PLATFORMS_HEAD = """\
# Platforms

A platform is a generation of JetPack: it settles which opset and IR version a file has, which
targets its boards run, and how TensorRT builds engines there. No engine was built on any of these
boards yet: the facts below are from documents, each with its source.

```sh
edgekd list platforms
edgekd export student --target tensorrt-int8-fp16 --platform jp6.2 \\
    --calibration folder:flowers --out jetson
edgekd lint jetson/model.onnx --platform jp6.2
```

A recipe says `[export] platform = "jp6.2"`; it shapes the targets that are made for TensorRT, and
leaves the others alone. What a platform cannot run is refused with the way out (status 5), before
anything is trained. The record and the file name platform, opset, IR version and typing.

The exporter writes opset 18 and later. For an older one the graph is rewritten, checked, and its
outputs on random images are compared with those before; a graph that cannot be written, or would
compute something else, is refused by the name of the node. Steps that simplify a graph are checked
in the same way: one that would change results is taken back, and `notes` in `artifact.json` say so.

## Which target

| target | float layers | Q/DQ scales | for |
| --- | --- | --- | --- |
| `tensorrt-fp16` | FP16 | | every platform |
| `tensorrt-int8` | FP32 | FP32 | weak typing, where a flag of the builder allows FP16 |
| `tensorrt-int8-fp16` | FP16 | FP16 | strong typing, where the graph says the type |
| `tensorrt-fp16-dla` | FP16 | | the deep learning accelerator, up to TensorRT 10.7 |

Images and logits are FP32 in all of them. In `tensorrt-int8-fp16` scales are rounded to FP16 before
the integers are computed, so rounding them costs no more than a step that is a little coarser; a
channel whose weights are all below 0.0078 gets fewer steps, for no scale is below 6.1e-5, FP16's
least normal number. ONNX Runtime's kernels for processors know FP16 scales, so parity is that of
the file as it is; the arithmetic between Q and DQ is FP32 there.

`tensorrt-fp16-dla` writes averages over images up to 8x8 as pooling, which the accelerator has.
`notes` in `artifact.json` name each layer that is left to the GPU, and why: an operator that the
accelerator lacks, or a size beyond its limits. The builder has the last word. INT8 for the
accelerator needs ranges of tensors instead of Q/DQ up to TensorRT 10.7; edgekd does not write them.

## Batch

Files for TensorRT take one image at a time, the form that engines are fastest in. `--batch 8` fixes
another number; `--batch dynamic` leaves it free, for 1, 8 and 32 images (fewest, usual, most), and
`--batch 1:4:16` names others. The bounds stand in the record (`profiles`) and in the file
(`edgekd.profile`), as the optimisation profile of the engine:
`{"images": {"min": [1, 3, 224, 224], "opt": ..., "max": ...}}`. The accelerator takes no free
batch.

## What a file says of itself

Under `metadata_props`: `classes`, `preprocessing` (size, layout, colours, mean, std),
`edgekd.target`, `edgekd.platform`, `edgekd.profile`, `edgekd.checkpoint_sha256`, `edgekd.parents`
(SHA-256 of what the checkpoint was made from), and `edgekd.versions`.

## The platforms
"""


POWER_MODES_HEAD = """\
# Power modes

What each kind of board ([profiles/](../profiles)) can do at most in each of its power modes, by the
names that `nvpmodel -q` prints. `edgekd profile MODEL --device KIND --power-mode NAME` estimates
for one ([estimates](estimate.md)). The clocks are those that NVIDIA's `nvpmodel.conf` caps; peaks
are dense and follow from them: the GPU's with its clock and the multiprocessors (SMs) that are on,
the bandwidth with the memory's clock, the DLA's with the clocks of its cores. An empty clock or
number of SMs is not known; it counts as in the fastest mode, and the estimate says so. Of a mode
whose whole row is empty only the name is known, and it is not estimated.

| board | mode | GPU MHz | SMs | INT8 TOPS | FP16 TFLOPS | memory GB/s | DLA INT8 TOPS |
| --- | --- | --- | --- | --- | --- | --- | --- |"""


if __name__ == "__main__":
    (DOCS / "recipes.md").write_text(recipes(), encoding="utf-8")
    (DOCS / "commands.md").write_text(commands(), encoding="utf-8")
    (DOCS / "lint.md").write_text(lint(), encoding="utf-8")
    (DOCS / "platforms.md").write_text(platforms(), encoding="utf-8")
    (DOCS / "power-modes.md").write_text(power_modes(), encoding="utf-8")
