"""Keep a few test images on which teacher and student part ways."""

import base64

import numpy as np
from numpy.typing import NDArray

from edgekd.core import predictions, provenance, run_folder
from edgekd.core.examples import MOST, SIDE_PX, Example, Examples
from edgekd.core.run_folder import Run
from edgekd.data import png
from edgekd.data.images import ImageSet
from edgekd.report import facts


def choose(run: Run, test: ImageSet) -> Examples | None:
    """Return images that only the teacher, or only the student has right.

    Args:
        run: evaluated on ``test``.
        test: the images.

    Returns:
        None if there is no student to compare.
    """
    pair = facts.pair(run)
    if pair is None:
        return None
    teacher, student = (run.accuracies[name] for name in pair)
    folder = run_folder.accuracy(run.folder, teacher.subject).parent
    labels_n, teachers_n = predictions.labelled(teacher, folder)
    _, students_n = predictions.labelled(student, folder)

    def examples(chosen_n: NDArray[np.bool_]) -> tuple[Example, ...]:
        places = _spread(np.flatnonzero(chosen_n))
        pixels_nhwc = test.batch(places) if len(places) else ()
        return tuple(
            Example(
                place=int(place),
                label=int(labels_n[place]),
                teacher=int(teachers_n[place]),
                student=int(students_n[place]),
                png=base64.b64encode(png.encode(png.shrink(pixels, SIDE_PX))).decode("ascii"),
            )
            for place, pixels in zip(places, pixels_nhwc, strict=True)
        )

    right_n, kept_n = labels_n == teachers_n, labels_n == students_n
    return Examples(
        provenance=provenance.stamp("numpy"),
        parents=(teacher.predictions_sha256, student.predictions_sha256),
        teacher=teacher.subject,
        student=student.subject,
        images_sha256=test.sha256,
        lost=examples(np.asarray(right_n & ~kept_n)),
        gained=examples(np.asarray(kept_n & ~right_n)),
    )


def _spread(places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return at most ``MOST`` of them, evenly spread: image sets are often sorted by class."""
    if len(places) <= MOST:
        return places
    return places[np.linspace(0, len(places) - 1, MOST).round().astype(np.int64)]
