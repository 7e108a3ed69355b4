"""What the rows of the table are made of: a folder of their own, the programs, and servers that misbehave."""
import contextlib
import gzip
import http.server
import os
import re
import signal
import struct
import subprocess
import threading
import time

LIMIT = 30  # seconds for one row; a command that is silent for so long hangs


class Row:
    """One thing that goes wrong: how it comes about, and by its title in docs/errors.md what is said then."""

    def __init__(self, title, *arguments, code=1, toml=None, program="rum", env=None, prepare=None, until=None,
                 user=None, replace=(), is_answer=False, descriptors=None):
        self.title, self.arguments, self.code, self.program = title, arguments, code, program
        self.toml, self.env, self.prepare, self.user = toml, env or {}, prepare, user
        self.until = until  # the command goes on: it is ended once it has printed this
        self.is_answer = is_answer  # what it says is what it was asked for, and no error of its own
        self.descriptors = descriptors  # how many it may open
        self.replace = replace  # what differs from run to run, and what stands for it


class Place:
    """The folder in which a row comes about; `app` in it is the current one."""

    def __init__(self, folder, programs):
        self.folder, self.programs = folder, programs
        self.stack = contextlib.ExitStack()
        self.port = ""  # one that a row has taken
        os.makedirs(self.path("app"))
        self.write("bundle", b"")
        self.env = {
            "PATH": os.environ["PATH"], "HOME": folder, "RUM_HOME": self.path("home"), "LC_ALL": "C.UTF-8",
            "RUM_CACHE": self.path("cache"), "RUM_AGENT_BUNDLE": self.path("bundle"),
            "LIBVIRT_DEFAULT_URI": "test:///default",
        }

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, data, mode=0o644):
        """Writes a file below the folder, and returns its path."""
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
        os.chmod(path, mode)
        return path

    def config(self, text):
        self.write("app/rum.toml", text)

    def machine(self, record, name="app"):
        """A machine that exists, with this machine.json."""
        self.write(f"home/machines/{name}/machine.json", record)
        os.chmod(self.path(f"home/machines/{name}"), 0o700)

    def start(self, program, *arguments):
        """Another program, which ends with the row."""
        process = subprocess.Popen([os.path.join(self.programs, program), *arguments], env=self.env,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        return process

    def agent(self, *arguments):
        """An agent with its sockets in `agent`."""
        os.makedirs(self.path("agent"))
        self.start("rum-agent", "--listen", "unix:" + self.path("agent"), "--mode=procfs", *arguments)
        wait_for(lambda: os.path.exists(self.path("agent/2223.sock")), "the agent")

    def serve(self, answer):
        """A web server on loopback; `answer` gets the handler of each GET. Returns its port."""
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                answer(self)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.stack.callback(server.server_close)
        self.stack.callback(server.shutdown)
        return server.server_address[1]


def wait_for(condition, what):
    """Returns once `condition` holds; it must within the limit."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come")
        time.sleep(0.01)


def run(row, place):
    """What the command says from its error on, and how it ends."""
    if row.toml is not None:
        place.config(row.toml)
    if row.prepare:
        row.prepare(place)

    def filled(text):
        return text.replace("$DIR", place.folder).replace("$PORT", place.port)

    env = place.env | {key: filled(value) for key, value in row.env.items()}
    arguments = [filled(word) for word in row.arguments]
    command = [os.path.join(place.programs, row.program), *arguments]
    program = os.open(command[0], os.O_RDONLY)
    place.stack.callback(os.close, program)
    if row.user and os.geteuid() == 0:
        # A network of its own has the kernel's own settings; the user need not get at the program's folder.
        command = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", "setpriv",
                   f"--reuid={row.user}", f"--regid={row.user}", "--clear-groups", f"/proc/self/fd/{program}",
                   *arguments]
    if row.descriptors:
        command = ["prlimit", f"--nofile={row.descriptors}", *command]
    process = subprocess.Popen(command, pass_fds=[program], env=env, cwd=place.path("app"), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
    timer = threading.Timer(LIMIT, process.kill)
    timer.start()
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if row.until and row.until in line and process.poll() is None:
            process.send_signal(signal.SIGINT)
    timer.cancel()
    return said(lines, row, place), process.wait()


def said(lines, row, place):
    """The lines from the error on, without what differs from run to run."""
    if not row.until:
        first = next((number for number, line in enumerate(lines) if line.startswith("error: ")), 0)
        lines = lines[first:]
    # The parser's own lines change with every option, and `--help` has them.
    text = "\n".join(line for line in lines if not line.startswith(("Usage: ", "Help: ")))
    for pattern, word in row.replace:
        text = re.sub(pattern, word, text)
    return text.replace(place.folder + "/app/", "/home/ann/app/").replace(place.folder, "/home/ann")


# Images

def raw_disk(size=1 << 20, partition_sectors=1):
    """The shortest disk: a partition table with one partition."""
    disk = bytearray(size)
    disk[446:462] = bytes([0, 0, 0, 0, 0x83, 0, 0, 0]) + struct.pack("<II", 1, partition_sectors)
    disk[510:512] = b"\x55\xaa"
    return bytes(disk)


def qcow2(backing=b"", encrypted=0, features=0, tables=3 << 16, version=3, size=1 << 20):
    """The header of a qcow2 image, 64 KiB."""
    header = struct.pack(
        ">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", version, 512 if backing else 0, len(backing), 16, size, encrypted, 1,
        tables, 1 << 16, 1, 0, 0, features, 0, 0, 4, 104)
    return (header.ljust(512, b"\0") + backing).ljust(1 << 16, b"\0")


def packed_twice():
    """A packed image in a packed file."""
    return gzip.compress(gzip.compress(raw_disk()))
