"""Probes of the data: inputs out of scale, texts cut off or not understood, examples that stand in both parts."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from .findings import Cause, Finding
from .judging import UnknownError, made, write
from .probing import Numbers, Probe, restoring, spread
from .setup import TrainingSetup

SCALE = 10.0  # standard deviations or means that no normalization leaves


def measure_moments(setup: TrainingSetup) -> dict[str, float]:
    """Mean, standard deviation and range of what goes into the model."""
    with restoring(setup, weights=False):
        inputs = setup.train.collate(spread(setup.train, 256))[0]
    columns = list(inputs.values()) if isinstance(inputs, Mapping) else [inputs]
    numbers = [x.flatten() for x in columns if isinstance(x, Tensor) and x.is_floating_point()]
    if not numbers:
        raise UnknownError("the inputs are whole numbers, such as tokens: they have no scale")
    x = torch.cat(numbers).double()
    finite = x[x.isfinite()]
    if not len(finite):
        return {"mean": math.nan, "std": math.nan, "lowest": math.nan, "highest": math.nan, "not_finite": 1.0}
    return {
        "mean": float(finite.mean()),
        "std": float(finite.std(unbiased=False)),
        "lowest": float(finite.min()),
        "highest": float(finite.max()),
        "not_finite": 1 - len(finite) / len(x),
    }


def scale_of_inputs(numbers: Numbers) -> Finding | None:
    """Mean and standard deviation of the inputs against 0 and 1.

    Weights are made for inputs of mean 0 and variance 1; inputs of root mean square r enlarge the first layer's outputs
    and its gradient r times each. A fault where the standard deviation or the mean is above 10 in size: pixels in
    [0, 1] or normalized stay below 3, pixels 0–255 have 60 to 110. Inputs that do not vary at all say nothing.

    Source: LeCun et al. 1998, "Efficient backprop", Section 4.3; ten is a choice.
    """
    mean, std = numbers["mean"], numbers["std"]
    if numbers["not_finite"] > 0:
        return made(
            scale_of_inputs,
            "inputs are not finite",
            f"{100 * numbers['not_finite']:.2g} % of the inputs are nan or infinite.",
            (Cause.BAD_BATCH, Cause.OVERFLOW),
            numbers=numbers,
            cure="look at these examples, and leave them out or mend them",
            confidence="certain",
        )
    if std == 0:
        return made(
            scale_of_inputs,
            "all inputs are the same number",
            f"Each is {write(mean)}.",
            (Cause.DATA_WITHOUT_INFORMATION,),
            numbers=numbers,
            cure="look at what is loaded: a picture, drawn; a row, printed",
            confidence="certain",
        )
    if std <= SCALE and abs(mean) <= SCALE:
        return None
    return made(
        scale_of_inputs,
        "the inputs are not normalized",
        f"Their mean is {write(mean)}, their standard deviation {write(std)}, from {write(numbers['lowest'])} to "
        f"{write(numbers['highest'])}.",
        (Cause.SCALE,),
        numbers=numbers,
        cure="subtract the mean and divide by the standard deviation of the training data, in all parts alike",
        confidence="certain",
    )


PROBES = (Probe(measure_moments, scale_of_inputs, "inputs that are not normalized"),)
