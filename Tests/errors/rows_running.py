"""What can be wrong while ports are forwarded, and with agents."""
import os
import socket

from provoke import Row

PIDS = ((r"pid \d+", "pid 4121"), (r"python3(\.\d+)?", "python3"), (r"127\.0\.0\.1:\d{4,5}", "127.0.0.1:5001"))
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


ROWS = [
    forward("There is no agent at the address", "--auto", "5000-6000", prepare=lambda place: None, until="hint"),
    Row("The agent refuses the token", "forward", "--agent", "unix:$DIR/agent", "--auto", "5000-6000", "--token-file",
        "$DIR/other", prepare=agent_with_token),
    forward("A host port below 1024 needs rights", "--port", "81:80", prepare=agent_of_all, until="Blocked",
            user=NOBODY),
    forward("A host port is taken", "--port", "$PORT:80", prepare=busy_port, until="Blocked"),
    Row("An agent over tcp needs a token", "--listen", "tcp:127.0.0.1", program="rum-agent", code=2),
    Row("The agent's token file is not there", "--listen", "tcp:127.0.0.1", "--token-file", "token",
        program="rum-agent"),
    Row("The agent's address is taken", "--listen", "unix:$DIR/agent", program="rum-agent", prepare=agent_of_all),
    Row("The agent's folder is not there", "--listen", "unix:/nowhere", program="rum-agent"),
    Row("A way to find listeners that does not exist", "--mode=ebpf", program="rum-agent", code=2),
    Row("A range that does not exist", "list", "--range", "0-9", program="rum-agent", code=2),
]
