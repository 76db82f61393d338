"""What all records have in common: they are frozen, written whole, and checked when read."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from edgekd.core import files
from edgekd.core.errors import RecordError

R = TypeVar("R", bound="Record")
# Times, ratios of times, sizes: of no model are they outside, and no quotient of two is infinite.
_LEAST, _MOST = 1e-9, 1e15
NotNegative = Annotated[float, Field(ge=0, le=_MOST)]


class Part(BaseModel):
    """A piece of a record."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Provenance(Part):
    """Who made a record, from what, when and where."""

    made_at: datetime
    command: tuple[str, ...]
    versions: dict[str, str]  # of edgekd, Python and the packages that had a part in it
    machine: str  # processor and cores, for people
    seed: int | None = None


class Record(Part):
    """Something that is written to disk as JSON."""

    schema_version: Literal[1] = 1
    provenance: Provenance
    parents: tuple[str, ...] = ()  # SHA-256 of what it was made from


class Interval(Part):
    """An estimate with a confidence interval."""

    value: float
    low: float
    high: float
    confidence: Annotated[float, Field(gt=0, le=1)]  # two-sided; 1: it is exact

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low <= self.value <= self.high:
            raise ValueError(
                f"{self.value} does not lie in its interval, {self.low} to {self.high}"
            )
        return self


def _positive(interval: Interval) -> Interval:
    if interval.low < _LEAST or interval.high > _MOST:
        raise ValueError(f"must be above 0 and finite, but is {interval.low} to {interval.high}")
    return interval


PositiveInterval = Annotated[Interval, AfterValidator(_positive)]  # a time, or a ratio of times


def write(record: Record, path: Path) -> None:
    """Write a record as JSON, whole or not at all."""
    files.write_text(path, record.model_dump_json(indent=2) + "\n")


def read(kind: type[R], path: Path) -> R:
    """Read a record.

    Raises:
        RecordError: missing, not JSON, of another schema version, or with other fields.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise RecordError(f"there is no {kind.__name__} record '{path}'") from error
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise RecordError(f"'{path}' is no {kind.__name__} record: {error}") from error
    try:
        return kind.model_validate_json(text, strict=True)  # a number in quotes is none
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(step) for step in fault["loc"]) or "file"
        hint = ""
        if place == "schema_version":
            hint = f". Another version of edgekd wrote schema {fault['input']!r}: make it anew"
        raise RecordError(
            f"'{path}' is no {kind.__name__} record of schema 1: {place}: {fault['msg']}{hint}"
        ) from error


def check_file(path: Path, sha256: str) -> None:
    """Raise a ``RecordError`` if a file is missing, or not the one that its record describes."""
    if not path.is_file():
        raise RecordError(f"'{path}' is missing, though its record is there")
    found = files.sha256_of(path)
    if found != sha256:
        raise RecordError(
            f"'{path}' was changed after its record was written: its SHA-256 is "
            f"{found[:12]}..., recorded is {sha256[:12]}..."
        )
