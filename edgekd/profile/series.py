"""From the agent's readings over time to the record: thinned, and only of the zones that matter."""

from collections.abc import Callable, Iterator, Sequence
from statistics import fmean

import numpy as np

from edgekd.core.series import Series, Told, Turn, known
from edgekd.profile import energy
from edgekd.remote import lines

POINTS = 300  # of each column, at most
_PARTS = ("cpu", "gpu")  # whose zones are kept beside the hottest


def record(told: lines.Series | None, names: Sequence[str], rail: str | None) -> Series | None:
    """Return what is kept of a series; None: there are no readings.

    Args:
        told: all readings; None: the agent had none to tell.
        names: of the models, by their place in the request.
        rail: that carries the whole module, by the board's profile; None: it has none.
    """
    if told is None or not told.times_ns:
        return None
    start_ns = told.times_ns[0]
    rails, _ = energy.chosen(tuple(told.rails), rail) if told.rails else ((), None)
    return Series(
        times_s=tuple(round((time - start_ns) / 1e9, 3) for time in told.times_ns[:: _step(told)]),
        temperatures_c={
            zone: _thinned(told, told.temperatures_c[zone], max) for zone in _zones(told)
        },
        gpu_mhz=_thinned(told, told.gpu_mhz, min),
        cpu_mhz=_thinned(told, told.cpu_mhz, min),
        power_w=_thinned(told, _watts(told, rails), fmean),
        source=told.source,
        rails=rails,
        no_power=told.no_power,
        turns=tuple(_turns(told, names)),
    )


def _step(told: lines.Series) -> int:
    """Return how many readings become one."""
    return -(-len(told.times_ns) // POINTS)


def _thinned(told: lines.Series, column: Told, pick: Callable[[list[float]], float]) -> Told:
    if not known(column):
        return ()
    step = _step(told)
    groups = [known(column[start : start + step]) for start in range(0, len(column), step)]
    return tuple(round(pick(group), 3) if group else None for group in groups)


def _zones(told: lines.Series) -> list[str]:
    """Return the hottest zone, and the hottest of each part that has some."""
    most = {
        zone: max(known(column)) for zone, column in told.temperatures_c.items() if known(column)
    }
    order = sorted(most, key=lambda zone: -most[zone])
    chosen = order[:1]
    for part in _PARTS:
        chosen += [zone for zone in order if part in zone.lower()][:1]
    return list(dict.fromkeys(chosen))


def _watts(told: lines.Series, rails: Sequence[str]) -> Told:
    """Return the power of rails together; a counter's reading tells that since the one before."""
    if not rails:
        return ()
    sums = np.array([told.rails[rail] for rail in rails], dtype=np.float64).sum(axis=0)  # None: NaN
    watts = sums / 1000
    if told.unit == "uJ":
        seconds = np.diff(np.array(told.times_ns, dtype=np.float64)) / 1e9
        watts = np.concatenate([[np.nan], np.diff(sums) / 1e6 / seconds])
    return tuple(None if np.isnan(value) else float(value) for value in watts)


def _turns(told: lines.Series, names: Sequence[str]) -> Iterator[Turn]:
    """Yield the turns; those of one model behind one another are one."""
    start_ns = told.times_ns[0]
    merged: list[tuple[int | None, int, int]] = []
    for model, start, end in told.turns:
        if merged and merged[-1][0] == model:
            merged[-1] = (model, merged[-1][1], end)
        else:
            merged.append((model, start, end))
    for model, start, end in merged:
        yield Turn(
            subject=None if model is None else names[model],
            start_s=round((start - start_ns) / 1e9, 3),
            end_s=round((end - start_ns) / 1e9, 3),
        )
