"""What distilling is worth: both arms over the time that they took."""

from edgekd.core.run_folder import Run
from edgekd.report import blocks, plots, words, worth
from edgekd.report.blocks import Block, Figure, Note, Section
from edgekd.report.plots import Curve
from edgekd.report.svg import Chart

_ARMS = ("distilled", "labels alone")
_CAVEAT = (
    "The interval is about which images were drawn for the test, not about another seed: train "
    "with several to learn how much the seed decides. The times are those of one machine, one arm "
    "after the other."
)


def section(run: Run) -> Section | None:
    """Return the section; None: the run has no control arm."""
    said = [worth.gain_sentence(run), worth.time_sentence(run)]
    found: list[Block] = [Note(sentence) for sentence in said if sentence is not None]
    distilled, control = worth.courses(run)
    if control is None:
        return None
    found.append(_figure(distilled, control, worth.time_to_target(run)))
    return Section("control", "What distilling is worth", (*found, Note(_CAVEAT, "quiet")))


def _figure(
    distilled: worth.Course | None, control: worth.Course, reached: worth.TimeToTarget | None
) -> Figure:
    curves = [
        Curve(name, course.seconds, course.top1_percent, 1 + place)
        for place, (name, course) in enumerate(zip(_ARMS, (distilled, control), strict=True))
        if course is not None
    ]
    told = "; ".join(
        f"{curve.name} ends at {curve.ys[-1]:.2f} % after {words.duration(curve.xs[-1])}"
        for curve in curves
    )
    chart = Chart("control", "Validation accuracy of both arms over training time", told)

    marked = None
    if reached is not None and reached.distilled_s is not None:
        marked = reached.distilled_s, "as good as the labels alone"

    def draw(width: int) -> str:
        labels = ("training time (s)", "top-1 on validation images (%)")
        return plots.svg_lines(chart, curves, labels, width=width, marked=marked)

    caption = (
        "Both start from the same student and have the same epochs. The time is that of training "
        "steps and of computing the teacher's cached answers; scoring is not counted."
    )
    return blocks.both_widths(chart.title, caption, draw)
