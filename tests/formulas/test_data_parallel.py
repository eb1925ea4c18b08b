"""Ring all-reduce is the mean, at the bytes that its formula counts; sharding holds and sends what ZeRO says."""

from __future__ import annotations

import pytest
import torch

from stablelab.formulas import bytes_per_device, bytes_sent_per_step, ring_all_reduce, ring_all_reduce_bytes


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_a_ring_comes_to_the_mean_and_sends_what_the_formula_says(n):
    generator = torch.Generator().manual_seed(n)
    arrays = [torch.randn(6, 8, generator=generator) for _ in range(n)]  # 48 numbers: n divides them
    means, sent = ring_all_reduce(arrays)
    for mean in means:
        assert torch.equal(mean, means[0])
        torch.testing.assert_close(mean, torch.stack(arrays).mean(0))
    assert [4 * each for each in sent] == [ring_all_reduce_bytes(4 * 48, n)] * n


def test_chunks_need_not_be_of_one_size():
    arrays = [torch.arange(7.0) * i for i in range(5)]
    means, sent = ring_all_reduce(arrays)
    assert all(torch.equal(mean, torch.arange(7.0) * 2) for mean in means)
    assert sum(sent) == 2 * 4 * 7
    tiny, _ = ring_all_reduce([torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([6.0])])
    assert [float(each) for each in tiny] == [3.0] * 3


def test_the_bytes_stay_below_two_arrays():
    assert ring_all_reduce_bytes(100, 1) == 0
    assert ring_all_reduce_bytes(100, 2) == 100
    assert ring_all_reduce_bytes(100, 4) == 150
    assert 199 < ring_all_reduce_bytes(100, 1024) < 200


def test_the_papers_example_of_sharding():
    """Figure 1 of ZeRO: 7.5 billion parameters on 64 devices, in GB."""
    paper = {"weights": 2, "gradients": 2, "optimizer": 12}
    gigabytes = [bytes_per_device(7_500_000_000, 64, stage, **paper) / 1e9 for stage in range(4)]
    assert gigabytes == pytest.approx([120, 31.4, 16.6, 1.9], abs=0.05)


def test_what_a_device_holds_in_fp32_is_what_a_step_of_adam_leaves():
    model = torch.nn.Linear(30, 20)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(2, 30)).sum().backward()
    optimizer.step()
    held = [*model.parameters(), *(p.grad for p in model.parameters())]
    held += [state[name] for state in optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    measured = sum(tensor.numel() * tensor.element_size() for tensor in held)
    assert bytes_per_device(620, 1) == bytes_per_device(620, 8) == measured
    assert [bytes_per_device(620, 1, stage) for stage in range(4)] == [measured] * 4


def test_full_sharding_sends_half_as_much_again():
    assert [bytes_sent_per_step(100, 4, stage) for stage in range(4)] == [150, 150, 150, 225]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ring_all_reduce_bytes(4, 0), "n is 0; it must be a whole number of devices, 1 or more"),
        (lambda: bytes_per_device(10, 0), "n is 0; it must be a whole number of devices, 1 or more"),
        (lambda: ring_all_reduce([]), "n is 0; it must be a whole number of devices, 1 or more"),
        (lambda: bytes_per_device(10, 2, 4), "stage is 4; it must be a whole number, at most 3"),
        (lambda: bytes_sent_per_step(-1, 2), "size is -1; it must be a finite number at least 0"),
        (
            lambda: ring_all_reduce([torch.ones(2), torch.ones(3)]),
            r"the first array and another must have the same shape, not \(2,\) and \(3,\)",
        ),
    ],
)
def test_bad_input_is_one_line(call, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        call()
