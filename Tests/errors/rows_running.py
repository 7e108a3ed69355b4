"""What can be wrong while ports are forwarded, and with agents."""
import os
import socket

from provoke import Row

PIDS = ((r"pid \d+", "pid 4121"), (r"python3(\.\d+)?", "python3"), (r"127\.0\.0\.1:\d{4,5}", "127.0.0.1:5001"),
        (r"localhost:\d{4,5}", "localhost:7000"))
NOBODY = 65534
TOKEN = "0123456789abcdef" * 4


def forward(title, *arguments, prepare, until, **more):
    """`rum forward` to the agent in the folder."""
    return Row(title, "forward", "--agent", "unix:$DIR/agent", *arguments, prepare=prepare, until=until, code=130,
               replace=PIDS, **more)


def agent_of_all(place):
    """An agent that everybody on this host may use."""
    place.agent()
    for name in ("2222.sock", "2223.sock"):
        os.chmod(place.path("agent/" + name), 0o666)
    os.chmod(place.path("agent"), 0o755)


def agent_with_token(place):
    """An agent that asks for a token which is not that of `other`."""
    place.agent("--token-file", place.write("token", TOKEN + "\n", 0o600))
    place.write("other", TOKEN[::-1] + "\n", 0o600)


def deaf_agent(place):
    """Something that accepts and never answers."""
    os.makedirs(place.path("agent"))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place.path("agent/2222.sock"))
    listener.listen()
    place.stack.callback(listener.close)


def busy_port(place):
    """A host port that this program holds."""
    agent_of_all(place)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    place.stack.callback(listener.close)
    place.port = str(listener.getsockname()[1])


def hosts(text):
    """A hosts file with this text, and a line for it."""
    def prepare(place):
        place.write("app/hosts", "127.0.0.1 localhost\n" + text)
        place.write("app/lines", "127.65.1.2\tdev.localhost\n")
    return prepare


ROWS = [
    forward("There is no agent at the address", "--auto", "5000-6000", prepare=lambda place: None, until="hint"),
    Row("The agent refuses the token", "forward", "--agent", "unix:$DIR/agent", "--auto", "5000-6000", "--token-file",
        "$DIR/other", prepare=agent_with_token),
    forward("A host port below 1024 needs rights", "--port", "81:80", prepare=agent_of_all, until="Blocked",
            user=NOBODY),
    forward("A host port is taken", "--port", "$PORT:80", prepare=busy_port, until="Blocked"),
    forward("The router's port is taken", "--auto", "6900-6999", "--name", "dev", prepare=busy_port, until="No names",
            env={"RUM_ROUTER_PORT": "$PORT"}),
    Row("The router's port is none", "forward", "--agent", "unix:$DIR/agent", "--auto", "5000-6000", "--name", "dev",
        env={"RUM_ROUTER_PORT": "http"}, code=2),
    Row("The name of a forwarded machine is none", "forward", "--agent", "unix:$DIR/agent", "--auto", "5000-6000",
        "--name", "my dev", code=2),
    Row("There are no machines whose addresses could be named", "hosts", "--install"),
    Row("Lines for a hosts file are of another kind", "hosts", "--install", "--from", "lines",
        prepare=lambda place: place.write("app/lines", "127.0.0.1\tbank.example\n")),
    Row("A hosts file is changed after asking only", "hosts", "--install", "--from", "lines", "--file", "hosts", code=2,
        prepare=hosts("")),
    Row("A hosts file has half a block", "hosts", "--remove", "--file", "hosts",
        prepare=hosts(f"# rum: machines of user {os.geteuid()}\n")),
    Row("A hosts file may not be written", "hosts", "--install", "--yes", "--from", "lines", "--file", "hosts",
        prepare=hosts(""), user=NOBODY),
    Row("An agent over tcp needs a token", "--listen", "tcp:127.0.0.1", program="rum-agent", code=2),
    Row("The agent's token file is not there", "--listen", "tcp:127.0.0.1", "--token-file", "token",
        program="rum-agent"),
    Row("The agent's address is taken", "--listen", "unix:$DIR/agent", program="rum-agent", prepare=agent_of_all),
    Row("The agent's folder is not there", "--listen", "unix:/nowhere", program="rum-agent"),
    Row("The agent may open too few descriptors", "--listen", "unix:$DIR", program="rum-agent", descriptors=40),
    Row("A way to find listeners that does not exist", "--mode=ebpf", program="rum-agent", code=2),
    Row("A range that does not exist", "list", "--range", "0-9", program="rum-agent", code=2),
]
