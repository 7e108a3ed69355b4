"""The rows of the fault matrix. Each breaks something, checks what stays and what closes, and times the way back.

A row takes the Matrix and returns a Result; what it finds wrong is a Failure. It leaves machine `a` as it found it:
running, with its `rum up`, its ports open.
"""
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field

from harness import Echo, Failure, check, is_refused, page, within

STATIC, PAGE, ECHO, LATE = 18080, 5001, 5002, 5003
OWN = 18081  # static of the second machine alone
AUTOMATIC = [PAGE, ECHO]
# After the guest answers again, everything is back within this.
TARGET_SECONDS = 2.0
# `rum up` asks the agent every 5 s and waits 2 s for the answer, then keeps the ports for 5 s.
LOST_SECONDS, GRACE_SECONDS = 8.0, 5.0


@dataclass
class Result:
    stays: str
    closes: str
    seconds: float
    bound: float = TARGET_SECONDS
    says: list = field(default_factory=list)


def all_back(machine):
    """Waits until every port serves; returns when that was."""
    within(60, "all ports serve", lambda: page(PAGE) == machine.name and page(STATIC) == machine.name)
    at = time.monotonic()
    echo = Echo(ECHO)
    echo.close()
    return at


def told(up, since):
    """What was said from the mark on: events of the agent and the sentences on standard error."""
    events = [(at, event["event"] + (f" ({event['reason']})" if event["reason"] else ""))
              for at, event in up.events if event["event"].startswith("agent")]
    return [text for at, text in sorted(events + up.lines) if at >= since]


# Two machines, and the host's disk


def own_addresses(m):
    """two machines, one with an address of its own"""
    a, b = m.a, m.b
    with open(b.config, encoding="utf-8") as file:
        toml = file.read()
    check(b.up.end() == 130, "the second rum up did not end as Ctrl-C ends it")
    try:
        with open(b.config, "w", encoding="utf-8") as file:
            file.write(toml.replace("[auto_ports]", '[auto_ports]\nbind = "machine"'))
        began = time.monotonic()
        opened, event = b.start_up().event("opened", PAGE, timeout=20)
        own = event["bind"]
        check(own.startswith("127.") and own != "127.0.0.1", f"its address is {own}")
        check(page(PAGE, host=own) == "b" and page(PAGE) == "a", "a port does not lead to its own machine")
        check(not a.up.ports("closed", began), f"the first machine's ports closed: {a.up.ports('closed', began)}")
        check(b.up.end() == 130, "the second rum up did not end as Ctrl-C ends it")
        check(page(PAGE, host=own) is None and page(PAGE) == "a", "its end does not close its own ports alone")
    finally:
        with open(b.config, "w", encoding="utf-8") as file:
            file.write(toml)
        b.start_up()
    return Result("both machines', on the same port", "none", max(0, opened - began), 10,
                  [f"Auto-forwarding {own}:{PAGE} → guest:{PAGE}"])


def same_ports(m):
    """two machines with the same ports"""
    a, b = m.a, m.b
    up_b = b.up
    for port in (STATIC, PAGE, ECHO):
        _, event = up_b.event("blocked", port)
        check(f"(pid {a.up.pid})" in event["reason"], f"the holder is not named: {event['reason']}")
    check(page(OWN) == "b", "the second machine's own port does not serve")
    check(page(PAGE) == "a" and page(STATIC) == "a", "the first machine's ports do not serve")
    mark = up_b.mark()
    check(a.up.end() == 130, "the first rum up did not end as Ctrl-C ends it")
    released = time.monotonic()
    opened = [up_b.event("opened", port, mark, timeout=5)[0] for port in (STATIC, PAGE, ECHO)]
    check(page(PAGE) == "b" and page(STATIC) == "b", "the second machine's ports do not serve once they are free")
    up_a = a.start_up()
    _, event = up_a.event("blocked", PAGE)
    check(f"(pid {up_b.pid})" in event["reason"], f"the holder is not named: {event['reason']}")
    return Result("the first machine's; the second's own", "none", max(0, max(opened) - released), 0.5,
                  ["blocked (" + event["reason"] + ")"])


def qemu_killed(m):
    """QEMU killed"""
    b = m.b
    mark = m.a.up.mark()
    pids = b.qemu_pids()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    # libvirt tells of it when there is no such process any more, not even one that PID 1 has still to reap. It looks
    # each 0.2 s (virProcessKillPainfullyDelay).
    within(10, "PID 1 reaps QEMU", lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))
    since = time.monotonic()
    code = b.up.wait(10)
    ended = time.monotonic()
    check(code == 1, f"rum up ended with {code} instead of 1")
    check(b.up.lines[-2][1].startswith("error: b has stopped"), f"it says: {b.up.last_words()}")
    # The first machine takes over what the second held.
    for port in (STATIC, PAGE, ECHO):
        m.a.up.event("opened", port, mark, timeout=10)
    all_back(m.a)
    return Result("none", "all", max(0, ended - since), 1, [line for _, line in b.up.lines[-2:]])


def disk_full_on_up(m):
    """disk full on the host: rum up"""
    said = []
    for size in ("16k", "2m"):
        folder = os.path.join(m.work, f"full-{size}")
        os.mkdir(folder)
        machine = m.machine("full", folder, [])
        # In a mount namespace of its own, which takes the file system with it.
        script = ('mount -t tmpfs -o size="$1" tmpfs "$2" && shift 2 && "$@"; code=$?; '
                  'find "$RUM_HOME" -mindepth 1 -not -name machines; exit $code')
        unshare = ["unshare", "--mount"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
        result = subprocess.run(
            unshare + ["sh", "-c", script, "sh", size, folder, *machine.rum("up")], env=machine.environment,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        check(result.returncode == 1, f"rum up ended with {result.returncode} instead of 1: {result.stderr}")
        check("No space left on device" in result.stderr, f"the cause is not told: {result.stderr}")
        check("Free some disk space" in result.stderr, f"no cure is told: {result.stderr}")
        check(not result.stdout, f"files are left: {result.stdout}")
        check(machine.domain not in machine.virsh("list", "--all", "--name").split(), "a domain is left")
        said = result.stderr.strip().splitlines()[-2:]
    return Result("other machines'", "none are opened", 0, says=said)


def disk_full_at_run(m):
    """disk full on the host: a running machine"""
    b, up = m.b, m.b.up
    mark = up.mark()
    filler = os.path.join(b.home, "filler")
    try:
        with open(filler, "wb") as file:
            while True:
                file.write(bytes(1 << 20))
    except OSError:
        pass
    # Later, so that this call returns before the guest stands still.
    b.guest_in_background("sleep 1; head -c 64m /dev/urandom >/var/tmp/big; sync")
    within(40, "the machine pauses", lambda: b.state() == "paused")
    up.said("the host's disk is full", mark, timeout=5)
    os.remove(filler)
    b.virsh("resume", b.domain)
    resumed = time.monotonic()
    within(30, "the second machine serves", lambda: page(OWN) == "b")
    back = time.monotonic()
    b.guest("rm -f /var/tmp/big")
    return Result("all", "none", back - resumed, says=told(up, mark))


# The guest's clock, and its agent


def clock_jump(m):
    """guest clock jump"""
    a, up = m.a, m.a.up
    echo, mark = Echo(ECHO), up.mark()
    try:
        for jump in (86400, -2 * 86400, 86400):
            a.guest(f"date -s @$(($(date +%s) + {jump}))")
        check(echo.answers(), "a connection did not survive")
    finally:
        echo.close()
    latency = _open_late_port(a)
    check(up.ports("closed", mark) == [LATE] and not told(up, mark), f"something was noticed: {told(up, mark)}")
    return Result("all", "none", latency / 1e6, says=["nothing"])


def _open_late_port(machine):
    """Has a server listen and end; returns what its opening took, in microseconds."""
    up = machine.up
    mark = up.mark()
    machine.guest_in_background(f"echo $$ >/run/late.pid; exec busybox httpd -f -p {LATE} -h /srv/{machine.name}")
    _, event = up.event("opened", LATE, mark)
    latency = event["latency_us"]
    check(latency is not None and latency < 2_000_000, f"the latency told is {latency} us")
    check(page(LATE) == machine.name, "a new port does not serve")
    machine.guest("kill $(cat /run/late.pid)")
    up.event("closed", LATE, mark)
    return latency


def agent_pid(machine):
    return machine.guest("pidof rum-agent").split()[0]


def agent_killed(m):
    """agent killed (-9)"""
    a, up = m.a, m.a.up
    echo, mark = Echo(ECHO), up.mark()
    try:
        a.guest_in_background(f"kill -9 {agent_pid(a)}")
        lost, _ = up.event("agent_lost", since=mark, timeout=5)
        answered = a.first_answer()
        back, event = up.event("agent_back", since=mark)
        check(event["reason"] == "the agent was started again", f"the reason is {event['reason']}")
        check(echo.is_over(5), "a connection through the dead agent hangs")
    finally:
        echo.close()
    all_back(a)
    closed, away = up.ports("closed", mark), back - lost
    # A slow guest may take longer than the grace to start the agent.
    check(not closed or away > GRACE_SECONDS, f"ports were closed, though it was away for {away:.1f} s: {closed}")
    return Result("all; connections end", f"none within the grace; away {away:.1f} s", max(0, back - answered),
                  says=told(up, mark))


def agent_stopped(m):
    """agent stopped (SIGSTOP), then continued"""
    a, up = m.a, m.a.up
    echo, mark = Echo(ECHO), up.mark()
    try:
        pid = agent_pid(a)
        a.guest_in_background(f"kill -STOP {pid}; sleep 16; kill -CONT {pid}")
        lost, _ = up.event("agent_lost", since=mark, timeout=LOST_SECONDS)
        for port in AUTOMATIC:
            up.event("closed", port, mark, timeout=GRACE_SECONDS + 1)
        check(all(map(is_refused, AUTOMATIC)), "a closed port does not refuse")
        check(not is_refused(STATIC), "the static port is closed")
        answered = a.first_answer()
        up.event("agent_back", since=mark)
        back = max(up.event("opened", port, mark)[0] for port in AUTOMATIC)
        check(echo.answers(), "a connection did not survive")
    finally:
        echo.close()
    all_back(a)
    check(up.ports("closed", mark) == AUTOMATIC, f"closed were {up.ports('closed', mark)}")
    return Result("static; live connections", f"automatic, {GRACE_SECONDS:.0f} s after the agent is lost",
                  max(0, back - answered), says=told(up, mark))


# The machine


def suspended_briefly(m):
    """virsh suspend, resume after 3 s"""
    a, up = m.a, m.a.up
    echo, mark = Echo(ECHO), up.mark()
    try:
        a.virsh("suspend", a.domain)
        up.said("is suspended", mark, timeout=2)
        check(not echo.answers(3), "a suspended guest answers")
        a.virsh("resume", a.domain)
        resumed = time.monotonic()
        check(echo.socket.recv(64) == b"still there?\n", "what was sent meanwhile is lost")
        check(echo.answers(), "a connection did not survive")
    finally:
        echo.close()
    back = all_back(a)
    check(up.ports("closed", mark) == [], f"ports were closed: {up.ports('closed', mark)}")
    return Result("all; live connections", "none", back - resumed, says=told(up, mark))


def suspended_long(m):
    """virsh suspend, resume after the grace"""
    a, up = m.a, m.a.up
    echo, mark = Echo(ECHO), up.mark()
    try:
        a.virsh("suspend", a.domain)
        up.event("agent_lost", since=mark, timeout=LOST_SECONDS)
        for port in AUTOMATIC:
            up.event("closed", port, mark, timeout=GRACE_SECONDS + 1)
        a.virsh("resume", a.domain)
        resumed = time.monotonic()
        back = max(up.event("opened", port, mark)[0] for port in AUTOMATIC)
        check(echo.answers(), "a connection did not survive")
    finally:
        echo.close()
    all_back(a)
    return Result("static; live connections", f"automatic, {GRACE_SECONDS:.0f} s after the agent is lost",
                  back - resumed, says=told(up, mark))


def slept(m):
    """guest sleeps (ACPI S3), woken after 10 s"""
    a, up = m.a, m.a.up
    echo, mark = Echo(ECHO), up.mark()
    command = a.guest_program("sh", "-c", "echo started; exec sleep 1000")
    try:
        command.said("started")
        a.guest_in_background("sleep 0.5; echo mem >/sys/power/state")
        up.said("is suspended", mark, timeout=20)
        within(20, "the machine sleeps", lambda: a.state() == "pmsuspended")
        # Long enough that the agent is lost and its ports close.
        for port in AUTOMATIC:
            up.event("closed", port, mark, timeout=LOST_SECONDS + GRACE_SECONDS + 2)
        a.virsh("dompmwakeup", a.domain)
        woken = time.monotonic()
        back = max(up.event("opened", port, mark, timeout=60)[0] for port in AUTOMATIC)
        # The guest's vsock driver gives its queues up for the sleep and resets what is connected, without a word to the
        # host. A client that only listens must hear of it as well.
        lives = m.channel == "tcp"
        if lives:
            check(echo.answers() and command.is_running(), "a connection did not survive")
        else:
            check(echo.is_over(5), "a connection hangs that the guest has lost")
            within(15, "rum exec ends whose guest has lost it", lambda: not command.is_running())
    finally:
        echo.close()
        command.end()
    all_back(a)
    # The kernel still pushes: a resync would be up to 15 s late. Several, since one could meet a resync by chance.
    for _ in range(3):
        _open_late_port(a)
    stays = "static; live connections" if lives else "static; connections end"
    return Result(stays, f"automatic, {GRACE_SECONDS:.0f} s after the agent is lost", back - woken, says=told(up, mark))


def saved(m):
    """managed save, then rum up"""
    a, up = m.a, m.a.up
    mark = up.mark()
    a.virsh("managedsave", a.domain, timeout=120)
    check(up.wait(10) == 0, f"rum up ended with {up.process.returncode} instead of 0")
    says = told(up, mark)
    check("its state was saved" in says[-1], f"it says: {says[-1]}")
    check(is_refused(STATIC) and all(map(is_refused, AUTOMATIC)), "a port is still open")
    up = a.start_up()
    answered = within(60, "the machine runs", lambda: a.state() == "running") and a.first_answer()
    back = max(up.event("opened", port)[0] for port in AUTOMATIC)
    all_back(a)
    return Result("none", "all", max(0, back - answered), says=says + [line for _, line in up.lines])


def rebooted(m):
    """guest rebooted in place"""
    return _restart(m, lambda: m.a.guest_in_background("sleep 0.2; reboot"))


def reset(m):
    """guest reset (virsh reset)"""
    return _restart(m, lambda: m.a.virsh("reset", m.a.domain))


def _restart(m, action):
    a, up = m.a, m.a.up
    echo, mark = Echo(ECHO), up.mark()
    try:
        boot = a.guest("cat /proc/sys/kernel/random/boot_id")
        action()
        up.event("agent_lost", since=mark, timeout=30)
        for port in AUTOMATIC:
            up.event("closed", port, mark, timeout=GRACE_SECONDS + 2)
        answered = a.first_answer()
        back, event = up.event("agent_back", since=mark, timeout=60)
        check(event["reason"] == "the guest was rebooted", f"the reason is {event['reason']}")
        check(echo.is_over(5), "a connection to the former boot hangs")
        for port in AUTOMATIC:
            up.event("opened", port, mark, timeout=60)
    finally:
        echo.close()
    all_back(a)
    check(a.guest("cat /proc/sys/kernel/random/boot_id") != boot, "the guest did not boot")
    return Result("static; connections end", "automatic", max(0, back - answered), says=told(up, mark))


def powered_off(m):
    """guest powered off from inside"""
    a, up = m.a, m.a.up
    mark = up.mark()
    a.guest_in_background("sleep 0.2; poweroff")
    within(60, "the machine stops", lambda: a.state() == "shut off")
    stopped = time.monotonic()
    check(up.wait(10) == 0, f"rum up ended with {up.process.returncode} instead of 0")
    ended = time.monotonic()
    says = told(up, mark)
    check("the guest shut down" in says[-1], f"it says: {says[-1]}")
    check(up.ports("closed", mark) == sorted([*AUTOMATIC, STATIC]), f"closed were {up.ports('closed', mark)}")
    check(is_refused(STATIC) and all(map(is_refused, AUTOMATIC)), "a port is still open")
    return Result("none", "all", max(0, ended - stopped), says=says)


# The host's programs


def libvirt_restarted(m):
    """libvirtd killed and restarted"""
    a, up = m.a, m.a.up
    echo, mark = Echo(ECHO), up.mark()
    try:
        m.kill_libvirt()
        up.said("Lost libvirt", mark, timeout=10)
        check(page(PAGE) == "a", "a port does not serve without libvirt")
        m.start_libvirt()
        started = time.monotonic()
        back, _ = up.said("libvirt is back", mark, timeout=20)
        check(echo.answers(), "a connection did not survive")
    finally:
        echo.close()
    # What happens to the machine is followed again.
    a.virsh("suspend", a.domain)
    up.said("is suspended", mark, timeout=5)
    a.virsh("resume", a.domain)
    all_back(a)
    check(up.ports("closed", mark) == [], f"ports were closed: {up.ports('closed', mark)}")
    return Result("all; live connections", "none", max(0, back - started), says=told(up, mark))


def up_killed(m):
    """rum up killed (-9) and started again"""
    a = m.a
    a.up.end(signal.SIGKILL)
    check(is_refused(STATIC) and all(map(is_refused, AUTOMATIC)), "a port is still open")
    started = time.monotonic()
    up = a.start_up()
    back = max(up.event("opened", port)[0] for port in (STATIC, *AUTOMATIC))
    all_back(a)
    return Result("none", "all, at once", back - started, says=[line for _, line in up.lines])


def output_unread(m):
    """standard output, then error, of rum up unread"""
    a = m.a
    seconds = 0.0
    for unread in ("stdout", "stderr"):
        a.up.end()
        # Full before it starts: whatever waits for it waits for ever.
        reader, writer = full_pipe()
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, unread: writer}
        up = subprocess.Popen(a.rum("up", "--json"), env=a.environment, stdin=subprocess.DEVNULL, **streams)
        try:
            all_back(a)
            started = time.monotonic()
            a.guest_in_background(f"echo $$ >/run/late.pid; exec busybox httpd -f -p {LATE} -h /srv/a")
            within(20, f"a new port opens with {unread} unread", lambda: page(LATE) == "a")
            seconds = max(seconds, time.monotonic() - started - a.exec_seconds)
            a.guest("kill $(cat /run/late.pid)")
            within(20, f"it closes with {unread} unread", lambda: is_refused(LATE))
            up.send_signal(signal.SIGINT)
            check(up.wait(10) == 130, f"with {unread} unread, rum up ended with {up.returncode} instead of 130")
        except subprocess.TimeoutExpired as error:
            raise Failure(f"with {unread} unread, Ctrl-C does not end rum up") from error
        finally:
            if up.poll() is None:
                up.kill()
                up.wait()
            os.close(reader)
            os.close(writer)
        check(is_refused(STATIC) and all(map(is_refused, AUTOMATIC)), "a port is still open")
        a.start_up()
        all_back(a)
    return Result("all", "none", max(0, seconds), says=["nothing that anybody reads"])


def full_pipe():
    """Both ends of a pipe that takes no byte more; a write waits."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, bytes(4096))
    except BlockingIOError:
        os.set_blocking(writer, True)
    return reader, writer
