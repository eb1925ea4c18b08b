"""A split with its pictures, sentences or sounds made worse: what a model's robustness is measured on."""

from __future__ import annotations

from .image_corruptions import IMAGE_CORRUPTIONS, corrupt_pictures
from .images import Pictures
from .sound_corruptions import SOUND_CORRUPTIONS, corrupt_sounds
from .sounds import Sounds
from .tasks import Split, Task
from .text_corruptions import TEXT_CORRUPTIONS, corrupt_texts
from .texts import Sentences


def corrupted(examples: Task | Split, name: str, severity: int, seed: int = 0) -> Split:
    """The same examples with the same targets, each under one corruption.

    Args:
        examples: a split, or a task, of which the validation split is taken: the test split is for the very end.
        name: for pictures noise, blur, contrast, brightness, jpeg, rotation, shift, crop or occlusion (see
            ``corrupt_pictures``), for sentences typos, dropping, swapping, case or punctuation (``corrupt_texts``), for
            sounds noise, speed or gain (``corrupt_sounds``).
        severity: 1 (mild) to 5 (harsh).
        seed: 0 or more; the same one, the same pixels, letters and samples.

    Raises:
        ValueError: in one line: no such corruption or severity, or the examples are none of the three.

    Source:
        Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations",
        2019, Section 4.1.
    """
    split = split_of(examples)
    store = split.store
    if isinstance(store, Pictures):
        changed: Pictures | Sentences | Sounds = Pictures(corrupt_pictures(store.pixels, name, severity, seed))
    elif isinstance(store, Sentences):
        changed = store.like(corrupt_texts(store.texts, name, severity, seed))
    elif isinstance(store, Sounds):
        changed = corrupt_sounds(store, name, severity, seed)
    else:
        raise ValueError(_neither(store))
    return Split(changed, split.targets, split.classes)


def corruptions_of(examples: Task | Split) -> tuple[str, ...]:
    """The names of the corruptions that there are for these examples.

    Raises:
        ValueError: the examples are neither pictures nor sentences nor sounds.
    """
    store = split_of(examples).store
    if isinstance(store, Pictures):
        return IMAGE_CORRUPTIONS
    if isinstance(store, Sentences):
        return TEXT_CORRUPTIONS
    if isinstance(store, Sounds):
        return SOUND_CORRUPTIONS
    raise ValueError(_neither(store))


def split_of(examples: Task | Split) -> Split:
    """The split itself, or a task's validation split.

    Raises:
        ValueError: it is neither a split nor one of the workbook's tasks.
    """
    split = getattr(examples, "validation", examples)
    if not isinstance(split, Split):
        raise ValueError(f"{type(examples).__name__} is neither one of the workbook's tasks nor a split of one")
    return split


def _neither(store: object) -> str:
    return (
        f"the examples are kept as {type(store).__name__}, neither pictures nor sentences nor sounds; "
        "corrupt the task's own splits, and hand the whole model to what measures"
    )
