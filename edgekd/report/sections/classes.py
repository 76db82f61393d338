"""Classes: which ones the student recognises better or worse than the teacher.

Letters: N images, K classes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekd.core import predictions, run_folder
from edgekd.core.errors import RecordError
from edgekd.core.run_folder import Run
from edgekd.report import blocks, charts, facts, looks, matrix, words
from edgekd.report.blocks import Block, Cell, Column, Figure, Folded, Note, Section, Table
from edgekd.report.sections import examples
from edgekd.report.svg import Chart

_TITLE = "Classes"
_SHOWN = 12  # classes in the chart, those that changed most
_MOST_CELLS = 20  # classes up to which all confusions are drawn
_CONFUSIONS = 10
_COLUMNS = (
    Column("Class"),
    Column("Images", numeric=True),
    Column("Teacher (%)", numeric=True),
    Column("Student (%)", numeric=True),
    Column("Change (pp)", numeric=True),
)
_CONFUSION_COLUMNS = (
    Column("Label"),
    Column("Taken for"),
    Column("Teacher (images)", numeric=True),
    Column("Student (images)", numeric=True),
    Column("More (images)", numeric=True),
)


@dataclass(frozen=True)
class Comparison:
    """How teacher and student classify the same images."""

    student: str
    names: tuple[str, ...]  # of the classes
    teacher_kk: NDArray[np.int64]  # images: rows are the labels, columns the predictions
    student_kk: NDArray[np.int64]
    lost: int  # images that only the teacher has right
    gained: int  # images that only the student has right

    @property
    def images_k(self) -> NDArray[np.int64]:
        """The number of images of each class."""
        return np.asarray(self.teacher_kk.sum(axis=1))


def section(run: Run) -> Section:
    """Return the section about classes, or the sentence why there is none."""
    names = facts.pair(run)
    if names is None:
        note = Note("Teacher and student were not both evaluated image by image yet.", "quiet")
        return Section("classes", _TITLE, (note,))
    try:
        found = compare(run, *names)
    except RecordError as error:
        return Section("classes", _TITLE, (Note(f"{error}.", "inconclusive"),))
    return Section("classes", _TITLE, tuple(_blocks(run, found)))


def compare(run: Run, teacher: str, student: str) -> Comparison:
    """Compare two models' predictions.

    Raises:
        RecordError: a file is missing or was changed, or they are about different images.
    """
    first, second = run.accuracies[teacher], run.accuracies[student]
    if first.images_sha256 != second.images_sha256:
        raise RecordError(
            f"'{teacher}' and '{student}' were evaluated on different images: evaluate both on "
            "the same to compare classes"
        )
    folder = run_folder.accuracy(run.folder, teacher).parent
    labels_n, teachers_n = predictions.labelled(first, folder)
    _, students_n = predictions.labelled(second, folder)
    if min(int(array_n.min()) for array_n in (labels_n, teachers_n, students_n)) < 0:
        raise RecordError(
            f"'{teacher}' or '{student}' was evaluated with a class below 0, which is none: "
            "evaluate both again"
        )
    names = _class_names(run, labels_n, teachers_n, students_n)
    right, kept = labels_n == teachers_n, labels_n == students_n
    lost, gained = predictions.discordant(np.asarray(right), np.asarray(kept))
    return Comparison(
        student=student,
        names=names,
        teacher_kk=_confusion(labels_n, teachers_n, len(names)),
        student_kk=_confusion(labels_n, students_n, len(names)),
        lost=lost,
        gained=gained,
    )


def _class_names(run: Run, *arrays_n: NDArray[np.integer]) -> tuple[str, ...]:
    """Return the classes' names from the checkpoints; numbers for those without one."""
    count = 1 + max(int(array_n.max()) for array_n in arrays_n)
    known = next((found.class_names for found in run.checkpoints.values()), ())
    return (*known, *(f"class {index}" for index in range(len(known), count)))


def _confusion(
    labels_n: NDArray[np.integer], predictions_n: NDArray[np.integer], classes: int
) -> NDArray[np.int64]:
    counts = np.bincount(labels_n.astype(np.int64) * classes + predictions_n, minlength=classes**2)
    return counts.reshape(classes, classes).astype(np.int64)


def _blocks(run: Run, found: Comparison) -> list[Block]:
    images_k = found.images_k
    present = np.flatnonzero(images_k)
    teacher_k = 100 * found.teacher_kk.diagonal() / np.maximum(images_k, 1)
    student_k = 100 * found.student_kk.diagonal() / np.maximum(images_k, 1)
    change_k = student_k - teacher_k
    order = sorted(present, key=lambda index: (-abs(change_k[index]), index))
    rows = [(found.names[i], float(teacher_k[i]), float(student_k[i])) for i in order]
    lead = (
        f"'{found.student}' against the teacher: {words.count(found.lost, 'image')} lost, "
        f"{found.gained} gained. A class has few images, so a small change may be chance."
    )
    table = Table(
        "Accuracy of every class.",
        _COLUMNS,
        tuple(
            _row(name, int(images_k[index]), before, after)
            for index, (name, before, after) in zip(order, rows, strict=True)
        ),
    )
    shown = [_pairs_figure(run, found, rows[:_SHOWN])]
    many = len(rows) > _SHOWN
    result: list[Block] = [Note(lead), *shown]
    result.append(Folded(f"All {len(rows)} classes", (table,)) if many else table)
    change_kk = found.student_kk - found.teacher_kk
    if len(found.names) <= _MOST_CELLS and change_kk.any():
        result.append(_confusion_figure(found, change_kk))
    confusions = _confusions(found, change_kk)
    if confusions.rows:
        result.append(confusions)
    return [*result, *examples.blocks(run, found.student, found.names, found.lost, found.gained)]


def _row(name: str, images: int, before: float, after: float) -> tuple[Cell, ...]:
    return (
        Cell(name),
        blocks.number(str(images), images),
        blocks.number(f"{before:.1f}", before),
        blocks.number(f"{after:.1f}", after),
        blocks.number(words.signed(after - before, 1), after - before),
    )


def _pairs_figure(run: Run, found: Comparison, rows: list[tuple[str, float, float]]) -> Figure:
    series = looks.series(run).get(found.student, looks.STEP)
    title = f"Accuracy of the classes that changed most: teacher to {found.student}"
    told = "; ".join(f"{name} {before:.1f} to {after:.1f} %" for name, before, after in rows)
    chart = Chart("classes", title, told)

    def draw(width: int) -> str:
        colours = (looks.TEACHER, series)
        return charts.svg_pairs(chart, rows, "accuracy of the class (%)", colours, width=width)

    caption = f"Grey is the teacher, colour is '{found.student}'; the number is the change in pp."
    return blocks.both_widths(title, caption, draw)


def _confusion_figure(found: Comparison, change_kk: NDArray[np.int64]) -> Figure:
    title = f"Change of the confusions: {found.student} minus teacher"
    told = "Rows are labels, columns are predictions; the table below has the largest changes."
    chart = Chart("confusion", title, told)

    def draw(width: int) -> str:
        return matrix.svg_confusion(chart, change_kk, found.names, width=width)

    caption = "Images more (+) or fewer (-) in each cell. The diagonal is what is right."
    return blocks.both_widths(title, caption, draw)


def _confusions(found: Comparison, change_kk: NDArray[np.int64]) -> Table:
    wrong_kk = change_kk.copy()
    np.fill_diagonal(wrong_kk, 0)
    rows = []
    for place in np.argsort(-wrong_kk, axis=None, kind="stable")[:_CONFUSIONS]:
        label, taken = divmod(int(place), len(found.names))
        more = int(wrong_kk[label, taken])
        if more > 0:
            before, after = found.teacher_kk[label, taken], found.student_kk[label, taken]
            rows.append(
                (
                    Cell(found.names[label]),
                    Cell(found.names[taken]),
                    blocks.number(str(before), float(before)),
                    blocks.number(str(after), float(after)),
                    blocks.number(f"+{more}", more),
                )
            )
    return Table("What the student confuses more often.", _CONFUSION_COLUMNS, tuple(rows))
