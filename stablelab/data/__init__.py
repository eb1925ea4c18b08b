"""Data to learn from: tasks, their splits and batches; digits, images, reviews, texts; augmentation, corruptions."""

from .augmentation import augment
from .cache import verify_bundled
from .chinese_reviews import chinese_reviews, fetch_chinese_reviews, read_chinese_reviews
from .corruptions import corrupted, corruptions_of, split_of
from .digits import digits
from .emoji import emoji, emoji_groups
from .image_corruptions import corrupt_pictures
from .images import images
from .near_duplicates import near_duplicates, similar_pairs
from .pairs import Pairs, pairs
from .reviews import corpora_folder, fetch_corpora, negation_pairs, reviews
from .sounds import sounds
from .splits import subset
from .spoken_digits import spoken_digits
from .tasks import Batches, Split, Task, as_dataset
from .text_corruptions import corrupt_texts
from .texts import texts
from .tokenizers import tokenizer_for

__all__ = [
    "Batches",
    "Pairs",
    "Split",
    "Task",
    "as_dataset",
    "augment",
    "chinese_reviews",
    "corpora_folder",
    "corrupt_pictures",
    "corrupt_texts",
    "corrupted",
    "corruptions_of",
    "digits",
    "emoji",
    "emoji_groups",
    "fetch_chinese_reviews",
    "fetch_corpora",
    "images",
    "near_duplicates",
    "negation_pairs",
    "pairs",
    "read_chinese_reviews",
    "reviews",
    "similar_pairs",
    "sounds",
    "split_of",
    "spoken_digits",
    "subset",
    "texts",
    "tokenizer_for",
    "verify_bundled",
]
