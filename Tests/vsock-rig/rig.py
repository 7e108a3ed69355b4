"""What vsock-test.py has beyond Tests/guest/harness.py: checks that print a line, and connections past rum."""
import errno
import os
import socket
import sys
import threading
import time
import traceback

from harness import Failure, TooLate

REPLY_TIMEOUT = 60


class Checks:
    """Runs checks one after another; a failed one does not stop the next."""

    def __init__(self, on_failure):
        """on_failure(title) may collect what helps to find out why."""
        self.on_failure = on_failure
        self.failures = 0
        self.started = time.monotonic()

    def run(self, title, check, *arguments):
        """Runs a check, once more if it was only too late; whether it held."""
        started = time.monotonic()
        error, note = self._try(title, check, arguments)
        if isinstance(error, TooLate):
            first = note
            print(f"late {title}: {first}; once more", flush=True)
            error, note = self._try(title, check, arguments)
            if error:
                note = f"first: {first}; second: {note}"
            else:
                print(f"flaky: {title}: first: {first}; second: {note or 'held'}", flush=True)
        self.failures += error is not None
        taken = time.monotonic() - started
        print(("FAIL " if error else "ok   ") + title + (f": {note}" if note else "") + f" [{taken:.1f} s]", flush=True)
        return error is None

    def _try(self, title, check, arguments):
        """(None, the check's note), or (the error, its words)."""
        try:
            return None, check(*arguments)
        except Exception as error:  # whatever it is, it is this check's failure
            self.on_failure(title)
            words = f"{type(error).__name__}: {error}"
            if isinstance(error, Failure):
                return error, words
            # It says little: the line of the check, behind the one of this call.
            return error, f"{words}, in: {traceback.extract_tb(error.__traceback__)[:2][-1].line}"


def connect(port, host="127.0.0.1"):
    return socket.create_connection((host, port), timeout=REPLY_TIMEOUT)


def rest(connection):
    """Everything up to the end of file."""
    parts = []
    while part := connection.recv(1 << 20):
        parts.append(part)
    return b"".join(parts)


def vsock(cid, port):
    """A connection to a guest, past rum."""
    connection = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    connection.settimeout(REPLY_TIMEOUT)
    connection.connect((cid, port))
    return connection


def as_user(user, call):
    """What call() returns, a text, when a process of that uid and gid calls it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
            said = call()
        except Exception as error:  # must not go on as a second run of all checks
            said = f"{type(error).__name__}: {error}"
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as said:
        text = said.read()
    os.waitpid(pid, 0)
    return text


def error_of(call, *arguments):
    """The name of the error that a call ends with."""
    try:
        call(*arguments).close()
        return "no error"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))


def watchdog(seconds, report):
    """Ends this program as failed when it has not ended by itself."""
    def bark():
        print(f"FAIL everything within {seconds} s", flush=True)
        report()
        sys.stdout.flush()
        os._exit(1)
    timer = threading.Timer(seconds, bark)
    timer.daemon = True
    timer.start()
