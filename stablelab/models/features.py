"""The body's features, computed once: training a head on them is the frozen loop without the body's work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..data.tasks import SPLITS, Inputs, Split, Task
from .heads import head_of, logits_of, model_name, new_modules

Progress = Callable[[int, int], object]
BATCH = 64  # examples per forward pass of the body


class FeatureTask(Task):
    """A task whose inputs are features, float32 (B, D): what ``cached_features`` returns."""


def cached_features(task: Task, model: nn.Module, progress: Progress | None = None) -> FeatureTask:
    """The same task with the inputs of the model's head in place of pictures or sentences.

    Train the head module alone on it (``head_of(model)[1]``): batch k holds the same examples as batch k of
    ``task``, so the numbers are those of the whole model with its body held by ``freeze``. Hugging Face models have
    dropout between body and head; a frozen body applies none, and neither does the cache.

    The features of a split are computed when they are first asked for (body in evaluation mode, no gradients, on
    the model's device) and then kept; later changes of the body do not reach them.

    Args:
        task: the task.
        model: nothing of it is changed; its mode is restored.
        progress: called with (examples done, examples in the split) during the computation.

    Raises:
        ValueError: the head's output is not the logits, or more than one module is new, so that what enters the head
            cannot be kept, found at once, on two examples; or a task that is not of this package.
    """
    if not isinstance(task, Task):  # batch k of one's own task does not say which examples it holds
        raise ValueError(f"{getattr(task, 'name', 'the task')} is a task of your own, so features cannot be kept")
    name = model_name(model)
    new = [n for n, _ in new_modules(model)]
    if len(new) > 1:
        raise ValueError(f"{name} has {' and '.join(new)} as its head, so features cannot be kept")
    if not _head_gives_logits(model, task.train):
        raise ValueError(
            f"what {head_of(model)[0]!r} of {name} puts out is not its logits yet, so features cannot be kept"
        )
    splits = {}
    for split in SPLITS:
        whole = getattr(task, split)
        splits[split] = Split(Features(whole, model, progress), whole.targets, whole.classes)
    parts = splits["train"], splits["validation"], splits["test"]
    return FeatureTask(task.name, task.kind, task.classes, task.fingerprint, *parts, task.report)


class Features:
    """The features of one split, computed on first use by whichever thread asks first.

    Args:
        split: the examples.
        model: the model whose head's inputs they are.
        progress: as for ``cached_features``.
    """

    def __init__(self, split: Split, model: nn.Module, progress: Progress | None = None) -> None:
        self.split = split
        self.model = model
        self.progress = progress
        self._lock = Lock()
        self._kept: Tensor | None = None

    @property
    def lengths(self) -> Tensor | None:
        """Those of the sentences: they decide which examples share a batch."""
        return self.split.store.lengths

    def __len__(self) -> int:
        return len(self.split)

    def take(self, positions: Tensor) -> Tensor:
        return self.all().index_select(0, positions)  # (B, D)

    def raw(self, i: int) -> Any:
        return self.split.raw(i)

    def digest(self) -> bytes:
        return self.split.store.digest()

    def all(self) -> Tensor:
        """(N, D): the features of every example of the split, on the CPU."""
        with self._lock:
            if self._kept is None:
                self._kept = self._compute()
            return self._kept

    def _compute(self) -> Tensor:
        order = self.split.order()  # by length, so that little is padding
        weights, parts, done = _channels_last(self.model), [], 0
        for positions in order.split(BATCH):
            entering, _ = _head_inputs(self.model, self.split.store.take(positions), weights)
            parts.append(entering.cpu())
            done += len(positions)
            if self.progress is not None:
                self.progress(done, len(order))
        sorted_features = torch.cat(parts)
        features = torch.empty_like(sorted_features)
        features[order] = sorted_features
        return features


def _channels_last(model: nn.Module) -> dict[str, Tensor]:
    """The kernels of its convolutions of pictures, laid out channels last: on a CPU they take little more than half."""
    kernels = {name: each.detach() for name, each in model.named_parameters() if each.dim() == 4 and not each.is_cuda}
    return {name: each.contiguous(memory_format=torch.channels_last) for name, each in kernels.items()}


@torch.no_grad()
def _head_inputs(
    model: nn.Module, inputs: Inputs, weights: Mapping[str, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """What enters the head for a batch, and the model's logits; all in evaluation mode, which is put back.

    ``weights`` stand for those of the model that have their names.
    """
    device = next(model.parameters()).device
    modes = [(module, module.training) for module in model.modules()]
    seen: list[Tensor] = []
    hook = head_of(model)[1].register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    try:
        model.eval()
        if isinstance(inputs, dict):
            output = model(**{name: tensor.to(device) for name, tensor in inputs.items()})
        else:
            output = functional_call(model, dict(weights or {}), (inputs.to(device),))
    finally:
        hook.remove()
        for module, mode in modes:
            module.training = mode
    entering = seen[-1]
    if entering.dim() == 3:  # heads that are handed the whole sequence and read its first token alone
        entering = entering[:, :1]
    return entering, logits_of(output)


def _head_gives_logits(model: nn.Module, split: Split) -> bool:
    """Whether the head, handed what is kept, gives what the whole model gives (tried on two examples)."""
    entering, logits = _head_inputs(model, split.store.take(torch.arange(min(2, len(split)))))
    head = head_of(model)[1]
    mode = head.training
    try:
        with torch.no_grad():
            again = head.eval()(entering)
    finally:
        head.train(mode)
    return again.shape == logits.shape and torch.allclose(again, logits, rtol=1e-4, atol=1e-5)
