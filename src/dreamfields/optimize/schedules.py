"""Schedules: functions of `progress`, the fraction of all steps done, in [0, 1]."""

import math


def learning_rate(progress: float, peak: float, final_fraction: float) -> float:
    """Return a cosine decay from `peak` to `final_fraction * peak`."""
    return peak * (final_fraction + (1.0 - final_fraction) * 0.5 * (1.0 + math.cos(math.pi * progress)))


def warm_up(progress: float, until: float, start: float) -> float:
    """Return the factor of the learning rate: from `start` to 1 geometrically up to `until`, then 1 (released code)."""
    fraction = ramp(progress, 0.0, until)
    return 1.0 if fraction == 1.0 else float(start ** (1.0 - fraction))


def line(progress: float, start: float, end: float) -> float:
    """Return a straight line from `start` to `end`."""
    return start + (end - start) * progress


def ramp(progress: float, begin: float, end: float) -> float:
    """Return 0 up to `begin`, 1 from `end` on, and a straight line between them; a jump where they are the same."""
    if progress >= end:
        return 1.0
    return (progress - begin) / (end - begin) if progress > begin else 0.0


def transmittance_target(progress: float, start: float, end: float, until: float) -> float:
    """Return the target tau of the mean transmittance; 1 - tau changes geometrically up to `until` (sec. 3.3)."""
    fraction = ramp(progress, 0.0, until)
    log_start, log_end = (math.log(max(1.0 - target, 1e-6)) for target in (start, end))
    return 1.0 - math.exp((1.0 - fraction) * log_start + fraction * log_end)
