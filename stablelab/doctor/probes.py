"""The list of probes, and how they are measured: each measure once, whoever shares it."""

from __future__ import annotations

from collections.abc import Callable

from .._formatting import one_line
from . import batch_probes, data_probes, label_probes, model_probes, step_probes
from .judging import UnknownError
from .probing import Probe
from .setup import TrainingSetup

# What says most of the cause comes first.
PROBES: tuple[Probe, ...] = (
    *model_probes.PROBES,
    *batch_probes.PROBES,
    *step_probes.PROBES,
    *data_probes.PROBES,
    *label_probes.PROBES,
)


def measure_all(setup: TrainingSetup) -> dict[str, dict[str, float] | str]:
    """The numbers of every probe, by its name; in place of numbers the reason why there are none.

    Measures that several probes share are taken once.
    """
    taken: dict[Callable[[TrainingSetup], dict[str, float]], dict[str, float] | str] = {}
    for probe in PROBES:
        if probe.measure not in taken:
            try:
                taken[probe.measure] = probe.measure(setup)
            except UnknownError as reason:
                taken[probe.measure] = str(reason)
            except Exception as error:  # a model that is not ours may fail at anything
                taken[probe.measure] = one_line(f"it failed: {type(error).__name__}: {error}", 160)
    return {probe.name: taken[probe.measure] for probe in PROBES}
