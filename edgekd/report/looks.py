"""Which colour and shape stands for which model: the same in every chart."""

from edgekd.core.run_folder import REFERENCE, Run, is_teachers

TEACHER, STEP = 0, 8  # STEP: a checkpoint on the way
_STUDENTS = 5  # colours before they are used again


def series(run: Run) -> dict[str, int]:
    """Return the number of each checkpoint's, artifact's and measured file's series."""
    found = dict.fromkeys(run.checkpoints, STEP)
    others = run.students
    timings = run.measurement.timings if run.measurement else ()
    others += [timing.subject for timing in timings if timing.subject not in run.artifacts]
    found |= {name: 1 + place % _STUDENTS for place, name in enumerate(dict.fromkeys(others))}
    found |= {"teacher": TEACHER, REFERENCE: TEACHER}
    found |= {name: TEACHER for name in run.artifacts if is_teachers(name)}
    return found | {run.shipped(name): found[name] for name in run.artifacts}
