"""A split as a torch ``Dataset``: what Hugging Face's ``Trainer`` and other training loops take."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import Dataset

from .tasks import Split


def as_dataset(split: Split, inputs: str = "pixel_values") -> Dataset[dict[str, Any]]:
    """The examples of a split one by one, as the keywords that a Hugging Face model is called with.

    A sentence is ``{"input_ids": (T,), "attention_mask": (T,), "labels": int}``, not padded: give ``Trainer`` the
    tokenizer as its ``processing_class`` and it pads each batch. A picture is ``{"pixel_values": (3, H, W), "labels":
    int}``. No example is copied before it is asked for.

    Args:
        split: ``task.train``, ``task.validation`` or ``task.test``.
        inputs: the keyword for inputs that are one tensor, such as pictures.

    Returns:
        A ``Dataset`` with a length, in the order of the split; position ``i`` is example ``i``.

    Raises:
        ValueError: ``split`` is no split.

    Source:
        transformers, ``Trainer(train_dataset=...)``: items are dicts, the target under ``labels``.
    """
    if not isinstance(split, Split):
        raise ValueError(f"as_dataset takes a split, not {type(split).__name__}; give task.train or task.validation")
    return _Examples(split, inputs)


class _Examples(Dataset[dict[str, Any]]):
    def __init__(self, split: Split, inputs: str) -> None:
        self.split = split
        self.inputs = inputs

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, i: int) -> dict[str, Any]:
        # Counts from the end where i is negative, and raises the IndexError that ends a loop over the data set.
        position = range(len(self))[i]
        inputs, targets = self.split.collate(torch.tensor([position]))
        columns = inputs if isinstance(inputs, dict) else {self.inputs: inputs}
        return {**{name: column[0] for name, column in columns.items()}, "labels": int(targets[0])}
