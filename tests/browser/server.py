"""A JupyterLab server for the tests, with folders, port and token of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from ipykernel.kernelspec import get_kernel_dict

import stablelab

# Nothing that covers the page or asks for another one.
SETTINGS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
KERNELS = Path(__file__).with_name("kernels.py")
PATIENCE = 120.0  # seconds; only a server that will never answer makes anyone wait that long


class LabServer:
    """Started when made; answers when the constructor returns.

    Arguments:
        home: an empty folder for notebooks, settings and the log.

    Attributes:
        url, token: where it answers, and to whom.
        notebooks: the folder that it serves.
        log: the file with what it and its kernels say.
    """

    def __init__(self, home: Path) -> None:
        self.notebooks = home / "notebooks"
        self.notebooks.mkdir()
        write(home / "config" / "labconfig" / "default_setting_overrides.json", json.dumps(SETTINGS))
        self.log = home / "server.log"
        self._runtime = home / "runtime"
        options = [
            "--no-browser",
            "--ServerApp.port_retries=50",
            f"--ServerApp.root_dir={self.notebooks}",
            "--ServerApp.terminals_enabled=False",
            "--LanguageServerManager.autodetect=False",
            "--LabApp.expose_app_in_browser=True",  # lets the tests ask the page for cells, commands and sessions
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--KernelManager.shutdown_wait_time=0.2",  # seconds; then it is killed, and nobody waits
        ]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            options.append("--allow-root")
        commands = [[sys.executable, "-m", "jupyterlab", *options]]
        if sys.platform == "linux":  # elsewhere a process that has imported torch may not be forked
            socket = "kernels.socket"  # relative, because a socket's path must be short
            commands.insert(0, [sys.executable, str(KERNELS), "serve", socket])
            begin = [sys.executable, "-S", str(KERNELS), "begin", f"../{socket}", "{connection_file}"]
            kernel = json.dumps(get_kernel_dict() | {"argv": begin})
            write(home / "forked" / "kernels" / "python3" / "kernel.json", kernel)
        environment = self._environment(home)
        with self.log.open("wb") as log:
            self._processes = [
                subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=home) for command in commands
            ]
        try:
            self.url, self.token = self._answer()
        except BaseException:
            self.close()
            raise

    def _environment(self, home: Path) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
        package = str(Path(stablelab.__file__).parents[1])  # the package under test, installed or not
        paths = [package, *filter(None, [environment.get("PYTHONPATH")])]
        return environment | {
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "JUPYTER_DATA_DIR": str(home / "data"),
            "JUPYTER_PATH": str(home / "forked"),  # before the kernel of the environment
            "JUPYTER_RUNTIME_DIR": str(self._runtime),
            "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
            "JUPYTER_PREFER_ENV_PATH": "1",
            "IPYTHONDIR": str(home / "ipython"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}",
            "PYTHONPATH": os.pathsep.join(paths),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",  # the page, the server and the training share few cores
        }

    def _answer(self) -> tuple[str, str]:
        """The server's (url, token), as soon as it answers."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if self._processes[-1].poll() is not None:
                raise RuntimeError(f"JupyterLab ended at once; {self._said()}")
            for file in self._runtime.glob("jpserver-*.json"):
                try:
                    said = json.loads(file.read_text())
                    self.url, self.token = said["url"], said["token"]
                    self.ask("GET", "api/status")
                    return self.url, self.token
                except (ValueError, urllib.error.URLError):
                    continue  # half written, or not listening yet
            time.sleep(0.1)
        raise RuntimeError(f"JupyterLab does not answer; {self._said()}")

    def _said(self) -> str:
        return f"it said: {self.log.read_text(errors='replace')[-2000:]}"

    def ask(self, method: str, path: str, content: Any = None) -> Any:
        """One request to the server's REST interface; returns what it answers as JSON, None for an empty answer."""
        data = None if content is None else json.dumps(content).encode()
        headers = {"Authorization": f"token {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}{path}", data=data, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.loads(answer.read() or b"null")

    def start_kernel(self, notebook: str) -> None:
        """Start the kernel of a notebook before its page does."""
        content = {"path": notebook, "name": notebook, "type": "notebook", "kernel": {"name": "python3"}}
        self.ask("POST", "api/sessions", content)

    def shut_kernels(self) -> None:
        """End all kernels, and with them whatever they train."""
        for session in self.ask("GET", "api/sessions"):
            self.ask("DELETE", f"api/sessions/{session['id']}")

    def close(self) -> None:
        """End the server and its kernels."""
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def write(path: Path, text: str) -> None:
    """Write a file, and make its folder."""
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
