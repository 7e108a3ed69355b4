"""The guest of a soak: listens where it is told, and serves transfers. Reads commands and answers, a line of JSON each.

    {"do": "listen", "port": P, "address": A}     {"do": "close", "port": P}     {"do": "agent"}     {"do": "quit"}
Every connection begins with HEADER; when it has ended, a line tells how, with "whole", "reset", "short" or "wrong":

    {"id": N, "end": "whole"}
"""
import json
import os
import socket
import struct
import subprocess
import sys
import threading

from pattern import HEADER, Pattern, linger

PATTERN = Pattern(int(sys.argv[1]))
AGENT = sys.argv[2:]
OUTPUT = threading.Lock()


def say(**fields):
    with OUTPUT:
        sys.stdout.write(json.dumps(fields) + "\n")
        sys.stdout.flush()


def serve(connection):
    number, end = None, "reset"
    try:
        header = connection.recv(HEADER.size, socket.MSG_WAITALL)
        if len(header) < HEADER.size:
            return
        number, offset, up, down, cut = HEADER.unpack(header)
        got = 0
        while data := connection.recv(1 << 18):
            if data != PATTERN.bytes(offset + got, len(data)):
                end = "wrong"
                return
            got += len(data)
            if cut and got >= cut:
                # As a server that crashes.
                linger(connection)
                return
        if got != up:
            end = "short"
            return
        sent = 0
        while sent < down:
            sent += connection.send(PATTERN.bytes(offset + sent, min(1 << 18, down - sent)))
        connection.sendall(struct.pack(">Q", got))
        end = "whole"
    except OSError:
        end = "reset"
    finally:
        connection.close()
        if number is not None:
            say(id=number, end=end)


def accept(listener):
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def main():
    listeners, agent = {}, None
    say(ready=os.getpid())
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "listen":
            family = socket.AF_INET6 if ":" in command["address"] else socket.AF_INET
            listener = socket.socket(family)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((command["address"], command["port"]))
            listener.listen(128)
            listeners[command["port"]] = listener
            threading.Thread(target=accept, args=(listener,), daemon=True).start()
        elif command["do"] == "close":
            listener = listeners.pop(command["port"])
            # close(2) alone would wait for the thread in accept(2).
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        elif command["do"] == "agent":
            # Whoever ended the one before has waited for its socket to go; this process has to wait for it.
            if agent:
                agent.wait()
            agent = subprocess.Popen(AGENT, stdin=subprocess.DEVNULL)
            say(agent=agent.pid)
            continue
        else:
            break
        say(done=command["do"])
    if agent:
        agent.kill()
        agent.wait()


main()
