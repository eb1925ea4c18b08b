from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from stablelab.models.fractals.small_conv import SmallMapConv, deterministic_gradients, with_small_map_convs


@pytest.mark.parametrize(("side", "stride"), [(1, 1), (2, 1), (2, 2), (1, 2)])
def test_the_same_numbers_as_a_convolution(side: int, stride: int) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(5, 7, 3, stride, 1, bias=False).double()
    small = SmallMapConv(plain, side)
    assert small.weight is plain.weight
    x = torch.randn(4, 5, side, side, dtype=torch.double, requires_grad=True)
    outputs, gradients = [], []
    for convolution in (plain, small):
        outputs.append(convolution(x))
        gradients.append(torch.autograd.grad(outputs[-1].sin().sum(), (x, plain.weight)))
    torch.testing.assert_close(outputs[0], outputs[1])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("side", "stride", "seen"), [(1, 1, 1), (2, 1, 9), (2, 2, 4)])
def test_weights_that_no_pixel_reaches_are_cleared(side: int, stride: int, seen: int) -> None:
    plain = nn.Conv2d(2, 3, 3, stride, 1, bias=False)
    x = torch.randn(2, 2, side, side)
    before = plain(x)
    SmallMapConv(plain, side).clear_unseen()
    torch.testing.assert_close(plain(x), before)
    assert int((plain.weight != 0).all(0).all(0).sum()) == seen


def test_a_whole_resnet_gives_the_same_logits_and_keeps_its_names() -> None:
    torch.manual_seed(0)
    model = resnet18(num_classes=4)
    x = torch.randn(3, 3, 32, 32)
    names = list(model.state_dict())
    with torch.no_grad():
        before = model.eval()(x)
        assert with_small_map_convs(model, 32) is model and not model.training
        torch.testing.assert_close(model(x), before, atol=1e-5, rtol=1e-4)
    assert list(model.state_dict()) == names
    replaced = [name for name, module in model.named_modules() if isinstance(module, SmallMapConv)]
    assert replaced == [
        "layer3.0.conv2", "layer3.1.conv1", "layer3.1.conv2",
        "layer4.0.conv1", "layer4.0.conv2", "layer4.1.conv1", "layer4.1.conv2",
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"^made for maps of 2x2 pixels, not \(4, 4\)$"):
        model(torch.randn(1, 3, 64, 64))


@pytest.mark.parametrize("threads", [1, 2])
def test_gradients_are_the_same_bits_every_time_with_any_number_of_threads(threads: int) -> None:
    torch.manual_seed(0)
    small = SmallMapConv(nn.Conv2d(64, 64, 3, 1, 1, bias=False), 2)
    x = torch.randn(8, 64, 2, 2)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = set()
        for _ in range(20):
            with deterministic_gradients():
                (gradient,) = torch.autograd.grad(small(x).sin().sum(), small.weight)
            found.add(gradient.numpy().tobytes())
        plain = torch.autograd.grad(small(x).sin().sum(), small.weight)[0]
    finally:
        torch.set_num_threads(before)
    assert len(found) == 1 and not torch.are_deterministic_algorithms_enabled()
    assert threads > 1 or found == {plain.numpy().tobytes()}
