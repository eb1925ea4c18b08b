"""What a model makes of a task's examples when they are made worse: corruptions, measured and shown."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from . import stability
from .data import Split, Task, corrupt_pictures, corrupt_texts, corrupted, corruptions_of, split_of
from .data.image_corruptions import SEVERITIES
from .data.sounds import Sounds
from .stability.domain_shift import Models
from .stability.robustness import Robustness


def robustness(
    models: Models,
    examples: Task | Split,
    corruptions: Sequence[str] | None = None,
    severities: Sequence[int] = SEVERITIES,
    seed: int = 0,
    name: str = "model",
) -> Robustness:
    """The errors of a model on examples as they are and under each corruption at each severity.

    Args:
        models: a classifier, or several that differ in their seed.
        examples: a split of pictures, sentences or sounds, or a task, of which the validation split is taken.
        corruptions: their names; all that there are for these examples if not given.
        severities: from 1 (mild) to 5 (harsh).
        seed: of the corruptions; the same one, the same pixels, letters and samples, so that models can be compared.
        name: what to call the models in tables and figures.

    Returns:
        ``.frame()`` has the numbers, ``.mce(reference)`` compares with another model; see ``show_robustness``.

    Raises:
        ValueError: in one line: no such corruption or severity, or examples that cannot be corrupted.
    """
    split = split_of(examples)
    names = corruptions_of(split) if corruptions is None else corruptions
    return stability.robustness(
        models, split, lambda each, severity: corrupted(split, each, severity, seed), names, severities, name
    )


def show_corruptions(
    examples: Task | Split,
    i: int = 0,
    corruptions: Sequence[str] | None = None,
    severities: Sequence[int] = SEVERITIES,
    seed: int = 0,
) -> None:
    """Show one example under each corruption at each severity: pictures as a gallery, a sentence as a table.

    Args:
        examples: as for ``robustness``.
        i: position of the example in the split.
        corruptions: as for ``robustness``.
        severities: as for ``robustness``.
        seed: as for ``robustness``.

    Raises:
        ValueError: in one line: no such example, corruption or severity.
    """
    from .plots import show_corrupted

    split = split_of(examples)
    names = corruptions_of(split) if corruptions is None else corruptions
    if isinstance(i, bool) or not isinstance(i, int) or not 0 <= i < len(split):
        raise ValueError(f"i is {i!r}; the examples are 0 to {len(split) - 1}")
    raw = split.raw(i)
    if isinstance(raw, str):

        def changed(name: str, severity: int) -> object:
            return corrupt_texts([raw], name, severity, seed)[0]
    elif isinstance(split.store, Sounds):

        def changed(name: str, severity: int) -> object:
            return corrupted(split, name, severity, seed).raw(i)
    else:
        pixels = torch.from_numpy(raw).permute(2, 0, 1).unsqueeze(0)  # (1, 3, H, W)

        def changed(name: str, severity: int) -> object:
            return corrupt_pictures(pixels, name, severity, seed)[0].permute(1, 2, 0).numpy()  # (H, W, 3)

    show_corrupted(raw, {name: [changed(name, s) for s in severities] for name in names}, severities)
