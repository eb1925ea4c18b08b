"""Kernels that are forked from one process which has the slow imports behind it, so that each starts at once.

``python kernels.py serve SOCKET`` is that process; Jupyter starts ``python kernels.py begin SOCKET CONNECTION_FILE`` in
place of a kernel. That asks for a fork, hands on the signals that it gets, and ends when the kernel does; if it is
killed, so is the kernel. Only the standard library is imported at the top: this has to start at once.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time

PATIENCE = 120.0  # seconds until the process that forks must answer


def serve(path: str) -> None:
    """Fork a kernel for each that asks, until this process is ended or left alone."""
    parent = os.getppid()
    del sys.path[0]  # the folder of this file
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()  # who asks from now on waits for the imports

    import ipykernel.kernelapp
    import sklearn.metrics  # noqa: F401  # what a run imports as it begins
    import torchvision  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those that end need not be waited for
    listener.settimeout(1.0)
    while True:
        try:
            asking, _ = listener.accept()
        except TimeoutError:
            if os.getppid() != parent:
                return
            continue
        said, outputs, _, _ = socket.recv_fds(asking, 1 << 20, 2)
        if os.fork() == 0:
            break
        asking.close()
        for output in outputs:
            os.close(output)

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    listener.close()
    for number, output in enumerate(outputs, 1):
        os.dup2(output, number)
        os.close(output)
    request = json.loads(said)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    os.setsid()
    threading.Thread(target=_end_with, args=(asking,), daemon=True).start()
    asking.sendall(f"{os.getpid()}\n".encode())
    sys.argv = ["ipykernel_launcher", "-f", request["connection"]]
    ipykernel.kernelapp.launch_new_instance()


def _end_with(asking: socket.socket) -> None:
    """Die as soon as the process at the other end has."""
    asking.recv(1)
    os.kill(os.getpid(), signal.SIGKILL)


def begin(path: str, connection: str) -> None:
    """Have a kernel forked, and be there for as long as it is."""
    server = socket.socket(socket.AF_UNIX)
    server.settimeout(PATIENCE)
    end = time.monotonic() + PATIENCE
    while True:
        try:
            server.connect(path)
            break
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
    request = {"environment": dict(os.environ), "folder": os.getcwd(), "connection": connection}
    socket.send_fds(server, [json.dumps(request).encode()], [1, 2])
    kernel = int(server.makefile().readline())
    server.settimeout(None)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: os.kill(kernel, number))
    server.recv(1)


if __name__ == "__main__":
    {"serve": serve, "begin": begin}[sys.argv[1]](*sys.argv[2:])
