"""Servers for the tests of names: a web server with a page and a websocket, and gRPC's own."""

import base64
import concurrent.futures
import hashlib
import http.server
import socketserver
import threading

import grpc

MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

# The browser's title tells what came over the websocket, from the page's own origin. The page is loaded, and printed,
# when its image has come or has not: /wait is answered when the websocket has ended.
PAGE = """<!DOCTYPE html><title>loading</title><p id="origin"></p><script>
document.getElementById("origin").textContent = location.origin + " secure:" + isSecureContext;
const socket = new WebSocket(`ws://${location.host}/echo`);
socket.onopen = () => socket.send("over a websocket");
socket.onmessage = event => { document.title = "got " + event.data; socket.close(); };
socket.onerror = () => { document.title = "failed"; };
</script><img src="/wait" alt="">"""


class Web(http.server.BaseHTTPRequestHandler):
    """GET: the page, a websocket that echoes, or its end. POST: the body again."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, body, content_type="text/html"):
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Host", self.headers["Host"])
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.headers.get("Upgrade", "").lower() == "websocket":
            return self.echo()
        if self.path == "/wait":
            self.echoed.wait(60)
            return self.answer(b"")
        return self.answer(self.server.page.encode())

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])), "application/octet-stream")

    @property
    def echoed(self):
        """Set when a websocket to the same name has ended."""
        return self.server.echoed.setdefault(self.headers["Host"], threading.Event())

    def echo(self):
        """Small text frames, masked as a client's are (RFC 6455, 5.2)."""
        key = self.headers["Sec-WebSocket-Key"] + MAGIC
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.wfile.write(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
        while len(start := self.rfile.read(2)) == 2 and start[0] == 0x81:
            mask = self.rfile.read(4)
            data = bytes(byte ^ mask[index % 4] for index, byte in enumerate(self.rfile.read(start[1] & 0x7f)))
            self.wfile.write(bytes([0x81, len(data)]) + data)
        self.echoed.set()
        self.close_connection = True


class ThreadingServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128


def web(port, page=PAGE):
    """A web server in threads of its own; its `close` ends it."""
    server = ThreadingServer(("127.0.0.1", port), Web)
    server.page, server.echoed = page, {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.close = lambda: (server.shutdown(), server.server_close())
    return server


class Echo(grpc.GenericRpcHandler):
    """/echo/Unary and /echo/Stream: the bytes again, the second each in turn."""

    def service(self, details):
        if details.method == "/echo/Unary":
            return grpc.unary_unary_rpc_method_handler(lambda message, _: message)
        return grpc.stream_stream_rpc_method_handler(lambda messages, _: iter(messages))


def grpc_echo(port):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((Echo(),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server
