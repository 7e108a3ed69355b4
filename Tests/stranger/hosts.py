"""Hosts on which rum is played: how it gets there, and where its files are."""
import os
import shutil
import socket
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = os.path.join(HERE, "..", "..", "scripts")
VIRTIOFSD = "/usr/share/qemu/vhost-user"


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


class Host:
    """Where rum runs.

    `folder` is a place that rum may write to, as it is called there; behind `root` it is called so here. `owner` is the
    user whose files are in it.
    """

    #: What rum.toml says of libvirt.
    uri = None
    root = ""
    owner = 1000
    #: The user that rum runs as.
    uid = 0
    #: Whether virtiofs may be chosen there.
    has_virtiofs = True
    #: That all there is as its packages install it, so that libvirt runs QEMU as a user of its own.
    is_stock = False

    def __init__(self, options):
        self.options = options
        # Short, since unix sockets are below it.
        self.work = tempfile.mkdtemp(prefix="rum-s-", dir="/tmp")
        os.chmod(self.work, 0o755)
        self.folder = self.work

    def command(self, *arguments):
        """A command there, as the user that rum belongs to."""
        raise NotImplementedError

    def rum(self, *arguments):
        return self.command("rum", *arguments)

    def base(self, image):
        """What rum.toml calls the disk of an image."""
        return image + "/disk.qcow2"

    def adopt(self, image):
        """An image's folder, as rum calls it there."""
        return image

    def machines(self):
        """Where rum keeps its machines, as this program calls it."""
        raise NotImplementedError

    def write(self, path, text, owner=None):
        """A file, by default of the owner's, with the folders above it."""
        folder = os.path.dirname(path)
        missing = []
        while not os.path.exists(self.root + folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        for folder in reversed(missing):
            os.mkdir(self.root + folder)
        with open(self.root + path, "w", encoding="utf-8") as file:
            file.write(text)
        for made in [*missing, path]:
            os.chown(self.root + made, *[self.owner if owner is None else owner] * 2)

    def stop(self):
        shutil.rmtree(self.work, ignore_errors=True)


class Own(Host):
    """root, with a libvirtd of its own that runs QEMU as root."""

    def __init__(self, options):
        super().__init__(options)
        self.uri = output(SCRIPTS + "/libvirtd-private", self.work + "/libvirt", "start")

    def command(self, *arguments):
        program, *rest = arguments
        if program == "rum":
            program = self.options.rum
        return ["env", f"RUM_HOME={self.work}/home", f"RUM_AGENT_BUNDLE={self.options.bundle}", program, *rest]

    def machines(self):
        return self.work + "/home/machines"

    def stop(self):
        subprocess.run([SCRIPTS + "/libvirtd-private", self.work + "/libvirt", "stop"], check=False)
        super().stop()


class OwnWithoutVirtiofsd(Own):
    """The same, where rum finds no virtiofsd."""

    has_virtiofs = False

    def command(self, *arguments):
        hidden = f'mount -t tmpfs none {VIRTIOFSD} && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", hidden, "sh", *super().command(*arguments)]


class Stock(Host):
    """root on a Debian host as its packages install it, with its own systemd and libvirt-daemon-system."""

    is_stock = True
    user = "root"
    home = "/root"
    #: Where this user's rum keeps machines and images.
    data = ["/var/lib/rum", "/var/cache/rum"]
    port = 8017

    def __init__(self, options):
        super().__init__(options)
        self.pid = output(HERE + "/host", self.work + "/host", "start", os.path.dirname(options.rum))
        self.root = f"/proc/{self.pid}/root"
        self.folder = self.home + "/it's work"
        self.server = None

    def inside(self, *arguments):
        """A command of the host's root."""
        return ["nsenter", "--target", self.pid, "--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--",
                *arguments]

    def command(self, *arguments):
        # A log-in of its own for each, as PAM makes it. What comes behind `--` is the shell's.
        return self.inside("su", "-l", "-c", 'exec "$0" "$@"', "--", self.user, *arguments)

    def base(self, image):
        """A download, from a server that only this host reaches; what was adopted is there already."""
        if image == self.home + "/image":
            return super().base(image)
        if not self.server:
            # pylint: disable-next=consider-using-with
            self.server = subprocess.Popen(
                ["nsenter", "--target", self.pid, "--net", "python3", "-m", "http.server", "--bind", "127.0.0.1",
                 "--directory", image, str(self.port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(1)
        return f"http://127.0.0.1:{self.port}/disk.qcow2"

    def adopt(self, image):
        place = self.home + "/image"
        shutil.copytree(image, self.root + place)
        subprocess.run(self.inside("chown", "-R", self.user, place), check=True)
        return place

    def machines(self):
        return self.root + self.data[0] + "/machines"

    def strays(self):
        """Files of rum's and of the user's that belong to somebody else, but for the seed, which rum makes anew."""
        places = [place for place in [self.home, *self.data] if os.path.exists(self.root + place)]
        mine = ["-uid", str(self.uid), "-o", "-path", f"{self.folder}*", "-o", "-name", "seed.iso"]
        return output(*self.inside("find", *places, "!", "(", *mine, ")"))

    def stop(self):
        if self.server:
            self.server.kill()
            self.server.wait()
        subprocess.run([HERE + "/host", self.work + "/host", "stop"], check=False)
        super().stop()


class Session(Stock):
    """An ordinary user in no group, who has a libvirt of their own."""

    user = "dev"
    home = "/home/dev"
    uid = 1000
    data = ["/home/dev/.local/share/rum", "/home/dev/.cache/rum"]
    # Before libvirt 10 a session cannot start it.
    has_virtiofs = False


class Member(Stock):
    """A user in the group libvirt, who uses that of the host."""

    uri = "qemu:///system"
    user = "libby"
    home = "/home/libby"
    owner = uid = 1001
    data = ["/home/libby/.local/share/rum", "/home/libby/.cache/rum"]


class Box(Stock):
    """Not where rum is, but what it reaches: a machine with systemd and an sshd; rum is here, with nothing else."""

    def __init__(self, options):
        super().__init__(options)
        # The way there is another network's, and all else is OpenSSH's own.
        self.write_here("known_hosts", "")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.work + "/key"], check=True)
        self.write_here("config", f"""Host box
            ProxyCommand nsenter --target {self.pid} --net busybox nc 127.0.0.1 22
            IdentityFile {self.work}/key
            UserKnownHostsFile {self.work}/known_hosts
            StrictHostKeyChecking accept-new
        """)
        self.write_here("bin/ssh", f'#!/bin/sh\nexec /usr/bin/ssh -F {self.work}/config "$@"\n')
        os.chmod(self.work + "/bin/ssh", 0o755)
        with open(self.work + "/key.pub", encoding="utf-8") as file:
            key = file.read()
        for user, uid in (("dev", 1000), ("libby", 1001)):
            self.write(f"/home/{user}/.ssh/authorized_keys", key, uid)
        self.write("/etc/sudoers.d/libby", "libby ALL=(ALL) NOPASSWD:ALL\n", 0)

    def write_here(self, name, text):
        path = f"{self.work}/{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def run_there(self, script):
        subprocess.run(self.inside("sh", "-c", script), check=True)

    def rum(self, *arguments):
        return ["env", f"RUM_HOME={self.work}/home", f"RUM_AGENT_BUNDLE={self.options.bundle}",
                f"PATH={self.work}/bin:{os.environ['PATH']}", self.options.rum, *arguments]


def banner(port):
    """What a server says first on a port of this machine's loopback."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.settimeout(30)
        return connection.recv(64).decode(errors="replace")
