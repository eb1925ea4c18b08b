"""What is loaded is said on stdout, in plain lines, unless this thread asked for silence."""

from __future__ import annotations

import logging
import threading

import pytest

from stablelab._logging import log_level, logger


def test_a_line_goes_to_stdout_as_it_is_and_nowhere_else(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[str] = []
    root = logging.Handler()
    root.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(root)
    try:
        logger.info("resnet18 · 100 % random")
        logging.getLogger("stablelab.training").info("a child is heard")
        logger.debug("not worth saying")
    finally:
        logging.getLogger().removeHandler(root)
    assert capsys.readouterr() == ("resnet18 · 100 % random\na child is heard\n", "")
    assert heard == []


def test_silence_is_of_one_thread_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with log_level(logging.WARNING):
        logger.info("silent")
        logger.warning("loud")
        other = threading.Thread(target=logger.info, args=("from another thread",))
        other.start()
        other.join()
        with pytest.raises(KeyError), log_level(logging.ERROR):
            raise KeyError
        logger.warning("loud again")
    logger.info("after")
    assert capsys.readouterr().out.splitlines() == ["loud", "from another thread", "loud again", "after"]
