"""A table of long texts made into a task, against reading it with pandas and tokenizing it as it stands."""

from __future__ import annotations

import logging
import random
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas
from timing import Row, alternate, seconds

from stablelab import data
from stablelab._logging import log_level

ROWS, WORDS = (
    4000,
    "a film that was neither long nor dull though the second half of it drags and its music is rather loud",
)


def rows() -> list[Row]:
    """Texts of 100 to 300 words, of which 64 tokens are kept."""
    draw, words = random.Random(0), WORDS.split()
    texts = [f"{' '.join(draw.choices(words, k=draw.randint(100, 300)))} {i}" for i in range(ROWS)]
    tokenizer = data.tokenizer_for()

    def as_it_stands(file: Path) -> None:
        frame = pandas.read_csv(file, dtype=str, keep_default_na=False)
        tokenizer(frame["text"].tolist(), truncation=True, max_length=64, padding=False)

    with TemporaryDirectory() as folder, log_level(logging.WARNING):
        file = Path(folder, "films.csv")
        pandas.DataFrame({"text": texts, "label": ["good", "bad"] * (ROWS // 2)}).to_csv(file, index=False)
        ours, theirs = alternate(
            lambda: seconds(lambda: data.texts(file)), lambda: seconds(lambda: as_it_stands(file)), repeats=5
        )
    return [Row(f"`lab.texts`, {ROWS:,} long texts", ours, "pandas and the tokenizer", theirs, 0.80)]
