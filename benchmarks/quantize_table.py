"""What benchmarks/quantize.py found, judged and as a table.

A row is not worse than the best that other tools do in its form where no limit below is passed:
McNemar's exact test against their highest top-1, and ratios to the smallest, fastest and cheapest.
The best of many is best by luck, too, so this is strict. Latency in ONNX Runtime says nothing about
TensorRT, so files in its form are not timed.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.core import files, statistics
from edgekd.core.records import Interval, Measurement
from edgekd.export import metadata

FLOAT = "onnx-fp32"
OURS = "edgekd"
LEVEL = 0.05
LARGER = 1.01  # files
SLOWER = 1.02  # latency, the lower end of the ratio's interval
DEARER = 1.25  # seconds and memory of quantising, measured once

Rights = dict[str, NDArray[np.bool_]]
Timed = dict[int, tuple[Measurement, dict[str, NDArray[np.float64]]]]


def facts(
    folder: Path,
    rows: Sequence[dict[str, Any]],
    failures: dict[str, str],
    rights: Rights,
    timed: Timed,
) -> dict[str, Any]:
    """Return all that is known of one model's rows, by their names."""
    found = {FLOAT: row_facts(folder, FLOAT, rights, timed)}
    for row in rows:
        name = row["name"]
        if failures[name]:
            found[name] = {"form": row["form"], "failed": failures[name]}
            continue
        made = json.loads((folder / name / "made.json").read_text())
        found[name] = {
            **{key: row[key] for key in ("form", "tool", "weight_bits")},
            **{key: made[key] for key in ("seconds", "peak_mib", "versions")},
            **row_facts(folder, name, rights, timed),
        }
    for name, row in found.items():
        if name != FLOAT and "failed" not in row:
            rivals = {other: its for other, its in found.items() if competes(its, row)}
            row["worse"] = worse(name, row, rivals, rights, timed) if rivals else []
    return {
        "rows": found,
        "pairs": pairs(found, rights),
        "doubts": {batch: list(record.warnings) for batch, (record, _) in timed.items()},
    }


def competes(row: dict[str, Any], other: dict[str, Any]) -> bool:
    """Tell whether a row is another tool's, in the same form."""
    if "failed" in row or "failed" in other:
        return False
    return row.get("form") == other.get("form") and row.get("tool") != other.get("tool")


def row_facts(folder: Path, name: str, rights: Rights, timed: Timed) -> dict[str, Any]:
    right_n = rights[name]
    drop = difference(rights[FLOAT], right_n)
    return {
        "top1_percent": 100 * float(right_n.mean()),
        "drop_pp": [100 * drop.value, 100 * drop.low, 100 * drop.high],
        "sha256": files.sha256_of(folder / name / "model.onnx"),
        "bytes": metadata.total_bytes(folder / name / "model.onnx"),
        "p50_ms": {
            batch: float(np.median(ms[name])) for batch, (_, ms) in timed.items() if name in ms
        },
    }


def difference(reference_n: NDArray[np.bool_], subject_n: NDArray[np.bool_]) -> Interval:
    """Return how far the subject's accuracy lies below the reference's, a ratio."""
    return statistics.paired_difference(*discordant(reference_n, subject_n), len(subject_n))


def discordant(reference_n: NDArray[np.bool_], subject_n: NDArray[np.bool_]) -> tuple[int, int]:
    return int((reference_n & ~subject_n).sum()), int((~reference_n & subject_n).sum())


def worse(
    name: str,
    row: dict[str, Any],
    rivals: dict[str, dict[str, Any]],
    rights: Rights,
    timed: Timed,
) -> list[str]:
    """Return in what a row is worse than the best of its rivals, and than which."""
    reasons = []
    best = max(rivals, key=lambda rival: rivals[rival]["top1_percent"])
    lost, gained = discordant(rights[best], rights[name])
    p_value = statistics.mcnemar_exact(lost, gained)
    if lost > gained and p_value < LEVEL:
        lower = 100 * (lost - gained) / len(rights[name])
        reasons.append(f"top-1 {lower:.2f} pp below {best} (p = {p_value:.2g})")
    for key, word, limit in (
        ("bytes", "bytes", LARGER), ("seconds", "calibration time", DEARER),
        ("peak_mib", "memory", DEARER),
    ):  # fmt: skip
        best = min(rivals, key=lambda rival: rivals[rival][key])
        if (ratio := row[key] / rivals[best][key]) > limit:
            reasons.append(f"{word} {ratio:.2f} x {best}")
    for batch in row["p50_ms"]:
        samples = timed[batch][1]
        best = min(rivals, key=lambda rival: rivals[rival]["p50_ms"][batch])
        times = statistics.ratio_of_medians(samples[best], samples[name])
        if times is not None and times.low > SLOWER:
            reasons.append(f"batch {batch} takes {times.value:.2f} x {best}")
    return reasons


def pairs(found: dict[str, dict[str, Any]], rights: Rights) -> list[dict[str, Any]]:
    """Compare each of edgekd's rows with each rival of its form, on the same images."""
    compared = []
    for mine, row in found.items():
        if row.get("tool") != OURS:
            continue
        rivals = [other for other, its in found.items() if competes(its, row)]
        counts = [discordant(rights[other], rights[mine]) for other in rivals]
        p_values = [statistics.mcnemar_exact(lost, gained) for lost, gained in counts]
        adjusted = statistics.holm(p_values)
        for other, (lost, gained), p, holm in zip(rivals, counts, p_values, adjusted, strict=True):
            gain = statistics.paired_difference(gained, lost, len(rights[mine]))
            compared.append({
                "edgekd": mine, "rival": other, "lost": lost, "gained": gained,
                "gain_pp": [100 * gain.value, 100 * gain.low, 100 * gain.high],
                "p_value": p, "holm": holm,
            })  # fmt: skip
    return compared


def markdown(content: dict[str, Any]) -> str:
    versions = content["versions"]
    tools = {
        tool: version
        for model in content["models"].values()
        for row in model["rows"].values()
        for tool, version in row.get("versions", {}).items()
        if tool in {"nncf", "nvidia-modelopt"}
    }
    named = ", ".join(f"{tool} {version}" for tool, version in sorted(tools.items()))
    setting = (
        f"`python benchmarks/quantize.py`: CIFAR-10, JPEG q75 re-encoded, not comparable with "
        f"published figures; {content['test_images']:,} test images, "
        f"{content['calibration_images']} training images for calibration. {content['machine']}. "
        f"ONNX Runtime {versions['onnxruntime']} computed all files, and timed those that are made "
        f"for it, on one thread, in turns; {named} made theirs in environments of their own. "
        "TensorRT was not run: of files in its form ONNX Runtime tells the accuracy, but no speed."
    )
    legend = (
        "Drop: paired with the float file, 95 % score interval. s, MiB: of the process that "
        "quantises the float file, measured once, imports not timed. Last column: against the best "
        f"that other tools do in the same form, with McNemar's exact test at {LEVEL}, "
        f"{LARGER - 1:.0%} for bytes, {SLOWER - 1:.0%} for latency, {DEARER - 1:.0%} for "
        "calibration. Weights in 7 bits give the same logits on processors without VNNI "
        "instructions; in 8 bits they saturate there."
    )
    lines = ["# INT8: edgekd and others", "", setting, "", legend]
    for model, its in content["models"].items():
        lines += ["", f"## {model}", *rows_table(its["rows"]), *pairs_table(its["pairs"])]
        for batch, doubts in its["doubts"].items():
            unrest = [text for text in doubts if not text.startswith("'")]
            text = f"Latency at batch {batch}: {len(doubts)} doubts, listed in the JSON file"
            lines += ["", f"{text}{': ' * bool(unrest)}{'; '.join(unrest)}."] if doubts else []
    return "\n".join(lines) + "\n"


def rows_table(rows: dict[str, dict[str, Any]]) -> list[str]:
    lines: list[str] = []
    for form in dict.fromkeys(row["form"] for row in rows.values() if "form" in row):
        mine = {name: row for name, row in rows.items() if row.get("form") == form}
        batches = sorted({batch for row in mine.values() for batch in row.get("p50_ms", {})})
        latencies = "".join(f" batch {batch} ms |" for batch in batches)
        lines += ["", f"### For {form}", ""]
        lines.append(f"| | weights | top-1 % | drop pp [95 %] | bytes |{latencies}")
        lines[-1] += " s | MiB | not worse than the best |"
        lines.append("| --- |" + " --- |" * (7 + len(batches)))
        lines += [line(name, row, batches) for name, row in {FLOAT: rows[FLOAT], **mine}.items()]
        lines += copies(mine)
    return lines


def copies(rows: dict[str, dict[str, Any]]) -> list[str]:
    """Say which files are the same, byte for byte."""
    first: dict[str, str] = {}
    for name, row in rows.items():
        first.setdefault(row.get("sha256", name), name)
    same = [(name, first[row.get("sha256", name)]) for name, row in rows.items()]
    return [
        line
        for name, other in same
        if name != other
        for line in ("", f"{name} wrote the same file as {other}.")
    ]


def line(name: str, row: dict[str, Any], batches: list[int]) -> str:
    if "failed" in row:
        return f"| {name} |" + " |" * (6 + len(batches)) + f" failed: {row['failed']} |"
    drop, low, high = row["drop_pp"]
    times = [f"{row['p50_ms'][batch]:.3g}" if batch in row["p50_ms"] else "" for batch in batches]
    cells = ["float", f"{row['top1_percent']:.2f}", "", f"{row['bytes']:,}", *times, "", "", ""]
    if name != FLOAT:
        cells[0], cells[2] = f"{row['weight_bits']} bits", f"{drop:.2f} [{low:.2f}, {high:.2f}]"
        verdict = "no: " + "; ".join(row["worse"]) if row["worse"] else "yes"
        cells[-3:] = [f"{row['seconds']:.1f}", f"{row['peak_mib']:.0f}", verdict]
    return " | ".join([f"| {name}", *cells]) + " |"


def pairs_table(compared: list[dict[str, Any]]) -> list[str]:
    lines = ["", "### Image by image", ""]
    lines.append("| | against | gain pp [95 %] | only one right | p (McNemar) | p (Holm) |")
    lines.append("| --- |" + " --- |" * 5)
    for pair in compared:
        gain, low, high = pair["gain_pp"]
        lines.append(
            f"| {pair['edgekd']} | {pair['rival']} | {gain:+.2f} [{low:+.2f}, {high:+.2f}] | "
            f"{pair['gained']} : {pair['lost']} | {pair['p_value']:.2g} | {pair['holm']:.2g} |"
        )
    return lines
