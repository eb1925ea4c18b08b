"""Data to learn from: tasks and their splits, digits, images, reviews, any table of texts; augmentation corruptions."""

from .augmentation import augment
from .batching import Batches
from .cache import verify_bundled
from .corpora import corpora_folder, fetch_corpora
from .corruptions import corrupted, corruptions_of, split_of
from .image_corruptions import corrupt_pictures
from .images import digits, images
from .negation import negation_pairs
from .reviews import reviews
from .subset import subset
from .tasks import Split, Task
from .text_corruptions import corrupt_texts
from .texts import texts
from .tokenizers import tokenizer_for
from .torch_dataset import as_dataset

__all__ = [
    "Batches",
    "Split",
    "Task",
    "as_dataset",
    "augment",
    "corpora_folder",
    "corrupt_pictures",
    "corrupt_texts",
    "corrupted",
    "corruptions_of",
    "digits",
    "fetch_corpora",
    "images",
    "negation_pairs",
    "reviews",
    "split_of",
    "subset",
    "texts",
    "tokenizer_for",
    "verify_bundled",
]
