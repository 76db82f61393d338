"""The control arm: the same student, taught as long by the labels alone."""

from edgekd.models.checkpoint import Model
from edgekd.pipeline import stages
from edgekd.pipeline.job import Job
from edgekd.pipeline.plan import control_stages


def run_stages(job: Job, student: Model) -> None:
    """Do every stage of the control arm, if the recipe asks for it.

    Args:
        job: the run.
        student: where distilling started, too.
    """
    stages.run(job, control_stages(job.recipe), student, None)
