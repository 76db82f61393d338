"""What rules rest on: a run's records, each checked before it may speak.

Whatever is missing, was changed or does not fit together is a ``RecordError``, never a pass.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgekd.core import estimate, records, run_folder
from edgekd.core.errors import RecordError, UsageError, did_you_mean
from edgekd.core.estimate import Estimate
from edgekd.core.records import Accuracy, Artifact, Measurement, Timing
from edgekd.core.run_folder import REFERENCE, Run
from edgekd.gate.baselines import Baseline, Entry

TEACHER = "teacher"
Lint = Callable[[Path, Artifact], tuple[int, int]]  # errors and warnings of a model file


@dataclass(frozen=True)
class Evidence:
    """The records of a run, and what they are compared with."""

    run: Run
    baseline: Baseline | None = None
    lint: Lint | None = None

    def names(self, rule: str, asked: tuple[str, ...] | None) -> list[str]:
        """Return what a rule is for: what it names, or every file of the student's.

        The teacher's files but the reference can be named, too.
        """
        folder = self.run.folder
        there = self.run.students
        if not there:
            raise RecordError(
                f"rule {rule} has nothing to judge: '{folder}' has no exported student"
            )
        if asked is None:
            self._check_whole(rule)
            return there
        if not asked:
            raise RecordError(
                f"rule {rule} has nothing to judge: gate.{rule}.artifacts is empty. Leave it out "
                f"for all of {', '.join(there)}"
            )
        known = [name for name in self.run.artifacts if name != REFERENCE]
        for name in asked:
            if name not in known:
                raise RecordError(
                    f"rule {rule} is for '{name}', which '{folder}' does not have."
                    f"{did_you_mean(name, known)}"
                )
        return list(asked)

    def artifact(self, name: str, rule: str) -> Artifact:
        """Return an artifact whose file is still the one that was judged."""
        found = self.run.artifacts.get(name)
        if found is None:
            raise RecordError(
                f"{rule} is against '{name}', which '{self.run.folder}' does not have: export it"
            )
        records.check_file(self.file(name), found.sha256)
        return found

    def file(self, name: str) -> Path:
        """Return the path of an artifact's file."""
        return run_folder.artifact(self.run.folder, name) / self.run.artifacts[name].file

    def accuracy(self, name: str, rule: str) -> Accuracy:
        """Return the accuracy of a model on the test images, if it is fit to judge by."""
        run, found = self.run, self.run.accuracies.get(name)
        if found is None:
            others = f", or name the artifacts that the rule is for in gate.{rule}.artifacts"
            raise RecordError(
                f"'{name}' was not evaluated, so rule {rule} cannot be judged: finish the run with "
                f"--resume{'' if name == TEACHER else others}"
            )
        engines = {run_folder.engine(artifact): artifact for artifact in run.engines}
        if name in engines:
            sha256 = self._engine(engines[name])
        elif name in run.artifacts:
            sha256 = run.artifacts[name].sha256
        elif name in run.checkpoints:
            sha256 = run.checkpoints[name].weights_sha256
        else:
            raise RecordError(f"'{name}' was evaluated, but '{run.folder}' has no such checkpoint")
        if found.subject_sha256 != sha256:
            raise RecordError(
                f"the accuracy of '{name}' belongs to other weights (SHA-256 "
                f"{found.subject_sha256[:12]}..., now {sha256[:12]}...): evaluate '{name}' again"
            )
        if found.split != "test":
            raise RecordError(
                f"'{name}' was evaluated on the {found.split} images, but the gate reads the test "
                "images alone: choices have read the others"
            )
        self._check_unread(found)
        return found

    def runs_as(self, name: str) -> str:
        """Name an artifact for people, and where its answers come from if a board gave them."""
        built = self.run.engines.get(name)
        return name if built is None else f"{name}, its engine on {built.parity.device}"

    def measurement(self, rule: str, devices: tuple[str, ...] | None = None) -> Measurement:
        """Return the latency measurement, if its samples are as they were and it is from there."""
        found = self.run.measurement
        if found is None:
            estimated = (run_folder.measurement(self.run.folder) / estimate.FILE).exists()
            raise RecordError(
                f"'{self.run.folder}' has no latency measurement, so rule {rule} cannot be judged"
                + (": an estimate is none, measure on the device" if estimated else "")
            )
        if devices is not None and found.device not in devices:
            raise RecordError(
                f"rule {rule} is for {' or '.join(devices) or 'no device'}, but latency was "
                f"measured on '{found.device}': measure it there"
            )
        samples = run_folder.measurement(self.run.folder) / found.samples_file
        records.check_file(samples, found.samples_sha256)
        energy = found.energy
        if energy is not None and energy.readings_file and energy.readings_sha256:
            records.check_file(samples.with_name(energy.readings_file), energy.readings_sha256)
        return found

    def estimate(self, name: str, rule: str, devices: tuple[str, ...] | None) -> Estimate:
        """Return the estimate of an artifact's latency, if it is about the file that is there."""
        path = run_folder.measurement(self.run.folder) / estimate.FILE
        if not path.is_file():
            raise RecordError(
                f"rule {rule} accepts an estimate, but there is no '{path}', nor a measurement: "
                f"`edgekd profile {self.file(name)} --device KIND --out {path.parent}` writes one"
            )
        found = records.read(Estimate, path)
        if devices is not None and found.device not in devices:
            raise RecordError(
                f"rule {rule} is for {' or '.join(devices) or 'no device'}, but '{path}' is an "
                f"estimate for '{found.device}'"
            )
        if found.sha256 != self.artifact(name, rule).sha256:
            raise RecordError(
                f"'{path}' is an estimate for '{found.subject}', which is another file than "
                f"'{name}': estimate '{name}', or name the artifact that the rule is for in "
                f"gate.{rule}.artifacts"
            )
        return found

    def timing(self, name: str, rule: str, measurement: Measurement) -> Timing:
        """Return the latency of an artifact, if it belongs to the file that is there now."""
        for timing in measurement.timings:
            if timing.subject == name:
                artifact = self.run.artifacts.get(name)
                if artifact is None or timing.sha256 != artifact.sha256:
                    raise RecordError(
                        f"the latency of '{name}' belongs to another file: measure '{name}' again"
                    )
                return timing
        raise RecordError(
            f"the latency of '{name}' was not measured, so rule {rule} cannot be judged: "
            f"measure it, or name the artifacts that the rule is for in gate.{rule}.artifacts"
        )

    def parents(self) -> tuple[str, ...]:
        """Return the SHA-256 of all that a verdict rests on."""
        run = self.run
        found = [checkpoint.weights_sha256 for checkpoint in run.checkpoints.values()]
        found += [artifact.sha256 for artifact in run.artifacts.values()]
        found += [accuracy.predictions_sha256 for accuracy in run.accuracies.values()]
        found += [run.measurement.samples_sha256] if run.measurement else []
        found += self.baseline.parents if self.baseline else ()
        return tuple(found)

    def entry(self, name: str, rule: str) -> Entry:
        """Return what an artifact needed when the baseline was taken."""
        if self.baseline is None:
            raise UsageError(
                f"rule {rule} compares with a baseline: say where it lies with --baselines DIR"
            )
        entries = self.baseline.entries
        if name not in entries:
            raise RecordError(
                f"the baseline of '{self.baseline.device}' has no '{name}', so rule {rule} cannot "
                f"be judged.{did_you_mean(name, entries)}"
            )
        return entries[name]

    def _check_whole(self, rule: str) -> None:
        """Refuse a run that has lost a model: the rule is for all of them."""
        run = self.run
        known = {*run.checkpoints, *run.artifacts, *map(run_folder.engine, run.engines)}
        told = [*run.accuracies, *(each.subject for each in _timings(run))]
        for name in told:
            if name not in known:
                raise RecordError(
                    f"'{name}' was evaluated or measured, but its own record is missing, so rule "
                    f"{rule} is not for every model: finish the run with --resume"
                )

    def _engine(self, artifact: str) -> str:
        """Return the SHA-256 of an artifact's engine, which must be that of the file."""
        built = self.run.engines[artifact]
        plan = self.file(artifact).with_name(built.file)
        records.check_file(plan, built.parity.plan_sha256)
        if self.run.artifacts[artifact].sha256 not in built.parents:
            raise RecordError(
                f"the engine '{plan}' was built from another file than '{artifact}' is now: "
                "finish the run with --resume"
            )
        return built.parity.plan_sha256

    def _check_unread(self, accuracy: Accuracy) -> None:
        """Refuse images that a choice (of weights, an epoch, ranges) has read."""
        for name, checkpoint in self.run.checkpoints.items():
            if checkpoint.data is None:
                continue
            for split, sha256 in checkpoint.data.sha256.items():
                if split != "test" and sha256 == accuracy.images_sha256:
                    raise RecordError(
                        f"'{accuracy.subject}' was evaluated on the very images that '{name}' has "
                        f"read for {split}: evaluate it on test images that no choice has read"
                    )


def _timings(run: Run) -> tuple[Timing, ...]:
    return run.measurement.timings if run.measurement else ()
