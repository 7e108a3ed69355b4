"""Programs under test, listeners, and waiting."""

import collections
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

TOKEN = "5a" * 32
PROGRAMS = os.environ["RUM_TEST_PROGRAMS"]


def eventually(what, condition, within=20):
    """Waits for what another thread or process makes true, and returns it."""
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"never happened: {what}")
        time.sleep(0.005)


class Program:
    """A running program; what it says is collected line by line."""

    def __init__(self, name, *arguments, env=None):
        self.lines = []
        self.process = subprocess.Popen(
            [f"{PROGRAMS}/{name}", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, env=os.environ | (env or {}))
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def waits_for(self, text):
        def found():
            return next((line for line in list(self.lines) if text in line), None)

        try:
            return eventually(text, found)
        except AssertionError as error:
            raise AssertionError(f"{error}; it said: {self.lines}") from None

    @property
    def events(self):
        return [json.loads(line) for line in list(self.lines) if line.startswith("{")]

    def count(self, event):
        return collections.Counter(one["event"] for one in self.events)[event]

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it did not end; it said: {self.lines}") from None
        finally:
            self.reader.join(5)
            self.process.stdout.close()
        return self.process.returncode


class Case(unittest.TestCase):
    """A test with a folder for sockets, and a token file in it."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="rum-interop-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.token_file = self.folder + "/token"
        with open(self.token_file, "w", encoding="ascii") as file:
            file.write(TOKEN + "\n")
        self.target = f"unix:{self.folder}/2222.sock"

    def start(self, name, *arguments, env=None):
        program = Program(name, *arguments, env=env)
        self.addCleanup(program.stop)
        return program


def listen(port):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    return listener
