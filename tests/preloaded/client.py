"""Stands for Python, or for the console script `recoup`: has the server run the command in a fork, with our own descriptors.

Loads next to nothing, and no part of Recoup. What the server cannot do alike (options of Python, another PYTHONPATH) is
started as it stands, and so is everything when there is no server.
"""

import _socket
import marshal
import os
import resource
import signal
import sys

LIMITS = (resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_AS)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def order(arguments: list[str]) -> dict[str, object]:
    """What the server has to know of us."""
    ignored = [int(number) for number in SIGNALS if signal.getsignal(number) is signal.SIG_IGN]
    limits = {kind: resource.getrlimit(kind) for kind in LIMITS}
    return {
        "argv": arguments,
        "cwd": os.getcwd(),
        "environ": dict(os.environ),
        "ignored": ignored,
        "limits": limits,
        "umask": umask(),
    }


def umask() -> int:
    """Ours. To ask the system for it is to change it, which other threads would notice."""
    with open("/proc/self/status", "rb") as status:
        return next(int(line.split()[1], 8) for line in status if line.startswith(b"Umask:"))


def of_python(environ: dict[str, str]) -> dict[str, str]:
    """The settings of Python itself, which count at its start alone."""
    return {name: value for name, value in environ.items() if name.startswith("PYTHON")}


def send(server: _socket.socket, order: dict[str, object], descriptors: tuple[int, int, int]) -> None:
    """Sends an order and, with its first byte, what the command has as descriptors 0, 1 and 2."""
    message = marshal.dumps(order)
    message = len(message).to_bytes(4, "little") + message
    told = b"".join(number.to_bytes(4, sys.byteorder) for number in descriptors)
    sent = server.sendmsg([message], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, told)])
    server.sendall(message[sent:])


def number(server: _socket.socket) -> int:
    """The next one that the server tells: the process's id, then what `os.waitstatus_to_exitcode` gives for its end.

    Raises:
        EOFError: the server is gone.
    """
    answer = server.recv(4)
    if len(answer) < 4:
        raise EOFError("the server of the preloaded commands is gone")
    return int.from_bytes(answer, "little", signed=True)


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


def able(arguments: list[str], environ: dict[str, str]) -> bool:
    """Whether the server can run Python with these arguments.

    Args:
        arguments: what stands behind `python`.
        environ: the settings of Python with which the server runs.
    """
    form = arguments[1:2] if arguments[:1] == ["-P"] else arguments[:1]
    return bool(form) and (form[0] in ("-c", "-m") or form[0][0] != "-") and of_python(dict(os.environ)) == environ


def main(place: str, environ: dict[str, str]) -> None:
    """Runs the command of our own arguments.

    Args:
        place: path of the server's socket.
        environ: the settings of Python with which the server runs.
    """
    script = os.path.basename(sys.argv[0]) == "recoup"
    arguments = [os.path.join(os.path.dirname(sys.executable), "recoup"), *sys.argv[1:]] if script else sys.argv[1:]
    server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    if not able(arguments, environ) or server.connect_ex(place):
        os.execv(sys.executable, [sys.executable, *arguments])
    ours = order(arguments)
    for kind in SIGNALS:
        if signal.getsignal(kind) is not signal.SIG_IGN:
            signal.signal(kind, lambda received, _frame: server.sendall(bytes([received])))
    send(server, ours, (0, 1, 2))
    number(server)
    end_like(number(server))
