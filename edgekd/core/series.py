"""The record of temperatures, clocks and power over time; beside what ran when."""

from typing import Self

from pydantic import Field, model_validator

from edgekd.core.record import Part

Told = tuple[float | None, ...]  # None: the sensor did not answer


class Turn(Part):
    """A time in which one model ran, or nothing did."""

    subject: str | None  # None: nothing ran
    start_s: float
    end_s: float


class Series(Part):
    """What sensors told while models ran, thinned so that extremes stay; doubts come from all."""

    times_s: tuple[float, ...]  # since the first reading
    temperatures_c: dict[str, Told] = Field(default={})  # by zone; the most of what was thinned
    gpu_mhz: Told = ()  # the least of what was thinned; empty: the device does not tell
    cpu_mhz: Told = ()  # likewise, of the fastest core
    power_w: Told = ()  # the mean of what was thinned; empty: not told
    source: str | None = None  # of power: "ina3221", "hwmon", "rapl"
    rails: tuple[str, ...] = ()  # that were added up
    no_power: str | None = None  # why there is none; None: it is told, or stands elsewhere
    turns: tuple[Turn, ...] = ()

    @model_validator(mode="after")
    def _of_one_length(self) -> Self:
        for column in (*self.temperatures_c.values(), self.gpu_mhz, self.cpu_mhz, self.power_w):
            if column and len(column) != len(self.times_s):
                raise ValueError(f"{len(column)} values at {len(self.times_s)} times")
        return self

    @property
    def hottest(self) -> str | None:
        """Return the zone with the highest temperature; None: the device tells none."""
        zones = self.temperatures_c
        return max(zones, key=lambda zone: max(known(zones[zone])), default=None)


def known(column: Told) -> list[float]:
    """Return the values that a sensor did tell."""
    return [value for value in column if value is not None]
