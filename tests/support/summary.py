"""What is said at the end of a run.

Under STABLELAB_REQUIRE_BROWSER, as in CI, a test that was skipped is a failure of the whole run. What a test leaves in
``record_property("in summary", ...)`` is printed (by a worker of pytest-xdist it could not be).
"""

from __future__ import annotations

import os

import pytest


def _skipped(config: pytest.Config) -> int:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    required = os.environ.get("STABLELAB_REQUIRE_BROWSER", "") not in ("", "0")
    return len(reporter.stats.get("skipped", ())) if required and reporter else 0


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if _skipped(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.stats.get("passed", ()):
        for name, value in getattr(report, "user_properties", ()):
            if name == "in summary":
                terminalreporter.line(value)
    count = _skipped(terminalreporter.config)
    if count:
        terminalreporter.line(f"{count} skipped, which counts as failed under STABLELAB_REQUIRE_BROWSER", red=True)
