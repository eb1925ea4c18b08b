"""The logger ``stablelab``: what is loaded is said out loud, in plain lines on stdout.

logger.info("resnet18 · random weights")

with log_level(logging.WARNING):  # in this thread alone
    ...
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_level: ContextVar[int] = ContextVar("level", default=logging.NOTSET)


class _StdoutHandler(logging.Handler):
    """Prints, so that lines go where ``sys.stdout`` points at the moment: in a notebook, under the running cell."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= _level.get():
            print(self.format(record))


@contextmanager
def log_level(level: int) -> Iterator[None]:
    """Inside this context, and in this thread, the workbook says nothing below ``level``.

    ``logger.setLevel`` would silence what another thread loads meanwhile.

    Args:
        level: such as ``logging.WARNING``.
    """
    before = _level.set(level)
    try:
        yield
    finally:
        _level.reset(before)


def _with_handler(name: str) -> logging.Logger:
    logger = logging.getLogger(name)
    logger.setLevel(logging.INFO)
    logger.addHandler(_StdoutHandler())
    logger.propagate = False  # a handler of the learner's own on the root logger would say each line twice
    return logger


logger = _with_handler("stablelab")
