"""The relay, its peers and the load on them, for the programs in this folder that measure."""
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager

HERE = os.path.dirname(os.path.abspath(__file__))
TICKS = os.sysconf("SC_CLK_TCK")
PROXYD = next((p for p in ("/lib/systemd/systemd-socket-proxyd", "/usr/lib/systemd/systemd-socket-proxyd")
               if os.path.exists(p)), None)
# Where the load's server listens.
SERVER = 7100


def processes_of(pids):
    """The processes and their descendants: socat and proxyd fork."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = open(f"/proc/{entry}/stat").read().rsplit(")", 1)[1].split()
                parents.setdefault(int(stat[1]), []).append(int(entry))
            except OSError:
                pass
    found, todo = set(), list(pids)
    while todo:
        pid = todo.pop()
        if pid not in found:
            found.add(pid)
            todo += parents.get(pid, [])
    return found


def cpu(pids):
    """CPU seconds of the processes, their living descendants and the children they have waited for."""
    total = 0
    for pid in processes_of(pids):
        try:
            stat = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
            total += sum(int(stat[i]) for i in (11, 12, 13, 14)) / TICKS
        except OSError:
            pass
    return total


def memory(pids, key="RssAnon"):
    """KiB."""
    total = 0
    for pid in pids:
        for line in open(f"/proc/{pid}/status"):
            if line.startswith(key + ":"):
                total += int(line.split()[1])
    return total


def descriptors(pids):
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)


class Peer:
    def __init__(self, name, port, commands, directory):
        self.name, self.port, self.children = name, port, []
        self.log = open(f"{directory}/{name.replace(' ', '-')}.log", "wb")
        # The guest's hop goes first: the host's may look for its socket.
        for command in commands:
            self.children.append(subprocess.Popen(command, stdout=self.log, stderr=self.log))
            time.sleep(0.3)
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    sys.exit(f"{name} does not listen; see {self.log.name}")
                time.sleep(0.05)
        time.sleep(0.3)

    @property
    def pids(self):
        return [child.pid for child in self.children]

    def stop(self):
        for pid in processes_of(self.pids):
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        for child in self.children:
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def haproxy(directory, name, listen, server):
    path = f"{directory}/{name}.cfg"
    with open(path, "w") as file:
        file.write(f"""global
    maxconn 4000
defaults
    mode tcp
    option splice-auto
    timeout connect 10s
    timeout client 1h
    timeout server 1h
listen relay
    bind {listen}
    server guest {server}
""")
    return ["haproxy", "-db", "-q", "-f", path]


def rum(bench, port, directory):
    """The commands of guest and host; each relay has a directory of its own, for the name of the socket is fixed."""
    os.makedirs(directory, exist_ok=True)
    return [[bench, "guest", directory], [bench, "host", str(port), directory, str(SERVER)]]


def peers(bench, before, tools, directory):
    """Each peer's name, listening port, and its guest's and host's command. `before` is another build of the relay."""
    def unix(name):
        return f"{directory}/{name}.sock"

    server = SERVER
    yield "direct", server, []
    yield "C splice", 7101, [
        [tools["splice-relay"], "unix:" + unix("c"), f"tcp:{server}"],
        [tools["splice-relay"], "tcp:7101", "unix:" + unix("c")]]
    yield "rum", 7102, rum(bench, 7102, f"{directory}/rum")
    # The same, which asks for the owner of each client's socket.
    guest, host = rum(bench, 7108, f"{directory}/me")
    yield "rum, allow me", 7108, [guest, [*host, "me"]]
    if before:
        yield "rum before", 7107, rum(before, 7107, f"{directory}/before")
    yield "haproxy", 7103, [
        haproxy(directory, "guest", unix("h"), f"127.0.0.1:{server}"),
        haproxy(directory, "host", "127.0.0.1:7103", unix("h"))]
    yield "socat", 7104, [
        ["socat", "-b", "65536", f"UNIX-LISTEN:{unix('s')},fork,backlog=1024",
         f"TCP:127.0.0.1:{server},nodelay"],
        ["socat", "-b", "65536", "TCP-LISTEN:7104,bind=127.0.0.1,fork,reuseaddr,nodelay,backlog=1024",
         f"UNIX-CONNECT:{unix('s')}"]]
    activate = shutil.which("systemd-socket-activate")
    if PROXYD and activate:
        yield "proxyd", 7105, [
            [activate, "-l", unix("p"), PROXYD, f"127.0.0.1:{server}"],
            [activate, "-l", "127.0.0.1:7105", PROXYD, unix("p")]]


class Namespace:
    """A network namespace with a server of its own: pasta joins the host's network with another one, in one hop."""

    def __init__(self, tools, server):
        self.name = f"bench-relay-{os.getpid()}"
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        inside = ["ip", "netns", "exec", self.name]
        subprocess.run([*inside, "ip", "link", "set", "lo", "up"], check=True)
        self.server = subprocess.Popen([*inside, tools["load"], "serve", str(server)])

    def pasta(self, port, server):
        """The command that forwards a port into it."""
        return ["pasta", "-f", "-q", "--runas", "0", "--netns-only", "--netns", f"/run/netns/{self.name}",
                "-t", f"127.0.0.1/{port}:{server}", "-T", "none", "-u", "none", "-U", "none"]

    def stop(self):
        self.server.kill()
        self.server.wait()
        subprocess.run(["ip", "netns", "del", self.name], check=False)


def load(tools, *arguments, timeout=120):
    done = subprocess.run([tools["load"], *map(str, arguments)], capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        raise RuntimeError(f"load {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return [float(word) for word in done.stdout.split()]


def table(title, head, rows):
    print(f"\n### {title}\n")
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    sys.stdout.flush()


@contextmanager
def running_peers(bench, before=None, only=None):
    """All peers, or the named ones, listening; and the tools that load them, by name."""
    for tool in ("cc", "socat", "haproxy"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing: apt-get install gcc socat haproxy")
    room = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        # Root may lift its own limit.
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(room, 32768),) * 2)
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (room, room))
    directory = tempfile.mkdtemp(prefix="bench-relay-")
    tools, running, namespace = {}, [], None
    for name in ("load", "splice-relay"):
        tools[name] = f"{directory}/{name}"
        subprocess.run(["cc", "-O2", "-o", tools[name], f"{HERE}/{name}.c", "-lpthread"], check=True)
    server = subprocess.Popen([tools["load"], "serve", str(SERVER)])
    try:
        time.sleep(0.2)
        bench, before = os.path.abspath(bench), before and os.path.abspath(before)
        for name, port, commands in peers(bench, before, tools, directory):
            if only is None or name in only:
                running.append(Peer(name, port, commands, directory))
        if (only is None or "pasta" in only) and shutil.which("pasta") and os.geteuid() == 0:
            namespace = Namespace(tools, SERVER)
            running.append(Peer("pasta", 7106, [namespace.pasta(7106, SERVER)], directory))
        yield tools, running, server
    finally:
        for peer in running:
            peer.stop()
        if namespace:
            namespace.stop()
        server.kill()
        server.wait()
        shutil.rmtree(directory)
