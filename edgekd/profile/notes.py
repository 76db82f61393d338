"""What the agent said of a measurement, sorted."""

from dataclasses import dataclass, field

from edgekd.core.errors import DeviceError
from edgekd.core.progress import Task
from edgekd.remote import lines


@dataclass
class Notes:
    """Lines by their kind; where there are several models, by their place in the request."""

    machine: str = ""
    cores: int = 0
    boot_id: str | None = None  # of the device's last start
    opened: dict[int, lines.Opened] = field(default_factory=dict)
    warmed: dict[int, lines.Warmed] = field(default_factory=dict)
    memory: dict[int, lines.Memory] = field(default_factory=dict)
    telemetry: list[lines.Telemetry] = field(default_factory=list)
    conditions: list[lines.Conditions] = field(default_factory=list)  # before and after
    series: lines.Series | None = None
    blocks: dict[tuple[int, int], lines.Block] = field(default_factory=dict)  # by model and turn

    def take(self, line: lines.Line, task: Task) -> None:
        """Note one line.

        Raises:
            DeviceError: it is no part of a measurement.
        """
        match line:
            case lines.Machine():
                self.machine, self.cores, self.boot_id = line.machine, line.cores, line.boot_id
            case lines.Opened():
                self.opened[line.subject] = line
            case lines.Warmed():
                self.warmed[line.subject] = line
            case lines.Memory():
                self.memory[line.subject] = line
            case lines.Telemetry():
                self.telemetry.append(line)
            case lines.Conditions():
                self.conditions.append(line)
            case lines.Block():
                self.blocks[line.subject, line.block] = line
            case lines.Series():
                self.series = line
            case lines.Progress():
                task.advance(1, line.note)
            case _:
                raise DeviceError(
                    f"the agent wrote '{line.type}', which is no part of a measurement"
                )
