"""Ports by name, through the programs that users get: curl, TLS, websockets, HTTP/2, gRPC and a browser.

Two machines share the router: `dev`, whose process has its port most times, and `shop`, which is handed its clients.
"""

import hashlib
import os
import shutil
import socket
import subprocess
import threading
import time
import unittest

import grpc

import servers
from support import Case, eventually, listen

ROUTER = 7000
WEB, OTHER_WEB, TLS, HTTP2, GRPC = 5001, 5002, 5443, 5080, 5051
# Host ports, which nobody needs here: each machine's are its own.
HOST_PORTS = {"dev": 18000, "shop": 28000}
NOBODY = 65534


def curl(*arguments, check=True):
    """Body and status of a request; names under localhost are known to curl."""
    done = subprocess.run(["curl", "-sS", "--max-time", "20", "-w", "\n%{http_code} %{http_version}", *arguments],
                          capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise AssertionError(f"curl {arguments}: {done.returncode} {done.stderr}")
    return (done.returncode, done.stderr) if done.returncode else tuple(done.stdout.rsplit("\n", 1))


def raw(head, port=ROUTER, within=10):
    """All that comes back for some bytes; None for a reset."""
    with socket.create_connection(("127.0.0.1", port), timeout=within) as client:
        data = b""
        try:
            client.sendall(head)
            while chunk := client.recv(65536):
                data += chunk
        except (BrokenPipeError, ConnectionResetError):
            return None
        return data


class Names(Case):
    def setUp(self):
        super().setUp()
        self.agent = self.start("rum-agent", "--listen", f"unix:{self.folder}")
        eventually("the agent", lambda: os.path.exists(self.folder + "/2223.sock"))

    def forward(self, machine, *ports, env=None):
        base = HOST_PORTS[machine]
        words = [word for port in ports for word in ("--port", f"{base + port % 10000}:{port}")]
        program = self.start("rum", "forward", "--agent", f"unix:{self.folder}", "--name", machine, *words,
                             env={"RUM_HOME": self.folder} | (env or {}))
        program.waits_for("Forwarding")
        return program

    def two(self, *ports):
        """dev has the router's port, and shop its clients from it."""
        dev = self.forward("dev", *ports)
        dev.waits_for("By name: http://PORT.dev.localhost:7000/")
        shop = self.forward("shop", *ports)
        shop.waits_for("By name: http://PORT.shop.localhost:7000/")
        return dev, shop

    def serve(self, server):
        self.addCleanup(server.close)
        return server


class Pages(Names):
    def test_what_there_is(self):
        self.serve(servers.web(WEB))
        self.two(WEB)
        body, status = curl(f"http://dev.localhost:{ROUTER}/")
        self.assertEqual(status, "200 1.1")
        self.assertIn(f'href="http://{WEB}.dev.localhost:{ROUTER}/"', body)
        body, status = curl(f"http://shop.localhost:{ROUTER}/")
        self.assertEqual(status, "200 1.1")
        self.assertIn(f"127.0.0.1:{HOST_PORTS['shop'] + WEB}", body)
        for host in ("localhost", "127.0.0.1", "[::1]"):
            body, status = curl("-g", f"http://{host}:{ROUTER}/")
            self.assertEqual(status, "200 1.1")
            self.assertTrue("http://dev.localhost:7000/" in body and "http://shop.localhost:7000/" in body, body)

    def test_what_there_is_not(self):
        self.two(WEB)
        body, status = curl(f"http://4999.dev.localhost:{ROUTER}/")
        self.assertEqual(status, "404 1.1")
        self.assertIn(f"http://{WEB}.dev.localhost", body)
        body, status = curl(f"http://4999.shop.localhost:{ROUTER}/x?<script>")
        self.assertEqual(status, "404 1.1")
        # While others may still join, who asks for a machine that is not there is reset.
        gone = f"http://{WEB}.gone.localhost:{ROUTER}/"
        eventually("all have joined", lambda: curl(gone, check=False)[1] == "404 1.1")
        body, status = curl(gone)
        self.assertIn("http://shop.localhost:7000/", body)
        # HTTP/2 and HEAD have it too.
        body, status = curl("--http2-prior-knowledge", f"http://4999.dev.localhost:{ROUTER}/")
        self.assertEqual(status, "404 2")
        self.assertIn("Not there", body)
        self.assertEqual(curl("--head", f"http://dev.localhost:{ROUTER}/")[1], "200 1.1")

    def test_another_sites_name_leads_nowhere(self):
        """DNS rebinding: the browser believes that evil.example is at 127.0.0.1, and asks with that name."""
        self.serve(servers.web(WEB))
        self.two(WEB)
        for host in ("evil.example", f"{WEB}.dev.localhost.evil.example", "127.0.0.2", "dev"):
            body, status = curl("-H", f"Host: {host}:{ROUTER}", f"http://127.0.0.1:{ROUTER}/")
            self.assertEqual(status, "421 1.1", host)
            for word in ("dev.localhost", "shop", str(WEB)):
                self.assertNotIn(word, body, host)
        self.assertIn(b" 400 ", raw(b"GET / HTTP/1.0\r\n\r\n"))

    def test_other_users_get_nothing(self):
        if os.geteuid() != 0:
            self.skipTest("needs a second user")
        self.serve(servers.web(WEB))
        self.two(WEB)
        code = ("import socket, sys\nc = socket.create_connection(('127.0.0.1', 7000), timeout=10)\n"
                "c.sendall(f'GET / HTTP/1.1\\r\\nHost: {sys.argv[1]}\\r\\n\\r\\n'.encode())\n"
                "try:\n print(len(c.recv(1000)))\nexcept ConnectionResetError:\n print('reset')\n")
        for host in ("localhost", "dev.localhost", f"{WEB}.dev.localhost", f"{WEB}.shop.localhost", "gone.localhost"):
            answers = [subprocess.run(["python3", "-c", code, host], user=user, capture_output=True, text=True,
                                      check=True).stdout.strip() for user in (None, NOBODY)]
            self.assertTrue(answers[0].isdigit() and int(answers[0]) > 0, (host, answers))
            self.assertEqual(answers[1], "reset", host)


class Traffic(Names):
    def test_http(self):
        self.serve(servers.web(WEB, page="the first"))
        self.serve(servers.web(OTHER_WEB, page="the second"))
        self.two(WEB, OTHER_WEB)
        for machine in ("dev", "shop"):
            for port, page in ((WEB, "the first"), (OTHER_WEB, "the second")):
                self.assertEqual(curl(f"http://{port}.{machine}.localhost:{ROUTER}/")[0], page)
            # By the host's port too, and over IPv6.
            self.assertEqual(curl(f"http://{HOST_PORTS[machine] + WEB}.{machine}.localhost:{ROUTER}/")[0], "the first")
            self.assertEqual(curl("-6", f"http://{WEB}.{machine}.localhost:{ROUTER}/")[0], "the first")

    def test_every_byte_arrives(self):
        self.serve(servers.web(WEB))
        self.two(WEB)
        data = os.urandom(20 << 20)
        body = self.folder + "/body"
        with open(body, "wb") as file:
            file.write(data)
        for machine in ("dev", "shop"):
            answer = self.folder + "/answer"
            curl("-o", answer, "--data-binary", f"@{body}", f"http://{WEB}.{machine}.localhost:{ROUTER}/")
            with open(answer, "rb") as file:
                self.assertEqual(hashlib.sha256(file.read()).digest(), hashlib.sha256(data).digest())

    def test_a_byte_at_a_time(self):
        """In as many pieces as are looked at; all of it has 2 s."""
        self.serve(servers.web(WEB, page="slowly"))
        self.two(WEB)
        for machine in ("dev", "shop"):
            with socket.create_connection(("127.0.0.1", ROUTER), timeout=10) as client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for byte in f"GET / HTTP/1.1\r\nHost: {WEB}.{machine}.localhost\r\n".encode():
                    client.send(bytes([byte]))
                    time.sleep(0.005)
                client.sendall(b"Connection: close\r\n\r\n")
                answer = b"".join(iter(lambda client=client: client.recv(4096), b""))
                self.assertTrue(answer.endswith(b"slowly"), answer)

    def test_tls_by_server_name(self):
        key, cert = self.folder + "/key", self.folder + "/cert"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", key, "-out", cert, "-subj", "/CN=localhost", "-days", "2"],
                       check=True, capture_output=True)
        server = subprocess.Popen(["openssl", "s_server", "-accept", f"127.0.0.1:{TLS}", "-key", key, "-cert", cert,
                                   "-www", "-quiet"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        self.two(TLS)
        eventually("the server", lambda: socket.socket().connect_ex(("127.0.0.1", TLS)) == 0)
        for machine in ("dev", "shop"):
            body, _ = curl("-k", f"https://{TLS}.{machine}.localhost:{ROUTER}/")
            self.assertIn("s_server", body)
            # The certificate is the server's own: nobody has opened the connection.
            code, error = curl(f"https://{TLS}.{machine}.localhost:{ROUTER}/", check=False)
            self.assertEqual(code, 60, error)
        code, error = curl("-k", f"https://{TLS}.gone.localhost:{ROUTER}/", check=False)
        self.assertEqual(code, 35)
        self.assertIn("unrecognized name", error)

    @unittest.skipUnless(shutil.which("nghttpd"), "needs nghttpd")
    def test_http2_by_prior_knowledge(self):
        with open(self.folder + "/index.html", "w", encoding="ascii") as file:
            file.write("over HTTP/2")
        server = subprocess.Popen(["nghttpd", "--no-tls", "-a", "127.0.0.1", "-d", self.folder, str(HTTP2)],
                                  stdout=subprocess.DEVNULL)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        self.two(HTTP2)
        eventually("the server", lambda: socket.socket().connect_ex(("127.0.0.1", HTTP2)) == 0)
        for machine in ("dev", "shop"):
            url = f"http://{HTTP2}.{machine}.localhost:{ROUTER}/index.html"
            self.assertEqual(curl("--http2-prior-knowledge", url), ("over HTTP/2", "200 2"))
            # One that waits for settings before it asks; an acknowledgement too many, and nghttpd ends the connection.
            self.assertIn(b"over HTTP/2", patient_request(f"{HTTP2}.{machine}.localhost"))

    def test_grpc(self):
        server = servers.grpc_echo(GRPC)
        self.addCleanup(server.stop, None)
        self.two(GRPC)
        for machine in ("dev", "shop"):
            authority = ("grpc.default_authority", f"{GRPC}.{machine}.localhost:{ROUTER}")
            with grpc.insecure_channel(f"ipv4:127.0.0.1:{ROUTER}", options=[authority]) as channel:
                unary = channel.unary_unary("/echo/Unary")
                self.assertEqual(unary(b"x" * 100_000, timeout=20), b"x" * 100_000)
                stream = channel.stream_stream("/echo/Stream")
                sent = [bytes([number]) * 1000 for number in range(200)]
                self.assertEqual(list(stream(iter(sent), timeout=20)), sent)


def patient_request(authority):
    """An HTTP/2 request of a client that says nothing after its settings until it has the server's."""
    def frame(kind, flags, stream, payload=b""):
        return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    with socket.create_connection(("127.0.0.1", ROUTER), timeout=10) as client:
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))
        first = client.recv(9)
        assert first[3] == 4 and not first[4] & 1, first
        name = authority.encode()
        # GET, http and the path from the static table; the authority as it is.
        block = b"\x82\x86\x04\x0b/index.html\x41" + bytes([len(name)]) + name
        client.sendall(frame(4, 1, 0) + frame(1, 5, 1, block))
        data = b""
        while b"over HTTP/2" not in data:
            chunk = client.recv(65536)
            if not chunk:
                break
            data += chunk
        # The server's own settings are acknowledged by and by; it has no reason to leave.
        client.sendall(frame(4, 1, 0) + frame(6, 0, 0, b"12345678"))
        while b"12345678" not in data:
            data += client.recv(65536) or b"12345678 the server has left"
        assert b"left" not in data, data
        return data


class Sharing(Names):
    def test_another_takes_over(self):
        self.serve(servers.web(WEB, page="here"))
        dev, shop = self.two(WEB)
        dev.stop()
        eventually("shop takes over", lambda: curl(f"http://{WEB}.shop.localhost:{ROUTER}/", check=False)[0] == "here")
        eventually("dev is gone", lambda: curl(f"http://{WEB}.dev.localhost:{ROUTER}/", check=False)[1] == "404 1.1")
        again = self.forward("dev", WEB)
        again.waits_for("By name")
        self.assertEqual(curl(f"http://{WEB}.dev.localhost:{ROUTER}/")[0], "here")
        shop.stop(9)
        eventually("dev takes over", lambda: curl(f"http://{WEB}.dev.localhost:{ROUTER}/", check=False)[0] == "here")

    def test_a_name_is_one_machines(self):
        self.serve(servers.web(WEB, page="the first"))
        self.two(WEB)
        rival = self.start("rum", "forward", "--agent", f"unix:{self.folder}", "--name", "Dev", "--port",
                           f"18999:{WEB}", env={"RUM_HOME": self.folder})
        rival.waits_for("No names: another process forwards a machine called Dev")
        self.assertEqual(curl(f"http://{WEB}.dev.localhost:{ROUTER}/")[0], "the first")
        self.assertEqual(curl("http://127.0.0.1:18999/")[0], "the first")

    def test_a_busy_port_is_told_and_taken_when_it_is_free(self):
        holder = listen(ROUTER)
        self.addCleanup(holder.close)
        dev = self.forward("dev", WEB)
        line = dev.waits_for("No names: localhost:7000 is held by ")
        self.assertIn(f"(pid {os.getpid()})", line)
        shop = self.forward("shop", WEB)
        holder.close()
        dev.waits_for("By name")
        shop.waits_for("By name")
        self.assertEqual(sum("No names" in text for text in dev.lines + shop.lines), 1)

    def test_off_and_other_ports(self):
        self.serve(servers.web(WEB, page="here"))
        off = self.forward("dev", WEB, env={"RUM_ROUTER_PORT": "off"})
        time.sleep(0.5)
        self.assertNotEqual(socket.socket().connect_ex(("127.0.0.1", ROUTER)), 0)
        self.assertFalse(any("name" in line.lower() for line in off.lines), off.lines)
        shop = self.forward("shop", WEB, env={"RUM_ROUTER_PORT": "80,7443"})
        shop.waits_for("By name: http://PORT.shop.localhost/ ")
        self.assertEqual(curl(f"http://{WEB}.shop.localhost/")[0], "here")
        self.assertEqual(curl(f"http://{WEB}.shop.localhost:7443/")[0], "here")

    def test_a_blocked_port_has_its_name(self):
        """The agent sees this very network: each port that listens is taken on the host, by the guest's own server."""
        self.serve(servers.web(WEB, page="by name"))
        dev = self.start("rum", "forward", "--agent", f"unix:{self.folder}", "--name", "dev", "--auto", "5000-5099",
                         env={"RUM_HOME": self.folder})
        dev.waits_for(f"Blocked: 127.0.0.1:{WEB} is held by python")
        dev.waits_for("By name")
        self.assertEqual(curl(f"http://{WEB}.dev.localhost:{ROUTER}/")[0], "by name")


class Strangers(Names):
    def test_silence_takes_no_place(self):
        """Clients that say nothing, too little or nonsense are few and end soon; others are served meanwhile."""
        self.serve(servers.web(WEB, page="served"))
        self.two(WEB)
        clients = []
        for number in range(600):
            client = socket.create_connection(("127.0.0.1", ROUTER), timeout=20)
            self.addCleanup(client.close)
            if number % 3:
                client.sendall([b"", b"GET / HTTP/1.1\r\nX: ", b"\x16\x03\x01\x02\x00"][number % 3])
            clients.append(client)
        for machine in ("dev", "shop"):
            self.assertEqual(curl(f"http://{WEB}.{machine}.localhost:{ROUTER}/")[0], "served")
        deadline = time.monotonic() + 15

        def over(client):
            client.settimeout(max(0.1, deadline - time.monotonic()))
            try:
                return client.recv(1) == b""
            except ConnectionResetError:
                return True
            except TimeoutError:
                return False

        self.assertEqual([number for number, client in enumerate(clients) if not over(client)], [])

    def test_nonsense_is_reset(self):
        self.two(WEB)
        self.assertIsNone(raw(b"\0\0\0\x08\x04\xd2\x16\x2f"))
        self.assertIsNone(raw(b"SSH-2.0-OpenSSH_9.2\r\n"))
        self.assertIsNone(raw(b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000))
        self.assertIsNone(raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100))

    def test_many_at_once(self):
        self.serve(servers.web(WEB, page="here"))
        self.two(WEB)
        failed = []

        def ask(machine):
            for _ in range(25):
                answer = raw(f"GET / HTTP/1.1\r\nHost: {WEB}.{machine}.localhost\r\nConnection: close\r\n\r\n".encode())
                if not answer or not answer.endswith(b"here"):
                    failed.append(answer)

        threads = [threading.Thread(target=ask, args=(machine,)) for machine in ("dev", "shop") * 8]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failed, [])


@unittest.skipUnless(shutil.which("chromium"), "needs chromium")
class Browser(Names):
    def open(self, url):
        """The page as the browser has it in the end."""
        done = subprocess.run(
            ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage",
             f"--user-data-dir={self.folder}/profile", "--dump-dom", url],
            capture_output=True, text=True, timeout=180, check=False)
        return done.stdout

    def test_a_page_with_a_websocket(self):
        self.serve(servers.web(WEB))
        self.two(WEB)
        for machine in ("dev", "shop"):
            page = self.open(f"http://{WEB}.{machine}.localhost:{ROUTER}/")
            self.assertIn("<title>got over a websocket</title>", page)
            self.assertIn(f"http://{WEB}.{machine}.localhost:{ROUTER} secure:true", page)

    def test_the_list(self):
        self.two(WEB)
        page = self.open(f"http://dev.localhost:{ROUTER}/")
        self.assertIn(f'<a href="http://{WEB}.dev.localhost:{ROUTER}/">', page)


if __name__ == "__main__":
    unittest.main()
