"""Weights averaged along a run."""

from __future__ import annotations

from torch import Tensor

from .._validation import number, same_shape


def moving_average(average: Tensor, theta: Tensor, beta: float) -> Tensor:
    """β · average + (1 - β) θ: the exponential moving average (EMA) of the weights after one more step.

    Started at the initial weights it needs no bias correction; it looks back about 1 / (1 - β) steps.

    Args:
        average: as it was before this step, any shape.
        theta: the weights after this step, same shape.
        beta: β, in [0, 1).

    Raises:
        ValueError: the shapes differ, or β is outside its range.

    Source:
        Polyak & Juditsky 1992, "Acceleration of stochastic approximation by averaging", who average evenly; with a
        moving average as in Tarvainen & Valpola 2017, "Mean teachers are better role models", Section 2.
    """
    same_shape("average", average, "theta", theta)
    number("beta", beta, at_least=0, below=1)
    return beta * average + (1 - beta) * theta
