"""A machine under test: its rum.toml, its `rum up`, and its guest."""
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time


class Failure(Exception):
    """A row's expectation that was not met."""


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


class Up:
    """A running `rum up --json`; collects what it says with the time it was said."""

    def __init__(self, arguments, environment):
        self.events = []  # (time, object), from standard output
        self.lines = []  # (time, text), from standard error
        self.process = subprocess.Popen(
            arguments, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True)
        self.readers = [
            threading.Thread(target=self._read, args=args, daemon=True)
            for args in ((self.process.stdout, self.events, json.loads), (self.process.stderr, self.lines, str.strip))
        ]
        for reader in self.readers:
            reader.start()

    @staticmethod
    def _read(stream, record, parse):
        for line in stream:
            record.append((time.monotonic(), parse(line)))

    @property
    def pid(self):
        return self.process.pid

    def mark(self):
        """The place from which a later wait looks."""
        return len(self.events), len(self.lines)

    def event(self, name, port=None, since=(0, 0), timeout=30):
        """Waits for an event after the mark `since`; returns (time, object)."""
        def found():
            for at, event in self.events[since[0]:]:
                if event["event"] == name and port in (None, event["host_port"]):
                    return at, event
            self._must_run(f"{name} {port or ''}")
            return None
        return within(timeout, f"event {name} {port or ''}".strip(), found)

    def said(self, text, since=(0, 0), timeout=30):
        """Waits for a line on standard error that contains `text`; returns (time, line)."""
        def found():
            for at, line in self.lines[since[1]:]:
                if text in line:
                    return at, line
            self._must_run(f"'{text}'")
            return None
        return within(timeout, f"the words '{text}'", found)

    def ports(self, name, since):
        """The host ports of all events `name` after the mark."""
        return sorted({event["host_port"] for _, event in self.events[since[0]:] if event["event"] == name})

    def _must_run(self, awaited):
        if self.process.poll() is not None and not any(reader.is_alive() for reader in self.readers):
            raise Failure(f"rum up ended with {self.process.returncode} instead of {awaited}: {self.last_words()}")

    def end(self, how=signal.SIGINT, timeout=20):
        """Ends it if it runs; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.wait(timeout)

    def wait(self, timeout):
        """Waits until it ends by itself; returns its exit code."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failure(f"rum up goes on after {timeout} s: {self.last_words()}") from None
        for reader in self.readers:
            reader.join(5)
        return code

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def last_words(self):
        return " | ".join(line for _, line in self.lines[-3:])


class Machine:
    """One rum.toml with its machine; nothing is started yet."""

    def __init__(self, setting, name, home, ports, cpus=2, boot_script=""):
        self.setting = setting
        self.name = name
        self.home = home
        self.config = os.path.join(setting.work, f"{name}.toml")
        self.environment = dict(
            os.environ, RUM_HOME=home, RUM_AGENT_BUNDLE=setting.bundle, NO_COLOR="1")
        self.up = None
        self.exec_seconds = 0.0
        static = "".join(f"[[ports]]\nhost = {host}\nguest = {guest}\n" for host, guest in ports)
        guest = self._initramfs_guest(boot_script) if setting.initramfs else self._disk_guest(boot_script, cpus)
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(f"""name = "{name}"
{guest}{static}[auto_ports]
range = "5000-5999"
[advanced]
libvirt_uri = "{setting.uri}"
channel = "{setting.channel}"
""")

    def _disk_guest(self, boot_script, cpus):
        """The part of rum.toml for a guest with systemd and a disk."""
        image = self.setting.image
        with open(os.path.join(image, "cmdline"), encoding="utf-8") as file:
            cmdline = file.read().strip()
        return f"""[image]
base = "{image}/disk.qcow2"
[boot]
kernel = "{image}/vmlinuz"
initrd = "{image}/initrd.img"
cmdline = "{cmdline}"
[resources]
cpus = {cpus}
memory_mb = 384
disk = "4G"
[provision.boot]
script = '''{boot_script}'''
"""

    def _initramfs_guest(self, boot_script):
        """The part of rum.toml for a guest of the vsock rig, which boots in seconds."""
        setting = self.setting
        top = os.path.join(setting.work, f"{self.name}-initramfs")
        # With the agent unpacked as a boot before would have left it.
        agent = os.path.join(top, "opt/rum")
        os.makedirs(agent)
        subprocess.run(["tar", "-xzf", setting.bundle, "-C", agent], check=True)
        with open(setting.bundle, "rb") as bundle, open(f"{agent}/bundle.sha256", "w", encoding="utf-8") as file:
            file.write(hashlib.file_digest(bundle, "sha256").hexdigest() + "\n")
        boot = os.path.join(top, "etc/rc.local")
        os.makedirs(os.path.dirname(boot))
        with open(boot, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n" + boot_script)
        os.chmod(boot, 0o755)
        # The kernel unpacks one archive after the other.
        initrd = f"{top}.cpio"
        shutil.copy(f"{setting.initramfs}/initrd", initrd)
        with open(initrd, "ab") as file:
            subprocess.run("find . | cpio -o -H newc --quiet", shell=True, cwd=top, check=True, stdout=file)
        shutil.rmtree(top)
        return f"""[boot]
kernel = "{setting.initramfs}/vmlinuz"
initrd = "{initrd}"
cmdline = "console=ttyS0 quiet panic=-1 no_timer_check tsc=reliable"
[resources]
cpus = 1
memory_mb = 256
[ssh]
user = "root"
"""

    @property
    def domain(self):
        return f"rum-{self.name}"

    def rum(self, *arguments):
        return [self.setting.rum, arguments[0], "-c", self.config, *arguments[1:]]

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
        result = self.run("exec", "--", "sh", "-c", script, timeout=timeout)
        if result.returncode != 0:
            raise Failure(f"in the guest: {script}: {result.stderr.strip() or result.returncode}")
        return result.stdout.strip()

    def guest_in_background(self, script):
        """Runs a shell script in the guest that outlives this call, and even the agent."""
        self.guest(f"setsid sh -c '{script}' >/dev/null 2>&1 </dev/null &")

    def first_answer(self, timeout=180):
        """The moment at which the guest's agent can first be asked, to within 0.2 s, found by others than `rum up`."""
        answered = []
        deadline = time.monotonic() + timeout

        def probe():
            try:
                if self.run("exec", "--", "true", timeout=8).returncode == 0:
                    answered.append(time.monotonic())
            except subprocess.TimeoutExpired:
                pass

        probes = []
        while not answered:
            if time.monotonic() > deadline:
                raise Failure(f"the guest does not answer within {timeout} s")
            # Staggered, since one that was sent before the guest is there may wait long for its answer; but where one
            # core does all, many would keep the guest from its work.
            if sum(probe.is_alive() for probe in probes) < (6 if os.cpu_count() > 1 else 1):
                probes.append(threading.Thread(target=probe, daemon=True))
                probes[-1].start()
            time.sleep(0.2)
        return answered[0] - self.exec_seconds

    def virsh(self, *arguments, timeout=60):
        result = subprocess.run(
            ["virsh", "-q", "-c", self.setting.uri, *arguments], capture_output=True, text=True, timeout=timeout,
            check=False)
        if result.returncode != 0:
            raise Failure(f"virsh {' '.join(arguments)}: {result.stderr.strip()}")
        return result.stdout.strip()

    def state(self):
        return self.virsh("domstate", self.domain)

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

    def files(self):
        """What lies in the machine's folder."""
        folder = os.path.join(self.home, "machines", self.name)
        return sorted(os.listdir(folder)) if os.path.isdir(folder) else []

    def remove(self):
        """Ends and removes everything of it, whatever state it is in."""
        if self.up:
            self.up.end(signal.SIGINT)
        if self.files():
            self.run("destroy")
        for pid in self.qemu_pids():
            os.kill(pid, signal.SIGKILL)


def page(port, timeout=10):
    """What an HTTP server on the host's port answers; None when it does not."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout) as client:
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
