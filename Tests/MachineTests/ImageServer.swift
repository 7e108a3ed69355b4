import Foundation
import TestSupport

/// A web server on the loopback address that serves a folder, with ranges, and misbehaves on request.
///
/// `/cut/N/FILE` announces all of FILE and sends N bytes of it, to a request without a range; `/slow/FILE` waits for
/// a file `go` in the folder; `/plain/FILE` knows no ranges. The requests are in `log`, one a line: path, and the range if there is one.
final class ImageServer: Sendable {
    let base: String
    let log: String
    /// The server ends when this does.
    private let life = Pipe()

    init(_ folder: TestFolder) throws {
        log = try folder.file("requests.log")
        let script = try folder.file("server.py", Self.program)
        let process = Process()
        let output = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["python3", script, folder.path, log]
        process.standardInput = life
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let line = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
        base = "http://127.0.0.1:\(line.trimmingCharacters(in: .whitespacesAndNewlines))"
    }

    deinit { try? life.fileHandleForWriting.close() }

    func requests() throws -> [String] { try readText(log).split(separator: "\n").map(String.init) }

    private static let program = """
        import http.server, os, sys, threading, time
        folder, log = sys.argv[1:]

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                wanted = self.headers.get("Range")
                with open(log, "a") as file:
                    file.write(self.path + (" " + wanted if wanted else "") + "\\n")
                parts = self.path.lstrip("/").split("/")
                cut, plain = None, False
                if parts[0] == "cut":
                    cut, parts = int(parts[1]), parts[2:]
                elif parts[0] == "slow":
                    while not os.path.exists(os.path.join(folder, "go")):
                        time.sleep(0.01)
                    parts = parts[1:]
                elif parts[0] == "plain":
                    plain, parts = True, parts[1:]
                path = os.path.join(folder, *parts)
                if not os.path.isfile(path):
                    self.send_error(404)
                    return
                data = open(path, "rb").read()
                if wanted and not plain:
                    start = int(wanted.split("=")[1].split("-")[0])
                    if start >= len(data):
                        self.send_error(416)
                        return
                    self.send_response(206)
                    self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
                    data, cut = data[start:], None
                else:
                    self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data if cut is None else data[:cut])
                if cut is not None:
                    self.wfile.flush()
                    self.close_connection = True

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
        print(server.server_port, flush=True)
        server.serve_forever()
        """
}
