"""An agent that wants to do harm, against the real `rum forward`; beside it runs a forward to an agent that does not.

Each case ends with the same questions: does rum still answer, with bounded memory and few lines; has it opened nothing
that it should not have; and did the other machine's forward go on meanwhile?
"""
import concurrent.futures
import json
import os
import re
import resource
import signal
import socket
import subprocess
import threading
import time
import unittest

import grpc
from rum.v1 import agent_pb2 as pb
from support import PROGRAMS, Case, eventually

resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)

SERVICE = "/rum.v1.RumAgent/"
RANGE = "20000-29999"
# MiB that `rum forward` may ever have resident; its 32 MiB of the largest message are in it.
MEMORY = 400


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, payload):
    """A length-delimited field of protobuf."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def ping(**fields):
    usual = {"version": "1", "hostname": "h", "instance_id": "i", "boot_id": "b", "mode": "netlink", "push": "poll",
             "monotonic_ns": time.monotonic_ns()}
    return pb.PingResponse(**{**usual, **fields}).SerializeToString()


def table(ports, revision=1, address=bytes(4), **fields):
    rows = [pb.Listener(address=address, port=port, **fields) for port in ports]
    return pb.ListeningPortsResponse(ports=ports, listeners=rows, revision=revision).SerializeToString()


def framed(message):
    """A table as it goes over a connection of its own."""
    return len(message).to_bytes(4, "big") + message


class RawAgent(grpc.GenericRpcHandler):
    """Answers with whatever bytes a test has: `pong` to Ping, and `tables`, a function that yields, to the stream."""

    def __init__(self, tables, pong=None):
        self.tables, self.pong = tables, pong or ping
        self.sent = 0

    def service(self, details):
        if details.method == SERVICE + "Ping":
            return grpc.unary_unary_rpc_method_handler(lambda request, context: self.pong())
        if details.method == SERVICE + "WatchListeningPorts":
            return grpc.unary_stream_rpc_method_handler(self.watch)
        return None

    def watch(self, request, context):
        for message in self.tables(context):
            self.sent += 1
            yield message
        while context.is_active():
            time.sleep(0.05)


class Hostile(Case):
    """A bad agent, a good one beside it, and what must hold."""

    def setUp(self):
        super().setUp()
        # The other machine.
        os.mkdir(self.folder + "/good")
        self.good = RawAgent(self.good_tables)
        self.good_ports, self.done = [], threading.Event()
        self.addCleanup(self.done.set)
        self.serve(self.good, "good")
        self.witness = self.start("rum", "forward", "--agent", f"unix:{self.folder}/good", "--auto", "30000-30999",
                                  "--json")

    def good_tables(self, context):
        sent = None
        while context.is_active() and not self.done.is_set():
            if self.good_ports != sent:
                sent = list(self.good_ports)
                yield table(sent, listened_at_ns=time.monotonic_ns())
            time.sleep(0.005)

    def serve(self, agent, name="bad"):
        os.makedirs(f"{self.folder}/{name}", exist_ok=True)
        options = [("grpc.max_send_message_length", -1), ("grpc.max_metadata_size", 1 << 20)]
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), handlers=[agent], options=options)
        server.add_insecure_port(f"unix:{self.folder}/{name}/2222.sock")
        server.start()
        self.addCleanup(lambda: server.stop(0).wait())
        return agent

    def forward(self, *options, env=None):
        self.rum = self.start("rum", "forward", "--agent", f"unix:{self.folder}/bad", "--auto", RANGE, "--json",
                              *options, env=env)
        return self.rum

    def judge(self, rum, opened=()):
        """What must hold however the agent behaves."""
        before = len(self.witness.lines)
        number = 30000 + before
        self.good_ports = [number]
        began = time.monotonic()
        eventually("the other machine's port", lambda: any(
            one["event"] == "opened" and one["host_port"] == number for one in self.witness.events), within=5)
        waited = time.monotonic() - began
        self.assertLess(waited, 2)
        self.assertIsNone(rum.process.poll(), rum.lines)
        self.assertLess(self.peak(rum), MEMORY)
        self.assertEqual({one["host_port"] for one in rum.events if one["event"] == "opened"}, set(opened))
        self.assertLessEqual({one["bind"] for one in rum.events if one["event"] == "opened"}, {"127.0.0.1"})
        self.assertEqual(self.listening() - {number}, set(opened))
        for line in list(rum.lines):
            self.assertNotRegex(line, "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]")
            self.assertLess(len(line), 4000)
        began = time.monotonic()
        self.assertEqual(rum.stop(signal.SIGINT), 130)
        self.assertLess(time.monotonic() - began, 3)

    @staticmethod
    def peak(rum):
        with open(f"/proc/{rum.process.pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmHWM:\s*(\d+)", file.read()).group(1)) >> 10

    @staticmethod
    def listening():
        """The ports that TCP sockets of this network namespace listen on."""
        ports = set()
        for name in ("tcp", "tcp6"):
            with open(f"/proc/net/{name}", encoding="ascii") as file:
                rows = [line.split() for line in file.readlines()[1:]]
            ports |= {int(row[1].rsplit(":", 1)[1], 16) for row in rows if row[3] == "0A"}
        return ports

    def listen_raw(self, name, serve):
        """A socket of the agent's, each of whose connections `serve` gets on a thread of its own."""
        os.makedirs(f"{self.folder}/bad", exist_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{self.folder}/bad/{name}")
        listener.listen(64)
        self.addCleanup(listener.close)

        def one(connection):
            with connection:
                try:
                    serve(connection)
                except OSError:
                    pass

        def run():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=one, args=(connection,), daemon=True).start()
        threading.Thread(target=run, daemon=True).start()

    def wait_for_end(self, connection):
        connection.settimeout(60)
        while connection.recv(65536):
            pass

    def run_case(self, tables, pong=None, opened=(20001,), seconds=1.0, options=()):
        agent = self.serve(RawAgent(tables, pong))
        rum = self.forward(*options)
        eventually("what is allowed is opened", lambda: rum.count("opened") >= len(opened))
        time.sleep(seconds)
        self.judge(rum, opened)
        return agent, rum


class HostileAgent(Hostile):
    """Cases that speak gRPC, and lie."""

    def test_ports_that_were_not_asked_for(self):
        wrong = [0, 22, 80, 443, 1023, 19999, 30000, 65535, 65536, 65536 + 20002, (1 << 32) - 1]
        self.run_case(lambda context: [table([*wrong, 20001])])

    def test_port_of_a_static_forward(self):
        # What a static forward takes is not opened a second time, and the agent can't close it either.
        self.run_case(lambda context: [table([20001, 8080]), table([20001])], opened=(20001, 18080),
                      options=("--port", "18080:8080"))

    def test_other_addresses(self):
        def tables(context):
            for address in (b"", b"\x08\x08\x08\x08", bytes([255] * 16), bytes(3), bytes(1000)):
                yield table([20001], address=address)
                time.sleep(0.02)
            yield table([20001])
        self.run_case(tables)

    def test_absurd_tables(self):
        # The largest table there can be, and one port 60 000 times.
        rows = [pb.Listener(address=bytes([127, 0, 0, last]), port=port)
                for port in range(1, 65536) for last in range(1, 8)]
        for message, opened in ((pb.ListeningPortsResponse(listeners=rows).SerializeToString(), range(20000, 21024)),
                                (table([20001] * 60_000), [20001])):
            with self.subTest(size=len(message)):
                agent = self.serve(RawAgent(lambda context, message=message: [message]))
                rum = self.forward()
                eventually("opened", lambda: rum.count("opened") >= len(opened))
                time.sleep(1)
                self.judge(rum, opened)
                self.assertEqual(agent.sent, 1)

    def test_rows_of_nothing(self):
        # As many rows, and as many ports, as the largest message has room for: two bytes a row, one a port.
        for message in (field(2, b"") * (15 << 20), field(1, b"\x05" * (31 << 20)), b"\x08\x05" * (15 << 20)):
            with self.subTest(start=message[:4]):
                self.serve(RawAgent(lambda context, message=message: [message]))
                rum = self.forward()
                rum.waits_for("table of listeners is larger")
                self.judge(rum)

    def test_revisions_that_go_back(self):
        def tables(context):
            for revision in (7, 3, (1 << 64) - 1, 0, 0):
                yield table([20001], revision=revision)
        self.run_case(tables)

    def test_endless_stream(self):
        def tables(context):
            turn = 0
            while context.is_active():
                turn += 1
                yield table([20001] if turn % 2 else [20001, 20002 + turn % 5000], revision=turn)
        self.serve(RawAgent(tables))
        rum = self.forward()
        eventually("opened", lambda: rum.count("opened") > 0)
        time.sleep(6)
        # 8192 changes at once and then 250 a second, each a line at the most.
        self.assertLess(len(rum.lines), 12_000)
        self.assertLess(self.peak(rum), MEMORY)
        self.assertEqual(rum.stop(signal.SIGINT), 130)

    def test_times_that_cannot_be(self):
        turns = iter(range(1 << 30))

        def pong():
            return ping(monotonic_ns=[0, (1 << 64) - 1, 1 << 63, 5][next(turns) % 4],
                        agent_started_ns=[(1 << 64) - 1, 1, 1 << 63][next(turns) % 3], forward_version=(1 << 32) - 1,
                        instance_id=str(next(turns)))

        def tables(context):
            for stamp in (1, (1 << 64) - 1, 1 << 63, (1 << 63) - 1, 12345):
                yield table([20001], listened_at_ns=stamp)
                yield table([20002], listened_at_ns=stamp)
        agent = self.serve(RawAgent(tables, pong))
        rum = self.forward()
        eventually("all sent", lambda: agent.sent == 10)
        eventually("the last one", lambda: rum.events and rum.events[-1]["host_port"] == 20002)
        rum.stop(signal.SIGINT)
        self.assertEqual(rum.process.returncode, 130)

    def test_gigantic_strings(self):
        evil = "\x1b]0;owned\x07\x1b[2J\u202e\x9b" + "x" * (1 << 18)

        def tables(context):
            yield table([20001], pid=1, process=evil)
            yield pb.ListeningPortsResponse(
                ports=[20001], mode=evil, push=evil, degraded=evil, revision=2).SerializeToString()
        self.run_case(tables, lambda: ping(version=evil, hostname=evil, instance_id=evil, boot_id=evil, mode=evil,
                                           push=evil, degraded=evil))

    def test_names_that_fill_a_message_of_the_control_socket(self):
        # One character is as long as what is put on it, and JSON makes six bytes of a control character.
        names = {20001: "e" + "\u0301" * (1 << 20), 20002: "x" * 5_000_000} | {
            port: "\x01" * 900 for port in range(20100, 21000)}
        rows = [pb.Listener(address=bytes(4), port=port, pid=port, process=name) for port, name in names.items()]
        message = pb.ListeningPortsResponse(listeners=rows, revision=1).SerializeToString()
        self.serve(RawAgent(lambda context: [message], lambda: ping(version="9" * 200_000)))
        home = {"RUM_HOME": self.folder, "RUM_ROUTER_PORT": "off"}
        rum = self.forward("--name", "bad", env=home)
        eventually("opened", lambda: {one["host_port"] for one in rum.events if one["event"] == "opened"} == set(names))
        shown = subprocess.run([f"{PROGRAMS}/rum", "ports", "bad", "--json"], capture_output=True, text=True,
                               timeout=30, env=os.environ | home, check=False)
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertEqual({one["guest_port"] for one in json.loads(shown.stdout)}, set(names))
        self.judge(rum, names)

    def test_errors_that_are_gigantic_and_never_the_same(self):
        turns = iter(range(1 << 30))

        class Failing(RawAgent):
            def watch(self, request, context):
                context.abort(grpc.StatusCode.INTERNAL, f"\x1b[31m{next(turns)} " + "long " * 20_000)
                yield b""
        self.serve(Failing(None))
        rum = self.forward()
        rum.waits_for("Waiting for the agent")
        time.sleep(2)
        self.assertLess(len(rum.lines), 60)
        self.judge(rum)

    def test_comes_and_goes(self):
        def tables(context):
            yield table([20001])
            context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        self.serve(RawAgent(tables))
        rum = self.forward()
        eventually("opened", lambda: rum.count("opened") == 1)
        time.sleep(4)
        self.assertLess(len(rum.lines), 200)
        self.judge(rum, (20001,))


class HostileBytes(Hostile):
    """Cases below gRPC: the sockets of an agent, and bytes of the tester's choice."""

    def run_bytes(self, serve, seconds=3.0):
        self.listen_raw("2222.sock", serve)
        rum = self.forward()
        time.sleep(seconds)
        self.assertLess(len(rum.lines), 40)
        self.judge(rum)

    def test_silence(self):
        self.run_bytes(self.wait_for_end)

    def test_a_frame_a_byte_at_a_time(self):
        def serve(connection):
            while True:
                for byte in b"\x00\x00\x00\x04\x00\x00\x00\x00\x00":
                    connection.sendall(bytes([byte]))
                    time.sleep(0.2)
        self.run_bytes(serve)

    def test_noise_without_end(self):
        def serve(connection):
            while True:
                connection.sendall(os.urandom(65536))
        self.run_bytes(serve)

    def test_frames_without_end(self):
        frames = {
            "settings": b"\x00\x00\x00\x04\x00\x00\x00\x00\x00",
            "ping": b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + bytes(8),
            "headers that never end": b"\x00\x40\x00\x01\x00\x00\x00\x00\x01" + b"\x00\x01a\x01b" * 3276 + bytes(4),
            "a frame of 16 MiB": b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + bytes(1 << 20),
        }
        for name, frame in frames.items():
            with self.subTest(name):
                def serve(connection, frame=frame):
                    connection.sendall(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
                    while True:
                        connection.sendall(frame)
                path = f"{self.folder}/bad/2222.sock"
                if os.path.exists(path):
                    os.unlink(path)
                self.run_bytes(serve, seconds=2)

    def test_forward_port(self):
        """What answers on port 2223 decides about its own connections alone."""
        answers = {
            "silence": self.wait_for_end,
            "an unknown status": lambda connection: connection.sendall(b"\xee" * 100_000),
            "an end at once": lambda connection: None,
            "a status a byte at a time": lambda connection: [time.sleep(0.1), connection.sendall(b"\x01")],
        }
        self.serve(RawAgent(lambda context: [table([20001])]))
        rum = self.forward()
        eventually("opened", lambda: rum.count("opened") == 1)
        for name, serve in answers.items():
            with self.subTest(name):
                path = f"{self.folder}/bad/2223.sock"
                if os.path.exists(path):
                    os.unlink(path)
                self.listen_raw("2223.sock", serve)
                clients = [socket.create_connection(("127.0.0.1", 20001)) for _ in range(20)]
                for client in clients:
                    client.settimeout(15)
                    with self.assertRaises(ConnectionResetError):
                        while client.recv(65536):
                            pass
                        raise ConnectionResetError if name == "?" else AssertionError("ended in order")
                    client.close()
        eventually("no descriptor is left", lambda: len(os.listdir(f"/proc/{rum.process.pid}/fd")) < 60)
        self.judge(rum, (20001,))


class HostileFeed(Hostile):
    """Cases of an agent that sends its tables over a connection of their own, on the forward port."""

    def run_feed(self, serve, opened=(20001,), seconds=2.0, streamed=20009):
        """`serve` gets each connection that asks for tables; the stream of gRPC would say `streamed`."""
        asked = []

        def one(connection):
            preamble = b""
            while len(preamble) < 40:
                preamble += connection.recv(40 - len(preamble)) or b"?" * 40
            self.assertEqual(preamble[32:], b"\0\0\3\0" + (20000).to_bytes(2, "big") + (29999).to_bytes(2, "big"))
            asked.append(connection)
            serve(connection)
        self.listen_raw("2223.sock", one)
        self.serve(RawAgent(lambda context: [table([streamed])], lambda: ping(forward_version=3)))
        rum = self.forward()
        eventually("what is allowed is opened", lambda: rum.count("opened") >= len(opened))
        eventually("tables were asked for", lambda: asked)
        time.sleep(seconds)
        return rum

    def test_tables_without_end(self):
        def serve(connection):
            connection.sendall(b"\0")
            for turn in range(1 << 30):
                connection.sendall(framed(table([20001] if turn % 2 else [20001, 20002 + turn % 5000], revision=turn)))
        rum = self.run_feed(serve, seconds=6)
        self.assertLess(len(rum.lines), 12_000)
        self.assertLess(self.peak(rum), MEMORY)
        self.assertEqual(rum.stop(signal.SIGINT), 130)

    def test_empty_tables_without_end(self):
        def serve(connection):
            connection.sendall(b"\0" + framed(table([20001])))
            while True:
                connection.sendall(framed(table([20001])) + bytes(65536))
        rum = self.run_feed(serve, seconds=4)
        self.assertLess(self.peak(rum), MEMORY)
        self.assertLess(len(rum.lines), 400)
        self.assertEqual(rum.stop(signal.SIGINT), 130)

    def test_gigantic_tables(self):
        for body in (b"\xff" * 4 + bytes(1 << 20), framed(field(2, b"") * (15 << 20))):
            with self.subTest(start=body[:4]):
                for name in ("2222.sock", "2223.sock"):
                    if os.path.exists(f"{self.folder}/bad/{name}"):
                        os.unlink(f"{self.folder}/bad/{name}")

                def serve(connection, body=body):
                    connection.sendall(b"\0" + body)
                    self.wait_for_end(connection)
                rum = self.run_feed(serve, opened=())
                rum.waits_for("table of listeners is larger")
                self.judge(rum)

    def test_garbage(self):
        def serve(connection):
            connection.sendall(b"\0" + framed(b"\xff" * 100))
            self.wait_for_end(connection)
        rum = self.run_feed(serve, opened=(), seconds=3)
        rum.waits_for("a table that can't be read")
        self.assertLess(len(rum.lines), 40)
        self.judge(rum)

    def test_a_byte_at_a_time(self):
        # The second table never ends, and what is there stays.
        def serve(connection):
            connection.sendall(b"\0" + framed(table([20001])))
            for byte in framed(table(range(20002, 20500))):
                connection.sendall(bytes([byte]))
                time.sleep(0.2)
        self.judge(self.run_feed(serve, seconds=7), (20001,))

    def test_ends_after_each_table(self):
        rum = self.run_feed(lambda connection: connection.sendall(b"\0" + framed(table([20001]))), seconds=4)
        self.assertLess(len(rum.lines), 200)
        self.judge(rum, (20001,))

    def test_offers_and_refuses(self):
        answers = {
            "refuses": lambda connection: connection.sendall(b"\2"),
            "an unknown status": lambda connection: connection.sendall(b"\xee" * 100_000),
            "an end at once": lambda connection: None,
            "silence": self.wait_for_end,
        }
        for name, serve in answers.items():
            with self.subTest(name):
                for file in ("2222.sock", "2223.sock"):
                    if os.path.exists(f"{self.folder}/bad/{file}"):
                        os.unlink(f"{self.folder}/bad/{file}")
                self.judge(self.run_feed(serve, opened=(20009,), seconds=0.5), (20009,))


if __name__ == "__main__":
    unittest.main()
