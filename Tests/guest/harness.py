"""A machine under test: its rum.toml, its `rum up`, its guest, and what a test asks of them.

Both the fault matrix and the vsock rig stand on it.
"""
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time


class Failure(Exception):
    """An expectation that was not met; says what was seen."""


class TooLate(Failure):
    """All was as it must be, but it took longer than its limit. A busy machine does that too: the only failure after
    which a check may run a second time."""


def check(condition, complaint):
    if not condition:
        raise Failure(complaint)


def within(seconds, what, condition):
    """Polls until condition() is true and returns what it returned; fails naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not within {seconds} s")
        time.sleep(0.02)


class Program:
    """A program that runs on; collects what it says with the time it was said."""

    started = []
    end_signal = signal.SIGTERM

    def __init__(self, arguments, environment=None):
        self.lines = []  # (time, text)
        self.process = subprocess.Popen(
            arguments, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True)
        self.started.append(self)
        self.readers = [
            threading.Thread(target=self._read, args=args, daemon=True)
            for args in ((self.process.stdout, self._take_output), (self.process.stderr, self._take_line))
        ]
        for reader in self.readers:
            reader.start()

    @staticmethod
    def _read(stream, take):
        for line in stream:
            take(line)

    def _take_line(self, line):
        self.lines.append((time.monotonic(), line.strip()))

    def _take_output(self, line):
        self._take_line(line)

    @property
    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process.poll() is None

    @staticmethod
    def mark():
        """The moment from which a later wait looks."""
        return time.monotonic()

    def said(self, text, since=0.0, timeout=30):
        """Waits for a line that contains `text`; returns (time, line)."""
        def found():
            # Before the search: what an ended program said last is in `lines` by now.
            is_over = self._is_over()
            for at, line in list(self.lines):
                if at >= since and text in line:
                    return at, line
            self._must_not(is_over, f"'{text}'")
            return None
        return within(timeout, f"the words '{text}'", found)

    def _is_over(self):
        return not self.is_running() and not any(reader.is_alive() for reader in self.readers)

    def _must_not(self, is_over, awaited):
        if is_over:
            raise Failure(f"{self.name} ended with {self.process.returncode} instead of {awaited}: {self.last_words()}")

    @property
    def name(self):
        return " ".join(map(os.path.basename, self.process.args[:2]))

    def end(self, how=None, timeout=20):
        """Ends it if it runs; returns its exit code."""
        if self.is_running():
            self.process.send_signal(how or self.end_signal)
        try:
            return self.wait(timeout)
        except Failure:
            self.process.kill()
            raise

    def wait(self, timeout):
        """Waits until it ends by itself; returns its exit code."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} goes on after {timeout} s: {self.last_words()}") from None
        for reader in self.readers:
            reader.join(5)
        return code

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def last_words(self):
        return " | ".join(line for _, line in self.lines[-3:])


class Up(Program):
    """A running `rum up --json`: its events, and beside them the sentences on standard error."""

    end_signal = signal.SIGINT

    def __init__(self, arguments, environment):
        self.events = []  # (time, object)
        super().__init__(arguments, environment)

    def _take_output(self, line):
        self.events.append((time.monotonic(), json.loads(line)))

    def named(self, name, since=0.0):
        """The events of that name after the mark, oldest first: (time, object)."""
        return [(at, event) for at, event in list(self.events) if at >= since and event["event"] == name]

    def event(self, name, port=None, since=0.0, timeout=30):
        """Waits for an event after the mark; returns (time, object)."""
        def found():
            is_over = self._is_over()
            for at, event in self.named(name, since):
                if port in (None, event["host_port"]):
                    return at, event
            self._must_not(is_over, f"{name} {port or ''}")
            return None
        return within(timeout, f"event {name} {port or ''}".strip(), found)

    def ports(self, name, since):
        """The host ports of all events `name` after the mark."""
        return sorted({event["host_port"] for _, event in self.named(name, since)})

    def is_open(self, port):
        """Whether the newest event of a port says that it is open."""
        newest = next((event["event"] for _, event in reversed(list(self.events))
                       if event["host_port"] == port and event["event"] in ("opened", "closed")), "closed")
        return newest == "opened"


def unpack_agent(bundle, tree):
    """Puts the agent into the tree of a guest's files as an earlier boot would have left it."""
    home = os.path.join(tree, "opt/rum")
    os.makedirs(home)
    subprocess.run(["tar", "-xzf", bundle, "-C", home], check=True)
    with open(bundle, "rb") as archive, open(f"{home}/bundle.sha256", "w", encoding="utf-8") as file:
        file.write(hashlib.file_digest(archive, "sha256").hexdigest() + "\n")


def add_boot_script(script, tree):
    """Puts a shell script into the tree that a guest of the vsock rig runs at each boot."""
    path = os.path.join(tree, "etc/rc.local")
    os.makedirs(os.path.dirname(path))
    with open(path, "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\n" + script)
    os.chmod(path, 0o755)


def pack_initrd(base, tree, target):
    """Writes an initramfs: `base` with the files of the tree on top. The kernel unpacks one archive after the other."""
    shutil.copy(base, target)
    with open(target, "ab") as file:
        subprocess.run("find . | cpio -o -H newc --quiet", shell=True, cwd=tree, check=True, stdout=file)


def initramfs_toml(kernel, initrd):
    """The part of rum.toml for a guest of the vsock rig, which boots in seconds and has no disk."""
    return f"""[boot]
kernel = "{kernel}"
initrd = "{initrd}"
cmdline = "console=ttyS0 quiet panic=-1 no_timer_check tsc=reliable"
[resources]
cpus = 1
memory_mb = 256
[ssh]
user = "root"
"""


class Machine:
    """One rum.toml with its machine; nothing is started yet."""

    def __init__(self, rum, name, toml, folder, home, uri=None, **environment):
        """`folder` gets the rum.toml, `home` is RUM_HOME; without a `uri` it is libvirt's own default."""
        self.rum_program = rum
        self.name = name
        self.home = home
        self.uri = uri
        self.config = os.path.join(folder, f"{name}.toml")
        self.environment = dict(os.environ, RUM_HOME=home, NO_COLOR="1", **environment)
        self.up = None
        self.exec_seconds = 0.0
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(f'name = "{name}"\n{toml}')

    @property
    def domain(self):
        return f"rum-{self.name}"

    def rum(self, *arguments):
        return [self.rum_program, arguments[0], "-c", self.config, *arguments[1:]]

    def start_up(self):
        self.up = Up(self.rum("up", "--json", "--timeout", "300s"), self.environment)
        return self.up

    def run(self, *arguments, timeout=60):
        """Runs a rum command to its end."""
        return subprocess.run(
            self.rum(*arguments), env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=timeout, check=False)

    def time_exec(self):
        """Learns how long an empty command in the guest takes when all is well."""
        started = time.monotonic()
        self.guest("true")
        self.exec_seconds = time.monotonic() - started

    def guest(self, script, timeout=60):
        """Runs a shell script in the guest; returns what it prints."""
        result = self.run("exec", "--root", "--", "sh", "-c", script, timeout=timeout)
        if result.returncode != 0:
            said = (result.stdout + result.stderr).strip()
            raise Failure(f"in the guest: {script}: code {result.returncode}: {said}")
        return result.stdout.strip()

    def guest_program(self, *command):
        """Starts a program in the guest that ends with the returned one."""
        return Program(self.rum("exec", "--root", "--", *command), self.environment)

    def serve(self, port, *command, timeout=30):
        """Starts a program in the guest and waits until its port is forwarded."""
        program = self.guest_program(*command)
        within(timeout, f"port {port} open ({program.lines})", lambda: self.up.is_open(port))
        return program

    def guest_in_background(self, script):
        """Runs a shell script in the guest that outlives this call, and even the agent."""
        self.guest(f"setsid sh -c '{script}' >/dev/null 2>&1 </dev/null &")

    def first_answer(self, timeout=400):
        """The moment at which the guest's agent can first be asked, to within 0.2 s, found by others than `rum up`."""
        answered = []
        deadline = time.monotonic() + timeout

        def probe():
            try:
                result = self.run("exec", "--root", "--", "true", timeout=8)
                if result.returncode == 0:
                    answered.append(time.monotonic())
                else:
                    said.append(f"{result.returncode}: {result.stderr.strip()}")
            except subprocess.TimeoutExpired:
                said.append("nothing for 8 s")

        probes, said = [], []
        while not answered:
            if time.monotonic() > deadline:
                raise Failure(f"the guest does not answer within {timeout} s; rum exec ends with {said[-1:]}")
            # Staggered, since one that was sent before the guest is there may wait long for its answer; but where one
            # core does all, many would keep the guest from its work.
            if sum(probe.is_alive() for probe in probes) < (6 if os.cpu_count() > 1 else 1):
                probes.append(threading.Thread(target=probe, daemon=True))
                probes[-1].start()
            time.sleep(0.2)
        return answered[0] - self.exec_seconds

    def virsh(self, *arguments, timeout=60):
        result = subprocess.run(
            ["virsh", "-q", *(["-c", self.uri] if self.uri else []), *arguments], capture_output=True, text=True,
            timeout=timeout, check=False)
        if result.returncode != 0:
            raise Failure(f"virsh {' '.join(arguments)}: {result.stderr.strip()}")
        return result.stdout.strip()

    def state(self):
        return self.virsh("domstate", self.domain)

    def cid(self):
        """The vsock address that libvirt gave the running guest."""
        return int(re.search(r"<cid auto='yes' address='(\d+)'", self.virsh("dumpxml", self.domain)).group(1))

    def qemu_pids(self):
        """The QEMU processes of this machine."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    arguments = file.read().split(b"\0")
            except OSError:
                continue
            # Another libvirt on this host may have a machine of the same name.
            if (f"guest={self.domain},debug-threads=on".encode() in arguments
                    and any(self.home.encode() in argument for argument in arguments)):
                found.append(int(pid))
        return found

    @property
    def folder(self):
        return os.path.join(self.home, "machines", self.name)

    def files(self):
        """What lies in the machine's folder, without the consoles of earlier runs: at most four of those."""
        names = os.listdir(self.folder) if os.path.isdir(self.folder) else []
        earlier = [name for name in names if re.fullmatch(r"console\.\d+\.log", name)]
        check(len(earlier) <= 4, f"consoles of {len(earlier)} earlier runs are kept")
        return sorted(set(names) - set(earlier))

    def remove(self):
        """Ends and removes everything of it, whatever state it is in."""
        if self.up:
            self.up.end()
        if self.files():
            self.run("destroy")
        for pid in self.qemu_pids():
            os.kill(pid, signal.SIGKILL)


def page(port, timeout=10, host="127.0.0.1"):
    """What an HTTP server on the host's port answers; None when it does not."""
    try:
        with socket.create_connection((host, port), timeout) as client:
            client.settimeout(timeout)
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = b""
            while data := client.recv(65536):
                answer += data
            return answer.partition(b"\r\n\r\n")[2].decode() or None
    except OSError:
        return None


def is_refused(port):
    """Whether the host's port refuses connections."""
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        pass
    return False


class Echo:
    """A connection to an echo server in the guest that lives through a fault."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        if not self.answers():
            raise Failure(f"no echo from port {port}")

    def answers(self, timeout=10):
        """Whether what is sent comes back; a connection that is reset or closed does not."""
        self.socket.settimeout(timeout)
        try:
            self.socket.sendall(b"still there?\n")
            return self.socket.recv(64) == b"still there?\n"
        except OSError:
            return False

    def is_over(self, timeout):
        """Whether the other side has ended it within `timeout` seconds."""
        self.socket.settimeout(timeout)
        try:
            return self.socket.recv(64) == b""
        except TimeoutError:
            return False
        except OSError:
            return True

    def close(self):
        self.socket.close()
