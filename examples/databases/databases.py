#!/usr/bin/env python3
"""Starts small key-value databases, each a process that listens on a free port of a range, until Ctrl-C.

A database takes lines: SET key value, GET key, QUIT. The ports are printed, a line each.
"""
import argparse
import os
import random
import signal
import socketserver


class Database(socketserver.StreamRequestHandler):
    """One connection to a database."""

    values = {}

    def handle(self):
        for line in self.rfile:
            words = line.decode().split(maxsplit=2)
            if words[:1] == ["SET"] and len(words) == 3:
                self.values[words[1]] = words[2].rstrip()
                self.wfile.write(b"OK\n")
            elif words[:1] == ["GET"] and len(words) == 2:
                self.wfile.write((self.values.get(words[1], "(none)") + "\n").encode())
            elif words[:1] == ["QUIT"]:
                return
            else:
                self.wfile.write(b"What? SET key value, GET key, QUIT\n")


def server(low, high):
    """A server on a free port from `low` to `high`."""
    for port in random.sample(range(low, high + 1), high - low + 1):
        try:
            return socketserver.ThreadingTCPServer(("127.0.0.1", port), Database)
        except OSError:
            continue
    raise SystemExit(f"no free port from {low} to {high}")


def main():
    """Starts the databases and waits for them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--range", default="5000-6000")
    options = parser.parse_args()
    low, high = (int(port) for port in options.range.split("-"))
    children = []
    for _ in range(options.count):
        database = server(low, high)
        print(database.server_address[1], flush=True)
        child = os.fork()
        if child == 0:
            database.serve_forever()
        database.server_close()
        children.append(child)

    def end(*_):
        for child in children:
            os.kill(child, signal.SIGTERM)
        raise SystemExit(0)

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    for child in children:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
