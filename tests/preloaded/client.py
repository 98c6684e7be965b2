"""Stands for Python, or for the console script `recoup`: has the server run the command in a fork, with our own descriptors.

Loads next to nothing, and no part of Recoup. What the server cannot do alike (options of Python, another PYTHONPATH) is
started as it stands, and so is everything when there is no server.
"""

import _socket
import marshal
import os
import signal
import sys

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def order(arguments: list[str]) -> dict[str, object]:
    """What the server has to know of us."""
    ignored = [int(number) for number in SIGNALS if signal.getsignal(number) is signal.SIG_IGN]
    return {"argv": arguments, "cwd": os.getcwd(), "environ": dict(os.environ), "ignored": ignored}


def of_python(environ: dict[str, str]) -> dict[str, str]:
    """The settings of Python itself, which count at its start alone."""
    return {name: value for name, value in environ.items() if name.startswith("PYTHON")}


def send(server: _socket.socket, arguments: list[str]) -> None:
    """Sends the order and, with its first byte, our descriptors."""
    message = marshal.dumps(order(arguments))
    message = len(message).to_bytes(4, "little") + message
    descriptors = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
    sent = server.sendmsg([message], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptors)])
    server.sendall(message[sent:])


def end_like(status: int) -> None:
    """Ends as the command did.

    Args:
        status: as of `os.waitstatus_to_exitcode`.
    """
    if status < 0:
        if -status in SIGNALS:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def main(place: str, environ: dict[str, str]) -> None:
    """Runs the command of our own arguments.

    Args:
        place: path of the server's socket.
        environ: the settings of Python with which the server runs.
    """
    script = os.path.basename(sys.argv[0]) == "recoup"
    arguments = [os.path.join(os.path.dirname(sys.executable), "recoup"), *sys.argv[1:]] if script else sys.argv[1:]
    server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    able = arguments and (arguments[0] in ("-c", "-m") or not arguments[0].startswith("-"))
    if not able or of_python(dict(os.environ)) != environ or server.connect_ex(place):
        os.execv(sys.executable, [sys.executable, *arguments])
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda received, _frame: server.sendall(bytes([received])))
    send(server, arguments)
    answer = server.recv(4)
    end_like(int.from_bytes(answer, "little", signed=True) if len(answer) == 4 else 70)
