"""The fixtures that more than one room uses, and what is said at the end of a run."""

import pytest

pytest_plugins = ["support.order", "support.summary"]
FIXTURES = ("support.clouds", "support.models", "support.views")


def pytest_configure(config: pytest.Config) -> None:
    """The process that only hands out the tests needs no fixtures, and does not wait for the import of torch."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        for name in FIXTURES:
            config.pluginmanager.import_plugin(name)
