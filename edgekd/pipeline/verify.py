"""Check that a run is what it was when it ended: each hash, each parent. Needs no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from edgekd.core import files, manifest, records, run_folder
from edgekd.core.errors import RecordError
from edgekd.core.manifest import Break, Link, Manifest
from edgekd.core.run_folder import LEDGER


@dataclass(frozen=True)
class Verification:
    """What was found in a run's folder."""

    state: Literal["intact", "broken", "unfinished"]
    files: int  # that were checked
    sha256: str | None  # of the manifest; None: there is none
    breaks: tuple[Break, ...] = ()  # the first one first, from the teacher to the verdict
    affected: tuple[str, ...] = ()  # what was made from the first one's file
    notes: tuple[str, ...] = ()


def verify(folder: Path, *, sha256: str | None = None) -> Verification:
    """Check a run's folder against its manifest, or if it has none yet, against its ledger.

    Args:
        folder: of the run.
        sha256: the manifest's, as it was noted elsewhere when the run ended; without it, somebody
            who changes all files together, and the manifest too, is not found out.

    Raises:
        RecordError: it is no run's folder.
    """
    if not (folder / manifest.RECIPE).exists() and not (folder / manifest.FILE).exists():
        raise RecordError(f"'{folder}' is not a run's folder: it has no '{manifest.RECIPE}'")
    if not (folder / manifest.FILE).exists():
        return _unsealed(folder, sha256)
    found = files.sha256_of(folder / manifest.FILE)
    if sha256 is not None and sha256 != found:
        return Verification("broken", 1, found, (Break(manifest.FILE, sha256, found),))
    try:
        kept = records.read(Manifest, folder / manifest.FILE)
    except RecordError as error:
        changed = Break(manifest.FILE, "a manifest", str(error))
        return Verification("broken", 1, found, (changed,))
    breaks = _changed(folder, {path: link.sha256 for path, link in kept.files.items()})
    if [one.file for one in breaks] == [manifest.REPORT] and _is_fresh(folder):
        breaks = []
    return _conclude(folder, found, kept.files, breaks or _contradictions(folder, kept))


def _unsealed(folder: Path, sha256: str | None) -> Verification:
    """Check a run that was interrupted: what its steps have written."""
    expected: dict[str, str] = {}
    if (folder / LEDGER).exists():
        for step in records.read(records.Ledger, folder / LEDGER).steps:
            expected |= step.outputs
    if sha256 is not None:
        return Verification("broken", 0, None, (Break(manifest.FILE, sha256, "missing"),))
    links = {path: Link(sha256=found) for path, found in expected.items()}
    found = _conclude(folder, None, links, _changed(folder, expected))
    if found.breaks:
        return found
    note = (
        f"the run has no {manifest.FILE}: it is not finished, or is older than manifests; only "
        "what its ledger names was checked. Finish it with `edgekd run RECIPE "
        f"--out {folder} --resume`"
    )
    return Verification("unfinished", found.files, None, notes=(note,))


def _conclude(
    folder: Path, sha256: str | None, links: Mapping[str, Link], breaks: list[Break]
) -> Verification:
    extra = manifest.others(folder, links)
    return Verification(
        state="broken" if breaks else "intact",
        files=len(links),
        sha256=sha256,
        breaks=tuple(breaks),
        affected=tuple(manifest.dependents(links, breaks[0].file)) if breaks else (),
        notes=tuple(f"'{path}' is not part of the run" for path in extra),
    )


def _changed(folder: Path, expected: Mapping[str, str]) -> list[Break]:
    found = {path: manifest.hash_of(folder / path) for path in expected}
    return [
        Break(path, sha256, found[path])
        for path, sha256 in expected.items()
        if found[path] != sha256 or found[path] == "missing"
    ]


def _contradictions(folder: Path, kept: Manifest) -> list[Break]:
    """Return where files that are as the manifest says do not lead back to the teacher."""
    chain = manifest.walk(run_folder.read(folder))
    breaks = [one for one in chain.breaks if one.file in kept.files]
    for path, link in kept.files.items():
        made_from = chain.links[path].made_from
        if set(made_from) != set(link.made_from):
            breaks.append(Break(path, f"made from {link.made_from}", f"made from {made_from}"))
    for path, link in chain.links.items():
        if link.made_from and path not in (*kept.files, manifest.REPORT):
            breaks.append(Break(path, "no such record: the manifest has none", link.sha256))
    for what, said, found in (
        ("weights of elsewhere", kept.parents, chain.outside),
        ("commands", kept.commands, chain.commands),
        ("images", kept.data, chain.data),
    ):
        if said != found:
            breaks.append(Break(manifest.FILE, f"{what}: {found}", f"{what}: {said}"))
    return breaks


def _is_fresh(folder: Path) -> bool:
    """Say whether the report is what `edgekd report` writes of the records, images or not."""
    from edgekd.report import html  # 0.1 s: only where it was written anew

    path, run = folder / manifest.REPORT, run_folder.read(folder)
    pages = (html.html(shown).encode() for shown in (run, replace(run, examples=None)))
    return path.is_file() and path.read_bytes() in pages
