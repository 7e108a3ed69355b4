"""A machine that rum runs on one of the hosts, and what it says."""
import os
import subprocess
import threading
import time

PATIENCE = 900


class Failed(Exception):
    """What a row saw in place of what it should have."""


def check(condition, sentence):
    if not condition:
        raise Failed(sentence)


class Machine:
    """One machine: its rum.toml, a running `rum up`, and what that says. It is destroyed in the end."""

    def __init__(self, host, image, name, more="", kernel=True):
        self.host, self.name = host, name
        text = f'name = "{name}"\n[image]\nbase = "{host.base(image)}"\n'
        text += '[resources]\ncpus = 1\nmemory_mb = 512\ndisk = "4G"\n'
        if kernel:
            with open(host.root + image + "/cmdline", encoding="utf-8") as file:
                cmdline = file.read().strip()
            text += f'[boot]\nkernel = "{image}/vmlinuz"\ninitrd = "{image}/initrd.img"\ncmdline = "{cmdline}"\n'
        if host.uri:
            text += f'[advanced]\nlibvirt_uri = "{host.uri}"\n'
        self.file = f"{host.folder}/{name}.rum.toml"
        host.write(self.file, text + more, host.uid)
        self.log = f"{host.work}/{name}.log"
        self.process = None

    def __enter__(self):
        return self

    def __exit__(self, kind, value, _):
        if kind:
            print(f"--- {self.log}\n{self.said()[-3000:]}\n--- console\n{self.console()[-1500:]}")
        subprocess.run(self.host.rum("destroy", self.name), check=False, stderr=subprocess.DEVNULL)
        self.end()

    def up(self, *options):
        """Starts `rum up`."""
        self.end()
        with open(self.log, "w", encoding="utf-8") as log:
            # pylint: disable-next=consider-using-with
            self.process = subprocess.Popen(
                self.host.rum("up", "-c", self.file, *options), stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def end(self):
        """Waits for `rum up` to end, which it does with the machine."""
        if self.process:
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def said(self):
        if not os.path.exists(self.log):
            return ""
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def console(self):
        path = f"{self.host.machines()}/{self.name}/console.log"
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def expect(self, sentence, patience=PATIENCE):
        """Waits until the sentence is said; the seconds that took."""
        return self.wait(lambda: sentence in self.said(), f"rum up did not say {sentence!r}", patience)

    def wait(self, condition, complaint, patience=PATIENCE):
        """Waits, as long as `rum up` runs, for a condition; the seconds that took."""
        start = time.monotonic()
        while not condition():
            if self.process.poll() is not None and not condition():
                raise Failed(f"rum up ended with {self.process.returncode}: {complaint}")
            if time.monotonic() - start > patience:
                raise Failed(f"{complaint} within {patience} s")
            time.sleep(0.3)
        return time.monotonic() - start

    def line(self, part):
        return next((line for line in self.said().splitlines() if part in line), "")

    def ready(self):
        return self.expect("is ready")

    def exec(self, script, *options):
        """What a script says in the guest, as root unless the options tell otherwise."""
        done = subprocess.run(
            self.host.rum("exec", *(options or ["--root"]), self.name, "--", "sh", "-ec", script), check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
        if done.returncode:
            raise Failed(f"{script!r} in the guest ended with {done.returncode}: {done.stdout.strip()}")
        return done.stdout.strip()

    def reboot(self):
        """Reboots the guest and waits until its agent answers again."""
        boot = self.exec("cat /proc/sys/kernel/random/boot_id")
        self.exec("(sleep 1; reboot) >/dev/null 2>&1 &")
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.exec(f"! grep -q {boot} /proc/sys/kernel/random/boot_id")
                return
            except (Failed, subprocess.TimeoutExpired):
                check(time.monotonic() < deadline, "the agent is not back after a reboot")
                time.sleep(3)

    def type(self, *lines):
        """Types lines on the guest's console, each once the one before has been answered."""
        uri = self.host.uri or "qemu:///session"
        path = subprocess.run(
            self.host.command("virsh", "-c", uri, "ttyconsole", f"rum-{self.name}"), check=True,
            stdout=subprocess.PIPE, text=True).stdout.strip()
        terminal = os.open(self.host.root + path, os.O_RDWR | os.O_NOCTTY)
        # Its log is read; what nobody takes from the terminal would hold the guest up.
        threading.Thread(target=self._drain, args=[terminal], daemon=True).start()
        for line in lines:
            length = len(self.console())
            os.write(terminal, (line + "\r").encode())
            self.wait(lambda: len(self.console()) > length + len(line), "the console does not answer", 60)
            time.sleep(3)

    @staticmethod
    def _drain(terminal):
        try:
            while os.read(terminal, 4096):
                pass
        except OSError:
            pass
