"""The checks of vsock-test.py. Each takes the guest and returns a note; what it finds wrong is a Failure."""
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time

from harness import Failure, Program, TooLate, check, is_refused, within
from rig import as_user, connect, error_of, rest, vsock

# The guest's tmpfs holds it, and its length is no multiple of any buffer's: a lost or doubled piece shows.
CONTENT, CONTENT_SIZE = "content", 1_000_003
TIMES = 100
# Seconds for what must happen at all, in a guest that is emulated twice over on a machine shared with others.
PATIENCE = 40


def soon(what, condition):
    return within(PATIENCE, what, condition)


# MARK: The mission


def comes_up(guest):
    guest.start_up().said("is ready", timeout=120)
    return f"CID {guest.cid()}"


def has_no_ipv6(guest):
    said = guest.guest("ls /proc/net").split()
    check("tcp" in said and "tcp6" not in said, f"/proc/net has {said}")


def push_is(guest, level):
    """The best of what the guest's kernel has, and nothing that is missing."""
    def agent():
        return json.loads(guest.run("status", "--json").stdout)["agent"]

    # Programs are set up while the agent serves already.
    soon(f"push {level}, which is {agent()}", lambda: agent()["push"] == level)
    said = agent()
    check(said.get("degraded") is None, said)
    check(level != "bpf" or said.get("push_reason") is None, said)


def others_wake_nobody(guest):
    """The programs leave out listeners of other network namespaces before anybody is woken."""
    count = 40
    listened, wakes = guest.guest(f"""
        wakes() {{
            for task in /proc/$(pidof rum-agent)/task/*; do
                ! grep -q listen-watch $task/comm || grep ^voluntary_ctxt $task/status | tr -dc 0-9
            done
        }}
        before=$(wakes)
        unshare -n sh -c '/test-peer listen 5300 {count} 20 >/dev/null & sleep 2; grep -c " 0A " /proc/net/tcp; kill $!'
        echo $(($(wakes) - before))""").split()
    check(int(listened) == count, f"{listened} of {count} listened")
    # One each 15 s is the watcher's own.
    check(int(wakes) < count / 4, f"{wakes} wake-ups during {count} listeners of another network namespace")
    return f"{wakes} wake-ups during {count} listens and closes"


def opens_at_once(guest):
    count = 12
    start = guest.up.mark()
    program = guest.guest_program("/test-peer", "listen", "5100", str(count), "150")
    ports = range(5100, 5100 + count)
    soon("all open", lambda: all(guest.up.is_open(port) for port in ports))
    latencies = [event["latency_us"] for _, event in guest.up.named("opened", start) if event["host_port"] in ports]
    for port in ports:
        connect(port).close()
    program.end()
    check(len(latencies) == count and None not in latencies, f"latencies {latencies}")
    soon("all closed", lambda: not any(guest.up.is_open(port) for port in ports))
    check(all(is_refused(port) for port in ports), "a closed port still accepts")
    low, middle, high = min(latencies), statistics.median(latencies), max(latencies)
    if middle >= 500_000:
        raise TooLate(f"median {middle} µs, limit 500 ms")
    return f"listen to open, {count} times: median {middle / 1000:.1f} ms, from {low / 1000:.1f} to {high / 1000:.1f}"


def half_close(guest):
    program = guest.serve(5001, "/test-peer", "sink", "5001", "/content")

    def ask():
        start = time.monotonic()
        with connect(5001) as client, open(CONTENT, "rb") as content:
            client.sendall(content.read(5))
            client.shutdown(socket.SHUT_WR)
            answer = rest(client)
        check(answer == b"5 bytes, same", answer)
        return (time.monotonic() - start) * 1000

    try:
        for _ in range(20):
            ask()
        # In both cases the guest has come to rest. The host closes a tunnel that it has kept for a second.
        kept = [time.sleep(0.5) or ask() for _ in range(8)]
        new = [time.sleep(1.3) or ask() for _ in range(8)]
    finally:
        program.end()
    soon("the port closed", lambda: is_refused(5001))
    return (f"there and back in {statistics.median(kept):.1f} ms through a tunnel that was there, "
            f"in {statistics.median(new):.1f} ms through a new one")


def bulk(guest, direction):
    if direction == "push":
        program = guest.serve(5002, "/test-peer", "sink", "5002", "/content")
        command = ["./test-peer", "push", "5002", CONTENT, str(TIMES)]
    else:
        program = guest.serve(5002, "/test-peer", "source", "5002", "/content", str(TIMES))
        command = ["./test-peer", "pull", "5002", CONTENT]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=90).stdout.strip()
    finally:
        program.end()
    check(done.endswith(f"{TIMES * CONTENT_SIZE} bytes, same"), done)
    soon("the port closed", lambda: is_refused(5002))
    return done


def end_of(port, host="127.0.0.1"):
    """How a connection ends to which nothing is said. It may end before connect(2) has returned, which then fails."""
    def ask():
        with connect(port, host) as client:
            client.recv(1)
            return client
    return error_of(ask)


def refusal(guest):
    seen = end_of(7007)
    check(seen == "ECONNRESET", f"the client saw {seen}")


def client_resets(guest):
    program = guest.serve(5003, "/test-peer", "hold", "5003")
    try:
        client = connect(5003)
        client.sendall(b"x")
        program.said("read 1 bytes", timeout=PATIENCE)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        return "the server sees " + program.said("ended: ", timeout=PATIENCE)[1].removeprefix("ended: ")
    finally:
        program.end()


def server_resets(guest):
    program = guest.serve(5004, "/test-peer", "reset", "5004")
    try:
        with connect(5004) as client:
            client.sendall(b"x")
            seen = error_of(lambda: client.recv(1) and client)
        check(seen == "ECONNRESET", f"the client saw {seen}")
    finally:
        program.end()


# MARK: Who may talk to the agent


def other_peers(guest, loads_modules):
    """Only the host: a program in the guest itself, or another guest, gets nothing."""
    loopback = "vsock_loopback is loaded"
    try:
        guest.guest("modprobe vsock_loopback")
    except Failure:
        loopback = "there is no vsock_loopback"
    seen = []
    for cid in (1, guest.cid()):
        for port in (2222, 2223):
            said = guest.guest(f"/test-peer knock {cid}:{port} 2>&1 || true")
            check("answered" not in said and said, f"{cid}:{port} {said}")
            seen.append(f"{cid}:{port} {said}")
    if loads_modules:
        check(any("closed" in line for line in seen), f"no connection came about: {seen}")
    return f"{loopback}; " + ", ".join(seen)


def token_file(guest):
    return os.path.join(guest.folder, "token")


def token_of(guest):
    with open(token_file(guest), encoding="utf-8") as file:
        return bytes.fromhex(file.read())


def wrong_token(guest):
    """The forward port and the RPC port each ask for it."""
    def answer(token):
        with vsock(guest.cid(), 2223) as tunnel:
            tunnel.sendall(token + (5050).to_bytes(2, "big"))
            return tunnel.recv(1)

    right = token_of(guest)
    check(answer(right) == b"\0", "the right one is refused")
    for token in (bytes(32), right[:-1] + bytes([right[-1] ^ 1])):
        check(answer(token) == b"\3", f"answer {answer(token)}")
    with open("wrong-token", "w", encoding="utf-8") as file:
        file.write("00" * 32)
    forward = forwarder(guest, guest.cid(), "wrong-token")
    try:
        _, said = forward.said("refuses the token", timeout=PATIENCE)
        check(forward.wait(20) == 1, f"code {forward.process.returncode}")
        return said
    finally:
        forward.end()


def other_user(guest):
    """Every user of this host may open AF_VSOCK to a guest. Without the token, which they can't read, that is all."""
    cid, other = guest.cid(), 65534

    def forward_port():
        with vsock(cid, 2223) as tunnel:
            tunnel.sendall(bytes(32) + (5050).to_bytes(2, "big"))
            return f"answer {tunnel.recv(1)}, then {rest(tunnel)}"

    def rpc_port():
        with vsock(cid, 2222) as channel:
            channel.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\4" + bytes(5))
            rest(channel)
            return "ended by the agent"

    seen = as_user(other, lambda: error_of(open, token_file(guest)))
    check(seen == "EACCES", f"the token's file: {seen}")
    seen = as_user(other, forward_port)
    check(seen == f"answer {bytes([3])}, then {b''}", f"the forward port: {seen}")
    seen = as_user(other, rpc_port)
    check(seen == "ended by the agent", f"the RPC port: {seen}")
    return "the token's file is closed to it, the forward port answers 3, the RPC port ends"


# MARK: What can't be reached


def forwarder(guest, cid, token, *more, auto="5000-6000"):
    """A `rum forward`, of the same program as the guest's `rum up`, to the guest with that address."""
    return Program([
        guest.rum_program, "forward", "--agent", f"vsock:{cid}", "--auto", auto, "--bind", "127.0.0.2",
        "--token-file", token, *more])


def forward_says(guest, cid, text):
    forward = forwarder(guest, cid, token_file(guest))
    try:
        return forward.said(text, timeout=PATIENCE)[1]
    finally:
        forward.end()


def wrong_cid(guest):
    nobody = guest.cid() + 96
    seen = error_of(vsock, nobody, 2222)
    check(seen == "ENODEV", f"connect says {seen}")
    return forward_says(guest, nobody, "no guest has this address")


def standing_still(guest):
    """Its kernel answers no connect: that takes the connect's own time-out of 2 s."""
    cid = guest.cid()
    guest.virsh("suspend", guest.domain)
    try:
        seen = error_of(vsock, cid, 2222)
        check(seen == "ETIMEDOUT", f"connect says {seen}")
        said = forward_says(guest, cid, "no answer in time")
    finally:
        guest.virsh("resume", guest.domain)
    soon("port 5050 open", lambda: guest.up.is_open(5050))
    half_close_of(5050)
    return said


def agent_away_and_back(guest):
    """The agent is killed and cannot start for a while: nobody listens, and then all is back."""
    cid = guest.cid()
    seen = error_of(vsock, cid, 2299)
    check(seen == "ECONNRESET", f"connect to a port without a listener says {seen}")
    start = guest.up.mark()
    agent = "/opt/rum/rum-agent"
    guest.guest_in_background(
        f"sleep 0.5; mv {agent} {agent}.away; killall -9 rum-agent; timeout 30 /test-peer once 0:4000; "
        f"mv {agent}.away {agent}")
    guest.up.event("agent_lost", since=start, timeout=PATIENCE)
    said = forward_says(guest, cid, "nobody listens there")
    vsock(cid, 4000).close()
    guest.up.event("agent_back", since=start, timeout=PATIENCE)
    soon("port 5050 open", lambda: guest.up.is_open(5050))
    half_close_of(5050)
    return said


def half_close_of(port, host="127.0.0.1"):
    with connect(port, host) as client:
        client.shutdown(socket.SHUT_WR)
        answer = rest(client)
    check(answer == b"0 bytes, same", answer)


def agent_killed(guest):
    start = guest.up.mark()
    guest.guest_in_background("sleep 0.5; killall -9 rum-agent")
    # A heartbeat that the check before held up may be told as a loss first.
    reason = "the agent was started again"
    back = soon(
        reason, lambda: next((e for _, e in guest.up.named("agent_back", start) if e["reason"] == reason), None))
    lost = [e for _, e in guest.up.named("agent_lost", start) if e["time_us"] < back["time_us"]][-1]
    without = (back["time_us"] - lost["time_us"]) / 1e6
    soon("port 5050 open", lambda: guest.up.is_open(5050))
    closed = 5050 in guest.up.ports("closed", start)
    # The grace of automatic forwards is 5 s; a busy machine may take longer to start the agent.
    check(without > 5 or not closed, f"5050 was closed although the agent was back after {without:.1f} s")
    half_close_of(5050)
    return f"{without:.1f} s without an agent; {back['reason']}"


def rebooted(guest):
    start, cid = guest.up.mark(), guest.cid()
    guest.guest_in_background("sleep 0.5; reboot -f")
    _, lost = guest.up.event("agent_lost", since=start, timeout=PATIENCE)
    _, back = guest.up.event("agent_back", since=start, timeout=90)
    check(back["reason"] == "the guest was rebooted", back["reason"])
    soon("port 5050 open again", lambda: guest.up.is_open(5050))
    opened = [e for _, e in guest.up.named("opened", start) if e["host_port"] == 5050][-1]
    half_close_of(5050)
    check(guest.cid() == cid, f"it has another CID, {guest.cid()} instead of {cid}")
    return (f"boot took {(back['time_us'] - lost['time_us']) / 1e6:.1f} s, 5050 open "
            f"{(opened['time_us'] - back['time_us']) / 1e6:.2f} s after the agent was back")


def leave_forwarder(guest):
    """One that outlives its machine, with a connection to the agent."""
    leftover = forwarder(
        guest, guest.cid(), token_file(guest), "--port", "127.0.0.3:7050:5050", auto="5051-5051")
    leftover.said("Auto-forwarding 127.0.0.2:5051", timeout=PATIENCE)
    half_close_of(7050, "127.0.0.3")
    guest.leftover = leftover
    guest.last_cid = guest.cid()


def down(guest):
    done = guest.run("down")
    check(done.returncode == 0, done.stderr)
    check(guest.up.wait(10) == 0, guest.up.last_words())
    check(is_refused(7007), "a forward is left")


def reused_cid(first, second):
    """What was forwarded to the first machine must not reach the second under the same CID."""
    leftover = first.leftover
    leftover.said("Lost the guest's agent", timeout=PATIENCE)
    comes_up(second)
    check(second.cid() == first.last_cid, f"it got CID {second.cid()}")
    soon("port 5050 open", lambda: second.up.is_open(5050))
    half_close_of(5050)
    seen = end_of(7050, "127.0.0.3")
    check(seen == "ECONNRESET", f"the client of the static forward saw {seen}")
    check(error_of(socket.create_connection, ("127.0.0.2", 5051), 20) == "ECONNREFUSED", "5051 is forwarded")
    leftover.end()
    return f"CID {first.last_cid} again; {leftover.lines[-1][1]}"


# MARK: A guest whose kernel has no driver for vsock, which the host has


def falls_back(guest):
    up = guest.start_up()
    told, _ = up.said("the guest's kernel has no vsock; its agent is reached by tcp", timeout=120)
    ready, _ = up.said("is ready", timeout=60)
    soon("port 5050 open", lambda: up.is_open(5050))
    half_close_of(5050)
    channel = "tcp through the user network, since the guest's kernel has no vsock"
    status = guest.run("status").stdout
    check(channel in status, status)
    check("vsock" not in guest.guest("ls /sys/bus/virtio/drivers"), "it has a driver")
    return f"the agent answers {ready - told:.1f} s after that is told; rum status: {channel}"


def rebooted_without_vsock(guest):
    start = guest.up.mark()
    guest.guest_in_background("sleep 0.5; reboot -f")
    guest.up.event("agent_lost", since=start, timeout=PATIENCE)
    _, back = guest.up.event("agent_back", since=start, timeout=90)
    soon("port 5050 open again", lambda: guest.up.is_open(5050))
    half_close_of(5050)
    return back["reason"]


def asks_for_vsock(guest):
    said = guest.start_up().said("has no vsock, and rum.toml allows no other channel", timeout=120)[1]
    guest.up.end()
    return said


def destroyed(*guests):
    for guest in guests:
        if not guest.up:
            continue
        done = guest.run("destroy")
        check(done.returncode == 0, done.stderr)
        check(not os.path.exists(guest.folder), f"files of {guest.name} are left")
        left = guest.virsh("list", "--all", "--name")
        check(guest.domain not in left.split(), left)


# MARK: Speed


def speeds(guest):
    """Bytes over vsock by rum, by socat and by hand, in turns."""
    times = 4
    cid = guest.cid()
    ways = {"raw vsock": f"{cid}:{{0}}", "rum": "{0}", "socat": "{1}"}
    programs = []

    def guest_runs(*command):
        programs.append(guest.guest_program(*command))

    for number, (verb, *extra) in enumerate((("sink",), ("source", str(times)))):
        guest_runs("/test-peer", verb, f"0:{5200 + number}", "/content", *extra)
        programs.append(guest.serve(5200 + number, "/test-peer", verb, str(5200 + number), "/content", *extra))
        if os.path.exists("overlay" + (shutil.which("socat") or "/none")):
            guest_runs(
                shutil.which("socat"), "-b", "262144", f"VSOCK-LISTEN:{3000 + number},fork",
                f"TCP4:127.0.0.1:{5200 + number}")
            programs.append(Program([
                "socat", "-b", "262144", f"TCP4-LISTEN:{7200 + number},bind=127.0.0.1,reuseaddr,fork",
                f"VSOCK-CONNECT:{cid}:{3000 + number}"]))
        else:
            ways.pop("socat", None)
    rates = {(way, verb): [] for way in ways for verb in ("push", "pull")}
    try:
        soon("everybody listens", lambda: error_of(vsock, cid, 5201) == "no error")
        if "socat" in ways:
            soon("socat listens", lambda: error_of(vsock, cid, 3001) == "no error" and not is_refused(7201))
        for _ in range(3):
            for way, address in ways.items():
                for number, verb in enumerate(("push", "pull")):
                    command = ["./test-peer", verb, address.format(5200 + number, 7200 + number), CONTENT]
                    if verb == "push":
                        command.append(str(times))
                    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
                    check(said.strip().endswith(f"{times * CONTENT_SIZE} bytes, same"), said)
                    rates[way, verb].append(float(said.split()[0]))
    finally:
        for program in programs:
            program.end()
    medians = {key: statistics.median(values) for key, values in rates.items()}
    print("| over vsock | to the guest | of raw | from the guest | of raw |\n|---|---|---|---|---|")
    for way in ways:
        push, pull = medians[way, "push"], medians[way, "pull"]
        raw_push, raw_pull = medians["raw vsock", "push"], medians["raw vsock", "pull"]
        print(f"| {way} | {push:.0f} MB/s | {push / raw_push:.2f} | {pull:.0f} MB/s | {pull / raw_pull:.2f} |")
    sys.stdout.flush()
