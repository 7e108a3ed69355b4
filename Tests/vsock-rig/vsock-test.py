"""The product over a real AF_VSOCK: `rum up` on a guest that libvirt gave a CID. Run on a host with /dev/vhost-vsock.

vsock-test.py RIG cloud|tiny: RIG is the folder with the guests; rum, rum-agent.tar.gz and test-peer lie in the current
one. Prints a line a check; exits 1 when one failed. What helps to find out why is then in out/.
"""

import glob
import hashlib
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time

from harness import (
    Checks, Failed, Machine, Program, connect, error_of, eventually, expect, refused, rest, vsock, watchdog)

RIG, KIND = sys.argv[1:3]
KERNEL = f"{RIG}/{KIND}/" + {"cloud": "vmlinuz", "tiny": "vmlinux"}[KIND]
RUM = os.path.abspath("rum")
# The guest's tmpfs holds it, and its length is no multiple of any buffer's: a lost or doubled piece shows.
CONTENT, CONTENT_SIZE = "content", 1_000_003
TIMES = 100


def toml(name):
    return f"""
name = "{name}"
[boot]
kernel = "{KERNEL}"
initrd = "{os.path.abspath("initrd")}"
cmdline = "console=ttyS0 quiet panic=-1 no_timer_check tsc=reliable"
[resources]
cpus = 1
memory_mb = 256
[[ports]]
host = 7007
guest = 7
[auto_ports]
range = "5000-6000"
[ssh]
user = "root"
[advanced]
channel = "vsock"
"""


def pack_guest():
    """The guest's initramfs, with the agent unpacked as a boot before would have left it."""
    os.makedirs("overlay/opt/rum")
    os.makedirs("overlay/etc")
    subprocess.run(["tar", "-xzf", "rum-agent.tar.gz", "-C", "overlay/opt/rum"], check=True)
    with open("rum-agent.tar.gz", "rb") as bundle, open("overlay/opt/rum/bundle.sha256", "w", encoding="utf-8") as file:
        file.write(hashlib.file_digest(bundle, "sha256").hexdigest() + "\n")
    with open(CONTENT, "wb") as file:
        file.write(os.urandom(CONTENT_SIZE))
    shutil.copy(CONTENT, "overlay/content")
    shutil.copy("test-peer", "overlay/test-peer")
    # Services that are there after every boot.
    with open("overlay/etc/rc.local", "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\n/test-peer listen 5051 1 0 &\nexec /test-peer sink 5050 /content >/dev/ttyS0 2>&1\n")
    os.chmod("overlay/etc/rc.local", 0o755)
    socat = shutil.which("socat")
    if socat:
        libraries = subprocess.run(["ldd", socat], check=True, capture_output=True, text=True).stdout
        subprocess.run(
            ["cp", "--parents", "-L", socat, *re.findall(r"/\S+", libraries), "overlay"], check=True)
    # The kernel unpacks one archive after the other.
    shutil.copy(f"{RIG}/{KIND}/initrd", "initrd")
    with open("initrd", "ab") as file:
        subprocess.run("find . | cpio -o -H newc --quiet", shell=True, cwd="overlay", check=True, stdout=file)


# MARK: The mission


def opens_at_once(guest):
    count = 12
    program = Program(RUM, "exec", "-c", guest.config, "--", "/test-peer", "listen", "5100", str(count), "150")
    ports = range(5100, 5100 + count)
    eventually("all open", lambda: all(guest.is_open(port) for port in ports), 30)
    latencies = [e["latency_us"] for e in guest.events("opened") if e["host_port"] in ports]
    expect(all(value is not None for value in latencies), f"latencies {latencies}")
    for port in ports:
        connect(port).close()
    program.end()
    eventually("all closed", lambda: not any(guest.is_open(port) for port in ports))
    expect(all(refused(port) for port in ports), "a closed port still accepts")
    low, middle, high = min(latencies), statistics.median(latencies), max(latencies)
    expect(middle < 500_000, f"median {middle} µs")
    return f"listen to open, {count} times: median {middle / 1000:.1f} ms, from {low / 1000:.1f} to {high / 1000:.1f}"


def half_close(guest):
    program = guest.serve(5001, "/test-peer", "sink", "5001", "/content")
    try:
        for _ in range(20):
            with connect(5001) as client, open(CONTENT, "rb") as content:
                client.sendall(content.read(5))
                client.shutdown(socket.SHUT_WR)
                answer = rest(client)
            expect(answer == b"5 bytes, same", answer)
    finally:
        program.end()
    eventually("the port closed", lambda: refused(5001))
    return answer.decode()


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
    expect(done.endswith(f"{TIMES * CONTENT_SIZE} bytes, same"), done)
    eventually("the port closed", lambda: refused(5002))
    return done


def refusal(guest):
    with connect(7007) as client:
        seen = error_of(lambda: client.recv(1) and client)
    expect(seen == "ECONNRESET", f"the client saw {seen}")


def client_resets(guest):
    program = guest.serve(5003, "/test-peer", "hold", "5003")
    try:
        client = connect(5003)
        client.sendall(b"x")
        program.line("read 1 bytes")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        return "the server sees " + program.line("ended: ").removeprefix("ended: ")
    finally:
        program.end()


def server_resets(guest):
    program = guest.serve(5004, "/test-peer", "reset", "5004")
    try:
        with connect(5004) as client:
            client.sendall(b"x")
            seen = error_of(lambda: client.recv(1) and client)
        expect(seen == "ECONNRESET", f"the client saw {seen}")
    finally:
        program.end()


# MARK: Who may talk to the agent


def other_peers(guest):
    """Only the host: a program in the guest itself, or another guest, gets nothing."""
    loopback = "vsock_loopback is loaded"
    try:
        guest.exec("modprobe", "vsock_loopback")
    except Failed:
        loopback = "there is no vsock_loopback"
    seen = []
    for cid in (1, guest.cid):
        for port in (2222, 2223):
            said = guest.exec("sh", "-c", f"/test-peer knock {cid}:{port} 2>&1 || true")
            expect("answered" not in said and said, f"{cid}:{port} {said}")
            seen.append(f"{cid}:{port} {said}")
    if KIND == "cloud":
        expect(any("closed" in line for line in seen), f"no connection came about: {seen}")
    return f"{loopback}; " + ", ".join(seen)


def token_of(guest):
    with open(guest.token, encoding="utf-8") as file:
        return bytes.fromhex(file.read())


def wrong_token(guest):
    """The forward port and the RPC port each ask for it."""
    def answer(token):
        with vsock(guest.cid, 2223) as tunnel:
            tunnel.sendall(token + (5050).to_bytes(2, "big"))
            return tunnel.recv(1)

    right = token_of(guest)
    expect(answer(right) == b"\0", "the right one is refused")
    for token in (bytes(32), right[:-1] + bytes([right[-1] ^ 1])):
        expect(answer(token) == b"\3", f"answer {answer(token)}")
    with open("wrong-token", "w", encoding="utf-8") as file:
        file.write("00" * 32)
    forward = Program(
        RUM, "forward", "--agent", f"vsock:{guest.cid}", "--auto", "5000-6000", "--bind", "127.0.0.2",
        "--token-file", "wrong-token")
    try:
        said = forward.line("refuses the token")
        expect(forward.process.wait(20) == 1, f"code {forward.process.returncode}")
        return said
    finally:
        forward.end()


# MARK: What can't be reached


def forward_says(cid, token, text):
    forward = Program(
        RUM, "forward", "--agent", f"vsock:{cid}", "--auto", "5000-6000", "--bind", "127.0.0.2", "--token-file", token)
    try:
        return forward.line(text)
    finally:
        forward.end()


def wrong_cid(guest):
    seen = error_of(vsock, guest.cid + 96, 2222)
    expect(seen == "ENODEV", f"connect says {seen}")
    return forward_says(guest.cid + 96, guest.token, "no guest has this address")


def standing_still(guest):
    """Its kernel answers no connect: that takes the connect's own time-out of 2 s."""
    domain = f"rum-{guest.name}"
    subprocess.run(["virsh", "-q", "suspend", domain], check=True, timeout=20)
    try:
        seen = error_of(vsock, guest.cid, 2222)
        expect(seen == "ETIMEDOUT", f"connect says {seen}")
        said = forward_says(guest.cid, guest.token, "no answer in time")
    finally:
        subprocess.run(["virsh", "-q", "resume", domain], check=True, timeout=20)
    eventually("port 5050 open", lambda: guest.is_open(5050))
    half_close_of(5050)
    return said


def agent_away_and_back(guest):
    """The agent is killed and cannot start for a while: nobody listens, and then all is back."""
    seen = error_of(vsock, guest.cid, 2299)
    expect(seen == "ECONNRESET", f"connect to a port without a listener says {seen}")
    start = guest.mark()
    agent = "/opt/rum/rum-agent"
    guest.exec(
        "sh", "-c", f"(sleep 0.5; mv {agent} {agent}.away; killall -9 rum-agent; timeout 30 /test-peer once 0:4000; "
        f"mv {agent}.away {agent}) >/dev/null 2>&1 &")
    guest.event("agent_lost", start=start)
    said = forward_says(guest.cid, guest.token, "nobody listens there")
    vsock(guest.cid, 4000).close()
    guest.event("agent_back", start=start, timeout=40)
    eventually("port 5050 open", lambda: guest.is_open(5050))
    half_close_of(5050)
    return said


def half_close_of(port, host="127.0.0.1"):
    with connect(port, host) as client:
        client.shutdown(socket.SHUT_WR)
        answer = rest(client)
    expect(answer == b"0 bytes, same", answer)


def agent_killed(guest):
    start = guest.mark()
    guest.exec("sh", "-c", "(sleep 0.5; killall -9 rum-agent) >/dev/null 2>&1 &")
    # A heartbeat that the check before held up may be told as a loss first.
    reason = "the agent was started again"
    back = eventually(
        reason, lambda: next((e for e in guest.events("agent_back", start) if e["reason"] == reason), None))
    lost = [e for e in guest.events("agent_lost", start) if e["time_us"] < back["time_us"]][-1]
    without = (back["time_us"] - lost["time_us"]) / 1e6
    eventually("port 5050 open", lambda: guest.is_open(5050))
    closed = [e for e in guest.events("closed", start) if e["host_port"] == 5050]
    # The grace of automatic forwards is 5 s; a busy machine may take longer to start the agent.
    expect(without > 5 or not closed, f"5050 was closed although the agent was back after {without:.1f} s")
    half_close_of(5050)
    return f"{without:.1f} s without an agent; {back['reason']}"


def rebooted(guest):
    start = guest.mark()
    guest.exec("sh", "-c", "(sleep 0.5; reboot -f) >/dev/null 2>&1 &")
    lost = guest.event("agent_lost", start=start, timeout=30)
    back = guest.event("agent_back", start=start, timeout=90)
    expect(back["reason"] == "the guest was rebooted", back["reason"])
    eventually("port 5050 open again", lambda: guest.is_open(5050))
    opened = [e for e in guest.events("opened", start) if e["host_port"] == 5050][-1]
    half_close_of(5050)
    expect(guest.domain_xml().count(f"address='{guest.cid}'") >= 1, "it has another CID")
    return (f"boot took {(back['time_us'] - lost['time_us']) / 1e6:.1f} s, 5050 open "
            f"{(opened['time_us'] - back['time_us']) / 1e6:.2f} s after the agent was back")


def leave_forwarder(guest):
    """One that outlives its machine, with a connection to the agent."""
    leftover = Program(
        RUM, "forward", "--agent", f"vsock:{guest.cid}", "--auto", "5051-5051", "--port", "127.0.0.3:7050:5050",
        "--bind", "127.0.0.2", "--token-file", guest.token)
    leftover.line("Auto-forwarding 127.0.0.2:5051")
    half_close_of(7050, "127.0.0.3")
    guest.leftover = leftover


def down(guest):
    done = subprocess.run([RUM, "down", "-c", guest.config], capture_output=True, text=True, timeout=60)
    expect(done.returncode == 0, done.stderr)
    expect(guest.session.ended(timeout=10) == 0, guest.session.lines[-3:])
    expect(refused(7007), "a forward is left")


def reused_cid(first, second):
    """What was forwarded to the first machine must not reach the second under the same CID."""
    leftover = first.leftover
    leftover.line("Lost the guest's agent")
    second.up()
    expect(second.cid == first.cid, f"it got CID {second.cid}")
    eventually("port 5050 open", lambda: second.is_open(5050))
    half_close_of(5050)
    with socket.create_connection(("127.0.0.3", 7050), timeout=20) as client:
        seen = error_of(lambda: client.recv(1) and client)
    expect(seen == "ECONNRESET", f"the client of the static forward saw {seen}")
    expect(error_of(socket.create_connection, ("127.0.0.2", 5051), 20) == "ECONNREFUSED", "5051 is forwarded")
    leftover.end()
    return f"CID {second.cid} again; {leftover.lines[-1]}"


def destroyed(*machines):
    for machine in machines:
        done = subprocess.run([RUM, "destroy", "-c", machine.config], capture_output=True, text=True, timeout=60)
        expect(done.returncode == 0, done.stderr)
        expect(not os.path.exists(os.path.dirname(machine.token)), f"files of {machine.name} are left")
    left = subprocess.run(["virsh", "-q", "list", "--all", "--name"], check=True, capture_output=True, text=True).stdout
    expect(not any(f"rum-{machine.name}" in left.split() for machine in machines), left)


# MARK: Speed


def speeds(guest):
    """Bytes over vsock by rum, by socat and by hand, in turns."""
    times = 4
    ways = {"raw vsock": f"{guest.cid}:{{0}}", "rum": "{0}", "socat": "{1}"}
    programs = []

    def guest_runs(*command):
        programs.append(Program(RUM, "exec", "-c", guest.config, "--", *command))

    for number, (verb, *extra) in enumerate((("sink",), ("source", str(times)))):
        guest_runs("/test-peer", verb, f"0:{5200 + number}", "/content", *extra)
        programs.append(guest.serve(5200 + number, "/test-peer", verb, str(5200 + number), "/content", *extra))
        if os.path.exists("overlay" + (shutil.which("socat") or "/none")):
            guest_runs(
                shutil.which("socat"), "-b", "262144", f"VSOCK-LISTEN:{3000 + number},fork",
                f"TCP4:127.0.0.1:{5200 + number}")
            programs.append(Program(
                "socat", "-b", "262144", f"TCP4-LISTEN:{7200 + number},bind=127.0.0.1,reuseaddr,fork",
                f"VSOCK-CONNECT:{guest.cid}:{3000 + number}"))
        else:
            ways.pop("socat", None)
    rates = {(way, verb): [] for way in ways for verb in ("push", "pull")}
    try:
        eventually("everybody listens", lambda: error_of(vsock, guest.cid, 5201) == "no error")
        if "socat" in ways:
            eventually("socat listens", lambda: error_of(vsock, guest.cid, 3001) == "no error" and not refused(7201))
        for _ in range(3):
            for way, address in ways.items():
                for number, verb in enumerate(("push", "pull")):
                    command = ["./test-peer", verb, address.format(5200 + number, 7200 + number), CONTENT]
                    if verb == "push":
                        command.append(str(times))
                    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
                    expect(said.strip().endswith(f"{times * CONTENT_SIZE} bytes, same"), said)
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


def main():
    first, second = Machine(RUM, "first", toml("first")), Machine(RUM, "second", toml("second"))

    def report():
        for machine in (first, second):
            if hasattr(machine, "session"):
                with open(f"out/{machine.name}.up", "w", encoding="utf-8") as file:
                    file.write("\n".join(machine.session.lines) + "\n")
        for log in glob.glob(f"{os.environ['RUM_HOME']}/machines/*/console.log"):
            shutil.copy(log, f"out/{log.split('/')[-2]}.console")

    def look_around(title):
        """What programs and guests say when a check has just failed."""
        with open("out/programs.failures", "a", encoding="utf-8") as file:
            file.write(f"# {title}, {time.time():.3f}\n")
            for program in Program.started[-4:]:
                file.write(f"{program.process.args} code {program.process.poll()}: {program.lines[-4:]}\n")
        for machine in (first, second):
            if hasattr(machine, "session") and machine.session.process.poll() is None:
                try:
                    said = machine.exec("sh", "-c", "free -m; cat /proc/net/tcp; ps; dmesg | tail -n 20")
                except Exception as error:  # the guest may be what failed
                    said = str(error)
                with open(f"out/{machine.name}.failures", "a", encoding="utf-8") as file:
                    file.write(f"# {title}, {time.time():.3f}\n{said}\n")

    checks = Checks(look_around)
    watchdog(270, report)
    pack_guest()
    try:
        if checks.run("rum up reaches the agent over vsock", first.up):
            def run(title, check, *more):
                checks.run(title, check, first, *more)

            run("a guest port that listens opens on the host, and closes with it", opens_at_once)
            run("a half-closed client still gets its reply", half_close)
            run("100 MB to the guest arrive as they were sent", bulk, "push")
            run("100 MB from the guest arrive as they were sent", bulk, "pull")
            run("a refused guest port resets the client", refusal)
            run("a client's reset reaches the server", client_resets)
            run("a server's reset reaches the client", server_resets)
            run("only the host may talk to the agent", other_peers)
            run("a wrong token is refused", wrong_token)
            run("a CID without a guest is told as such", wrong_cid)
            run("a guest that stands still is told as such", standing_still)
            run("a killed agent is back with its forwards open", agent_killed)
            run("an agent that does not run is told as such, and found when it does", agent_away_and_back)
            run("forwards are back after a reboot in place", rebooted)
            run("throughput", speeds)
            run("rum forward reaches the agent beside rum up", leave_forwarder)
            run("rum down ends the machine and rum up", down)
            checks.run("a CID's next owner is not taken for the last one", reused_cid, first, second)
            checks.run("rum down ends the second machine", down, second)
        checks.run("rum destroy leaves nothing", destroyed, first, second)
    finally:
        report()
        for machine in (first, second):
            if hasattr(machine, "session") and machine.session.process.poll() is None:
                machine.session.process.kill()
    print(f"{checks.failures} failed, {time.monotonic() - checks.started:.0f} s")
    sys.exit(1 if checks.failures else 0)


main()
