"""What vsock-test.py stands on: a machine under `rum up`, commands in its guest, checks that print a line."""

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

REPLY_TIMEOUT = 60


class Failed(Exception):
    """A check did not hold; says what was seen."""


def expect(holds, seen):
    if not holds:
        raise Failed(seen)


def eventually(what, condition, timeout=20):
    """Returns the first true value of condition()."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failed(f"not within {timeout} s: {what}")
        time.sleep(0.02)


class Checks:
    """Runs checks one after another; a failed one does not stop the next."""

    def __init__(self, on_failure):
        """on_failure(title) may collect what helps to find out why."""
        self.on_failure = on_failure
        self.failures = 0
        self.started = time.monotonic()

    def run(self, title, check, *arguments):
        started = time.monotonic()
        try:
            note = check(*arguments)
            verdict = "ok  "
        except Exception as error:  # whatever it is, it is this check's failure
            note = f"{type(error).__name__}: {error}"
            verdict = "FAIL"
            self.failures += 1
            self.on_failure(title)
        taken = time.monotonic() - started
        print(f"{verdict} {title}" + (f": {note}" if note else "") + f" [{taken:.1f} s]", flush=True)
        return verdict == "ok  "


class Program:
    """A program that runs on; its lines can be waited for."""

    started = []

    def __init__(self, *arguments):
        self.started.append(self)
        self.process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines = []
        for stream in (self.process.stdout, self.process.stderr):
            threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream):
        for line in stream:
            self.lines.append(line.rstrip("\n"))

    def line(self, text, timeout=20, start=0):
        """The first line with `text` in it, from line number `start` on."""
        def find():
            return next((line for line in self.lines[start:] if text in line), None)
        try:
            return eventually(f"a line with {text!r}", find, timeout)
        except Failed as error:
            raise Failed(f"{error}; it said {self.lines[-5:]}") from None

    def ended(self, timeout=20):
        """Its exit code, once it has ended by itself."""
        eventually("the program's end", lambda: self.process.poll() is not None, timeout)
        return self.process.returncode

    def end(self, number=signal.SIGTERM, timeout=20):
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failed(f"{self.process.args[:3]} did not end within {timeout} s of signal {number}") from None


class Machine:
    """A guest under `rum up --json`."""

    def __init__(self, rum, name, config):
        self.rum, self.name = rum, name
        self.config = f"{name}.rum.toml"
        self.token = f"{os.environ['RUM_HOME']}/machines/{name}/token"
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(config)

    def up(self, timeout=120):
        self.session = Program(self.rum, "up", "--json", "-c", self.config)
        deadline = time.monotonic() + timeout
        while not any("is ready" in line for line in self.session.lines):
            if self.session.process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"rum up: {self.session.lines}")
            time.sleep(0.05)
        self.cid = int(re.search(r"<cid auto='yes' address='(\d+)'", self.domain_xml()).group(1))
        return f"CID {self.cid}"

    def domain_xml(self):
        return subprocess.run(
            ["virsh", "-q", "dumpxml", f"rum-{self.name}"], check=True, capture_output=True, text=True, timeout=20
        ).stdout

    def events(self, name, start=0):
        """The events of that name since line `start`, oldest first."""
        found = []
        for line in self.session.lines[start:]:
            if line.startswith("{"):
                event = json.loads(line)
                if event["event"] == name:
                    found.append(event)
        return found

    def mark(self):
        return len(self.session.lines)

    def event(self, name, port=None, start=0, timeout=20):
        def find():
            return next((e for e in self.events(name, start) if port is None or e["host_port"] == port), None)
        return eventually(f"event {name} {port or ''}", find, timeout)

    def is_open(self, port):
        """Whether the newest event of an automatic port says that it is open."""
        state = False
        for line in list(self.session.lines):
            if line.startswith("{"):
                event = json.loads(line)
                if event["host_port"] == port and event["event"] in ("opened", "closed"):
                    state = event["event"] == "opened"
        return state

    def exec(self, *command, timeout=30):
        """Runs a command in the guest; what it printed."""
        done = subprocess.run(
            [self.rum, "exec", "-c", self.config, "--", *command], stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=timeout)
        expect(done.returncode == 0, f"{command} in the guest: code {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def serve(self, port, *command):
        """Starts a program in the guest and waits until its port is forwarded."""
        program = Program(self.rum, "exec", "-c", self.config, "--", *command)
        eventually(f"port {port} open ({program.lines})", lambda: self.is_open(port))
        return program


def connect(port, host="127.0.0.1"):
    return socket.create_connection((host, port), timeout=REPLY_TIMEOUT)


def rest(connection):
    """Everything up to the end of file."""
    parts = []
    while part := connection.recv(1 << 20):
        parts.append(part)
    return b"".join(parts)


def refused(port):
    """Whether nobody accepts on that port of this host."""
    try:
        connect(port).close()
        return False
    except ConnectionRefusedError:
        return True


def vsock(cid, port):
    """A connection to a guest, past rum."""
    connection = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    connection.settimeout(REPLY_TIMEOUT)
    connection.connect((cid, port))
    return connection


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
