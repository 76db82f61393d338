"""Images that the student lost and gained against the teacher, as far as the run has kept some."""

from collections.abc import Sequence

from edgekd.core.examples import Example, Examples
from edgekd.core.run_folder import Run
from edgekd.report.blocks import Block, Gallery, Note, Picture
from edgekd.report.words import count

_NONE = "No example images were kept in this run."
_OLD = "The example images that were kept are about other predictions, so they are not shown."


def blocks(run: Run, student: str, names: Sequence[str], lost: int, gained: int) -> list[Block]:
    """Return the images.

    Args:
        run: what was kept in it.
        student: that classes are compared for.
        names: of the classes.
        lost: how many images there are that only the teacher has right.
        gained: that only the student has right.
    """
    kept = run.examples
    if kept is None:
        return [Note(_NONE, "quiet")]
    if kept.student != student or not _current(run, kept):
        return [Note(_OLD, "inconclusive")]
    kinds = (
        ("Lost: only the teacher is right", kept.lost, lost),
        ("Gained: only the student is right", kept.gained, gained),
    )
    return [
        Gallery(title, _shown(len(some), every), tuple(_picture(one, names) for one in some))
        for title, some, every in kinds
        if some
    ]


def _current(run: Run, kept: Examples) -> bool:
    pair = (run.accuracies.get(name) for name in (kept.teacher, kept.student))
    return kept.parents == tuple(one.predictions_sha256 for one in pair if one is not None)


def _shown(some: int, every: int) -> str:
    images = count(every, "image")
    return f"{images}." if some == every else f"{some} of {images}, spread over the image set."


def _picture(one: Example, names: Sequence[str]) -> Picture:
    def name(index: int) -> str:
        return names[index] if index < len(names) else f"class {index}"

    wrong = one.student if one.teacher == one.label else one.teacher
    return Picture(
        png=one.png,
        alt=f"Test image {one.place}, labelled {name(one.label)}",
        label=name(one.label),
        taken_for=name(wrong),
        whose="student" if wrong == one.student else "teacher",
    )
