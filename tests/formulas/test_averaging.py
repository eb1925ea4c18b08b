from __future__ import annotations

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from stablelab.formulas import moving_average


def test_it_is_the_moving_average_of_torch() -> None:
    model = torch.nn.Linear(3, 2)
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    theirs.update_parameters(model)  # the first one is taken as it is
    ours = model.weight.detach().clone()
    for _ in range(5):
        with torch.no_grad():
            model.weight.add_(torch.randn(2, 3))
        theirs.update_parameters(model)
        ours = moving_average(ours, model.weight.detach(), 0.9)
    torch.testing.assert_close(ours, theirs.module.weight.detach())


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="average"):
        moving_average(torch.zeros(2), torch.zeros(3), 0.9)
    with pytest.raises(ValueError, match="beta is 1"):
        moving_average(torch.zeros(2), torch.zeros(2), 1.0)
