"""rum.v1 between rum's programs and another implementation of gRPC, in both directions."""

import concurrent.futures
import contextlib
import os
import queue
import resource
import signal
import socket
import threading
import time
import unittest

import grpc
from rum.v1 import agent_pb2 as pb
from rum.v1 import agent_pb2_grpc as api
from support import TOKEN, Case, eventually, listen

resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)

EVERYTHING = pb.ListeningPortsRequest(min=1, max=65535)


class HostOfAnotherKind(Case):
    """grpcio asks rum-agent."""

    def setUp(self):
        super().setUp()
        self.agent = self.start_agent()
        self.channel = grpc.insecure_channel(self.target)
        self.addCleanup(self.channel.close)
        self.stub = api.RumAgentStub(self.channel)
        self.metadata = [("rum-token", TOKEN)]

    def start_agent(self, token=True):
        options = ["--token-file", self.token_file] if token else []
        agent = self.start("rum-agent", "--listen", f"unix:{self.folder}", *options)
        agent.waits_for("mode ")
        return agent

    def ask(self, method, request):
        return getattr(self.stub, method)(request, metadata=self.metadata, timeout=10)

    @contextlib.contextmanager
    def fails(self, code):
        with self.assertRaises(grpc.RpcError) as caught:
            yield caught
        self.assertEqual(caught.exception.code(), code, caught.exception.details())

    def watch(self, request=EVERYTHING):
        """A call of the stream, and a queue of the sets of ports that it brings."""
        call = self.stub.WatchListeningPorts(request, metadata=self.metadata)
        tables = queue.Queue()

        def read():
            with contextlib.suppress(grpc.RpcError):
                for table in call:
                    tables.put(set(table.ports))
            tables.put(None)

        threading.Thread(target=read, daemon=True).start()
        return call, tables

    def test_ping(self):
        answer = self.ask("Ping", pb.PingRequest())
        self.assertTrue(answer.version and answer.hostname and answer.instance_id)
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            self.assertEqual(answer.boot_id, file.read().strip())
        self.assertIn(answer.mode, ("netlink", "procfs"))
        self.assertIn(answer.push, ("bpf", "tracepoint", "poll"))
        self.assertLess(0, answer.agent_started_ns)
        self.assertLess(answer.agent_started_ns, answer.monotonic_ns)
        self.assertLessEqual(1, answer.forward_version)

    def test_listening_ports(self):
        with listen(20001), listen(20002), listen(20003):
            request = pb.ListeningPortsRequest(min=20001, max=20002)
            # A snapshot is asked for what the watcher knows, which is a moment later.
            eventually("both", lambda: list(self.ask("ListeningPorts", request).ports) == [20001, 20002])
            listener = self.ask("ListeningPorts", request).listeners[0]
            self.assertEqual((listener.port, listener.address), (20001, bytes([127, 0, 0, 1])))
            # Who listens is found out after the table is out, where several ports open at once.
            eventually("its process", lambda: self.ask("ListeningPorts", request).listeners[0].pid == os.getpid())

    def test_watch(self):
        call, tables = self.watch()
        self.assertEqual(tables.get(timeout=5), set())
        # A port may come twice: its process is found out a moment later.
        with listen(20001):
            eventually("the port", lambda: tables.get(timeout=5) == {20001})
        eventually("its end", lambda: tables.get(timeout=5) == set())
        call.cancel()
        self.assertIsNone(tables.get(timeout=5))
        self.assertEqual(call.code(), grpc.StatusCode.CANCELLED)
        self.ask("Ping", pb.PingRequest())

    def ask_for_tables(self, least, most, token=TOKEN):
        """A connection to the forward port that asks for tables, as docs/forward-protocol.md says."""
        connection = socket.socket(socket.AF_UNIX)
        self.addCleanup(connection.close)
        connection.settimeout(10)
        connection.connect(f"{self.folder}/2223.sock")
        connection.sendall(bytes.fromhex(token) + b"\0\0\3\0" + least.to_bytes(2, "big") + most.to_bytes(2, "big"))
        return connection.makefile("rb")

    def test_tables_without_grpc(self):
        def next_ports():
            length = int.from_bytes(feed.read(4), "big")
            return set(pb.ListeningPortsResponse.FromString(feed.read(length)).ports)

        self.assertEqual(self.ask("Ping", pb.PingRequest()).forward_version, 4)
        feed = self.ask_for_tables(20000, 20999)
        self.assertEqual(feed.read(1), b"\0")
        self.assertEqual(next_ports(), set())
        with listen(20001):
            eventually("the port", lambda: next_ports() == {20001})
        eventually("its end", lambda: next_ports() == set())
        for least, most, token, status in [(0, 1, TOKEN, 2), (2, 1, TOKEN, 2), (1, 2, "00" * 32, 3)]:
            self.assertEqual(self.ask_for_tables(least, most, token).read(), bytes([status]))

    def test_bad_range(self):
        for least, most in [(0, 1), (2, 1), (1, 65536), (0, 0)]:
            request = pb.ListeningPortsRequest(min=least, max=most)
            with self.fails(grpc.StatusCode.INVALID_ARGUMENT):
                self.ask("ListeningPorts", request)
            with self.fails(grpc.StatusCode.INVALID_ARGUMENT):
                next(self.ask("WatchListeningPorts", request))

    def test_one_port(self):
        with listen(20002):
            answer = self.ask("ExplainPort", pb.ExplainPortRequest(port=20002))
        self.assertEqual([one.listener.port for one in answer.listeners if not one.network_namespace], [20002])
        for port in [0, 65536]:
            with self.fails(grpc.StatusCode.INVALID_ARGUMENT):
                self.ask("ExplainPort", pb.ExplainPortRequest(port=port))

    def test_unknown_method(self):
        for path in ["/rum.v1.RumAgent/Nothing", "/rum.v9.RumAgent/Ping", "/rum.v1.RumAgent/"]:
            with self.fails(grpc.StatusCode.UNIMPLEMENTED):
                self.channel.unary_unary(path)(b"", metadata=self.metadata, timeout=10)

    def test_token(self):
        wrong = [[], [("rum-token", "00" * 32)], [("rum-token", "short")], [("rum-token", "")]]
        for self.metadata in wrong:
            for method, request in [("Ping", pb.PingRequest()), ("ListeningPorts", EVERYTHING)]:
                with self.fails(grpc.StatusCode.UNAUTHENTICATED):
                    self.ask(method, request)
            with self.fails(grpc.StatusCode.UNAUTHENTICATED):
                next(self.ask("WatchListeningPorts", EVERYTHING))
            with self.fails(grpc.StatusCode.UNAUTHENTICATED):
                list(self.execute("true"))

    def execute(self, *arguments, more=()):
        inputs = [pb.ExecInput(start=pb.ExecStart(arguments=arguments)), *more]
        return self.ask("Exec", iter(inputs))

    def test_exec(self):
        more = [pb.ExecInput(stdin=b"yes\n"), pb.ExecInput(stdin_closed=True)]
        outputs = list(self.execute("sh", "-c", "cat; echo no >&2; exit 7", more=more))
        self.assertEqual(b"".join(one.stdout for one in outputs), b"yes\n")
        self.assertEqual(b"".join(one.stderr for one in outputs), b"no\n")
        self.assertEqual(outputs[-1].exited.code, 7)

    @unittest.skipIf(os.geteuid() != 0, "becomes other users: run as root")
    def test_first_commands_at_once(self):
        """Each agent starts its threads while it is asked for commands of three users."""
        users = ["", "root", "daemon"] * 2
        for _ in range(8):
            self.agent.stop()
            self.agent = self.start_agent()
            with concurrent.futures.ThreadPoolExecutor(len(users)) as pool:
                said = list(pool.map(self.run_as, users))
            self.assertEqual(said, [user or "root" for user in users])

    def run_as(self, user):
        with grpc.insecure_channel(self.target) as channel:
            inputs = [pb.ExecInput(start=pb.ExecStart(arguments=["id", "-un"], user=user))]
            outputs = api.RumAgentStub(channel).Exec(iter(inputs), metadata=self.metadata, timeout=10)
            return b"".join(one.stdout for one in outputs).decode().strip()

    def test_exec_without_token(self):
        self.agent.stop()
        self.start_agent(token=False)
        self.metadata = []
        self.stub.Ping(pb.PingRequest(), timeout=10, wait_for_ready=True)
        with self.fails(grpc.StatusCode.FAILED_PRECONDITION) as caught:
            list(self.execute("true"))
        self.assertIn("--token-file", caught.exception.details())

    def test_2000_listeners(self):
        _, tables = self.watch()
        ports = range(20000, 22000)
        with contextlib.ExitStack() as stack:
            for port in ports:
                stack.enter_context(listen(port))
            eventually("a list of all", lambda: list(self.ask("ListeningPorts", EVERYTHING).ports) == list(ports))
            while tables.get(timeout=10) != set(ports):
                pass
        while tables.get(timeout=10):
            pass

    def test_agent_started_again(self):
        first = self.ask("Ping", pb.PingRequest())
        call, tables = self.watch()
        self.assertEqual(tables.get(timeout=5), set())
        self.assertEqual(self.agent.stop(), 0)
        self.assertIsNone(tables.get(timeout=5))
        self.assertEqual(call.code(), grpc.StatusCode.UNAVAILABLE)
        self.start_agent()
        # The same channel, which connects again.
        second = self.stub.Ping(pb.PingRequest(), metadata=self.metadata, timeout=10, wait_for_ready=True)
        self.assertNotEqual(first.instance_id, second.instance_id)
        self.assertLess(first.agent_started_ns, second.agent_started_ns)
        self.assertEqual(first.boot_id, second.boot_id)


class ScriptedAgent(api.RumAgentServicer):
    """Serves the tables that a test gives it."""

    def __init__(self, has_stream=True, failure=None):
        self.has_stream, self.failure = has_stream, failure
        self.ports, self.revision, self.degraded = [], 0, ""
        self.changed = threading.Condition()
        self.calls, self.tokens, self.open_streams = [], set(), 0

    def publish(self, ports):
        with self.changed:
            self.ports, self.revision = list(ports), self.revision + 1
            self.changed.notify_all()

    def table(self):
        return pb.ListeningPortsResponse(
            ports=self.ports, revision=self.revision, mode="netlink", push="tracepoint", degraded=self.degraded,
            listeners=[pb.Listener(address=bytes(4), port=port) for port in self.ports])

    def note(self, name, context):
        self.calls.append(name)
        self.tokens.add(dict(context.invocation_metadata()).get("rum-token"))

    def Ping(self, request, context):
        self.note("Ping", context)
        if dict(context.invocation_metadata()).get("rum-token") != TOKEN:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "no")
        return pb.PingResponse(
            version="9", hostname="other", instance_id=str(id(self)), boot_id="boot", mode="netlink",
            push="tracepoint", monotonic_ns=time.monotonic_ns())

    def ListeningPorts(self, request, context):
        self.note("ListeningPorts", context)
        return self.table()

    def WatchListeningPorts(self, request, context):
        self.note("WatchListeningPorts", context)
        if self.failure:
            context.abort(*self.failure)
        if not self.has_stream:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "an older agent")
        context.add_callback(self.ended)
        with self.changed:
            self.open_streams += 1
        sent = None
        while context.is_active():
            with self.changed:
                self.changed.wait_for(lambda: sent != self.revision, timeout=0.05)
                if sent == self.revision:
                    continue
                sent, table = self.revision, self.table()
            yield table

    def ended(self):
        with self.changed:
            self.open_streams -= 1
            self.changed.notify_all()


class AgentOfAnotherKind(Case):
    """rum forward follows an agent made with grpcio."""

    def serve(self, agent):
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
        api.add_RumAgentServicer_to_server(agent, server)
        server.add_insecure_port(self.target)
        server.start()
        self.addCleanup(lambda: server.stop(0).wait())
        return server

    def forward(self, *options):
        arguments = ["--agent", f"unix:{self.folder}", "--auto", "20000-29999", "--json", *options]
        if "--token-file" not in options:
            arguments += ["--token-file", self.token_file]
        return self.start("rum", "forward", *arguments)

    def test_stream(self):
        agent = ScriptedAgent()
        self.serve(agent)
        rum = self.forward()
        agent.publish([20001])
        eventually("opened", lambda: rum.count("opened") == 1)
        agent.publish([])
        eventually("closed", lambda: rum.count("closed") == 1)
        # One connection: a ping, the stream, and heartbeats.
        self.assertEqual(agent.calls.count("WatchListeningPorts"), 1)
        self.assertEqual(agent.tokens, {TOKEN})

    def test_2000_listeners(self):
        agent = ScriptedAgent()
        agent.publish(range(20000, 22000))
        self.serve(agent)
        rum = self.forward()
        # All of them have come, and as many as rum forwards at the most are open.
        eventually("1024 opened", lambda: rum.count("opened") == 1024)
        limited = next(one for one in rum.events if one["event"] == "limited")
        self.assertIn("listens on 2000 ports", limited["reason"])
        agent.publish([])
        eventually("all closed", lambda: rum.count("closed") == 1024)

    def test_poll(self):
        agent = ScriptedAgent(has_stream=False)
        self.serve(agent)
        rum = self.forward()
        agent.publish([20001])
        eventually("opened", lambda: rum.count("opened") == 1)
        agent.publish([])
        eventually("closed", lambda: rum.count("closed") == 1)
        self.assertEqual(rum.count("agent_lost"), 0)

    def test_cancel(self):
        agent = ScriptedAgent()
        self.serve(agent)
        rum = self.forward()
        eventually("followed", lambda: agent.open_streams == 1)
        self.assertEqual(rum.stop(signal.SIGINT), 130)
        eventually("the stream ended", lambda: agent.open_streams == 0, within=5)

    def test_goaway(self):
        agent = ScriptedAgent()
        agent.publish([20001])
        server = self.serve(agent)
        rum = self.forward()
        eventually("opened", lambda: rum.count("opened") == 1)
        # GOAWAY now, and the streams that are left are ended after the grace.
        server.stop(0.5).wait()
        eventually("lost", lambda: rum.count("agent_lost") == 1)
        another = ScriptedAgent()
        another.publish([20001, 20002])
        self.serve(another)
        eventually("back", lambda: rum.count("agent_back") == 1)
        eventually("the new one opened", lambda: rum.count("opened") == 2)
        self.assertEqual(rum.count("closed"), 0)

    def test_refused_token(self):
        self.serve(ScriptedAgent())
        wrong = self.folder + "/wrong"
        with open(wrong, "w", encoding="ascii") as file:
            file.write("00" * 32)
        rum = self.forward("--token-file", wrong)
        rum.waits_for("refuses the token")
        eventually("it ended", lambda: rum.process.poll() == 1)

    def test_too_large(self):
        agent = ScriptedAgent()
        agent.degraded = "x" * (32 << 20)
        self.serve(agent)
        rum = self.forward()
        rum.waits_for("larger than the 32 MiB")
        # It asks again after 5 to 10 s.
        time.sleep(2)
        self.assertEqual(agent.calls.count("WatchListeningPorts"), 1)
        self.assertEqual(sum("32 MiB" in line for line in rum.lines), 1)

    def test_failure(self):
        agent = ScriptedAgent(failure=(grpc.StatusCode.INTERNAL, "nothing works here"))
        self.serve(agent)
        rum = self.forward()
        rum.waits_for("nothing works here")
        before = len(agent.calls)
        time.sleep(2)
        # A ping, a heartbeat and a stream for each attempt; an attempt each 125 to 250 ms.
        self.assertLess(len(agent.calls) - before, 60)
        self.assertEqual(sum("nothing works here" in line for line in rum.lines), 1)


if __name__ == "__main__":
    unittest.main()
