"""What is played in a guest: each function returns what it saw, or raises Failed."""
import os
import subprocess
import time

from hosts import HERE, SCRIPTS, banner, output
from machine import Machine, check

#: Within this time rum up says what it can know.
SOON = 10


def image(kind):
    return output(HERE + "/image", kind)


def mounts(host):
    """Folders of the host, in the way that this host and this guest have."""
    folder, owner = host.folder, host.owner
    odd = folder + "/it's a \"folder\""
    for place in (odd, folder + "/fixed"):
        host.write(place + "/from-host", "hello\n")
    more = '[[mounts]]\nhost = "it\'s a \\"folder\\""\nguest = "/home/rum/my work"\n'
    more += '[[mounts]]\nhost = "fixed"\nguest = "/fixed"\nreadonly = true\n'
    more += '[[mounts]]\nhost = "/usr/share/doc"\nguest = "/doc"\nreadonly = true\n'
    more += '[provision.boot]\nscript = "cp \'/home/rum/my work/from-host\' /run/seen-by-provisioning"\n'
    with Machine(host, image("efi"), "mounts", more, kernel=False) as machine:
        machine.up()
        machine.ready()
        machine.expect("Provisioning succeeded")
        how = machine.line("Mounting the host's folders with").split("with ")[1]
        check(how.startswith("virtiofs" if host.has_virtiofs else "9p"), how)
        check("the folder /usr/share/doc, to read" in machine.line("uses more than its own folder"),
              "an outside folder was not told")
        check(machine.exec("cat /run/seen-by-provisioning") == "hello", "provisioning did not see the folder")
        # As the guest's user, whom a developer works as.
        machine.exec("cd 'my work'; echo more >>from-host; echo made >made; chmod 640 made; mkdir -p a/b; mv made a/b/;"
                     " ln -s b a/link; test \"$(stat -c %U a/link/made)\" = rum", "-T")
        made = host.root + odd + "/a/b/made"
        status = os.stat(made)
        check(status.st_uid == owner, f"the file belongs to {status.st_uid}, not to {owner}")
        check(status.st_mode & 0o777 == 0o640, f"its mode is {status.st_mode:o}")
        host.write(odd + "/a/later", "from the host\n")
        machine.exec("cd 'my work/a'; grep -q host later; echo >>later; rm later; ! sudo -n touch /fixed/x 2>&1", "-T")
        machine.exec("! touch /fixed/x 2>/dev/null; test -e /fixed/from-host; ! touch /doc/x 2>/dev/null")
        if how.startswith("9p"):
            machine.exec("! { mount -o remount,rw /fixed && touch /fixed/x; } 2>/dev/null")
            machine.exec("! rm -f /fixed/from-host 2>/dev/null")
        check(os.listdir(host.root + folder + "/fixed") == ["from-host"], "a read-only folder was written")
        if host.is_stock:
            as_installed(host, machine)
        else:
            machine.reboot()
            machine.exec("test -e '/home/rum/my work/a/b/made'")
        return how


def as_installed(host, machine):
    """That the user keeps what is theirs, and that the machine can be stopped, started again and destroyed."""
    def run(*words):
        done = subprocess.run(host.rum(*words, machine.name), check=False, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        check(done.returncode == 0, f"rum {words[0]} ended with {done.returncode}: {done.stdout}")

    def keeps(when):
        check(host.strays() == "", f"{when} these are not the user's: {host.strays()}")

    run("down")
    keeps("after rum down")
    run("up", "-d")
    machine.exec("test -e '/home/rum/my work/a/b/made'")
    run("destroy")
    keeps("after rum destroy")


def by_hand(kind, port):
    """A guest in which nothing reads the seed: that is told soon, and what it says to do works, at later boots too."""
    def play(host):
        more = f'[[ports]]\nhost = {port}\nguest = 22\n[auto_ports]\nrange = "{port + 1}-{port + 9}"\n'
        more += '[provision.system]\nscript = "echo provisioned by hand"\n'
        with Machine(host, image(kind), kind, more) as machine:
            machine.up()
            machine.wait(lambda: "login: " in machine.console(), "there is no log-in prompt")
            seconds = machine.expect("seems to have no cloud-init", SOON)
            command = machine.line("install the agent as root: ").split("as root: ")[1]
            # The image came without keys; this one has its own, which are not those that rum knows.
            machine.type("root", "ssh-keygen -A >/dev/null; service ssh start", command)
            machine.ready()
            machine.expect("provisioned by hand")
            machine.expect("Provisioning succeeded")
            check(banner(port).startswith("SSH-"), "the static forward does not reach sshd")
            done = subprocess.run(host.rum("ssh", kind, "sudo -n id -un"), check=False, text=True,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            check(done.stdout.strip() == "root", f"rum ssh said: {done.stdout}")
            machine.exec(f"mkdir -p /run/sshd; /usr/sbin/sshd -p {port + 1}")
            machine.expect(f"Auto-forwarding 127.0.0.1:{port + 1}", 30)
            check(banner(port + 1).startswith("SSH-"), "the forward does not reach the program")
            check(machine.exec("id -un", "-T") == "rum", "the guest has no user rum")
            machine.reboot()
            machine.exec(f"mkdir -p /run/sshd; /usr/sbin/sshd -p {port + 2}")
            machine.expect(f"Auto-forwarding 127.0.0.1:{port + 2}", 30)
            init = machine.exec("cat /proc/1/comm")
            return f"told {seconds:.1f} s after the log-in prompt, installed as it says, there after a reboot ({init})"
    return play


def login(host):
    """The user unit starts machines at the log-in, and shuts them down at the logout, each by itself."""
    def systemctl(*words):
        return subprocess.run(host.command("systemctl", "--user", *words), check=False, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout.strip()

    def states():
        return output(*host.rum("list"))

    # The guest of the demo, which is small.
    disk = host.adopt(output(SCRIPTS + "/guest-image"))
    with Machine(host, disk, "first") as first, Machine(host, disk, "second") as second:
        for machine in (first, second):
            machine.up("-d")
            check(machine.process.wait() == 0, "rum up -d failed")
            subprocess.run(host.rum("down", machine.name), check=True)
        systemctl("enable", "rum@first", "rum@second")
        # Everybody is logged out, and their manager has ended.
        subprocess.run(host.inside("loginctl", "terminate-user", host.user), check=False)
        time.sleep(15)
        # pylint: disable-next=consider-using-with
        session = subprocess.Popen(host.command("sleep", "3600"))
        try:
            for machine in (first, second):
                machine.process = session
                machine.wait(lambda: systemctl("is-active", f"rum@{machine.name}") == "active",
                             "the unit is not active")
                machine.exec("true")
            check(states().count("running") == 2, states())
            check(systemctl("stop", "rum@first") == "", "the unit does not stop")
            check("running" in states().split("second")[1].splitlines()[0], f"the other machine went too: {states()}")
            second.exec("true")
            subprocess.run(host.inside("loginctl", "terminate-user", host.user), check=False)
        finally:
            session.kill()
        deadline = time.monotonic() + 200
        while output(*host.inside("sh", "-c", "pgrep qemu-system || true")):
            check(time.monotonic() < deadline, "the other machine outlives the logout")
            time.sleep(1)
        for machine in (first, second):
            check("reboot: Power down" in machine.console(), f"{machine.name} was not shut down")
        return "both were started at the log-in, one was stopped alone, the other at the logout"


def over_ssh(box):
    """The agent is brought by ssh to a machine that rum has not started, and its ports come by ssh."""
    def run(*words):
        return subprocess.run(box.rum(*words), check=False, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SOON * 20)

    def started():
        return output(*box.inside("systemctl", "show", "-P", "ActiveEnterTimestampMonotonic", "rum-agent"))

    def wait(condition, complaint):
        deadline = time.monotonic() + SOON * 6
        while not condition():
            check(time.monotonic() < deadline, complaint)
            time.sleep(0.1)

    def refused():
        done = run("agent", "install", "dev@box")
        check(done.returncode == 1 and "allow sudo without a password" in done.stdout, done.stdout)

    refused()
    begin = time.monotonic()
    done = run("agent", "install", "libby@box")
    check(done.returncode == 0, done.stdout)
    seconds = time.monotonic() - begin
    check("rum forward --agent ssh:libby@box --auto 5000-6000" in done.stdout.splitlines(), done.stdout)
    first = started()
    check(run("agent", "install", "libby@box").returncode == 0, "it cannot be installed twice")
    check(started() == first, "the same agent was started again")
    # What is run there goes through the user's shell; the last of these stays.
    for shell in ("/bin/tcsh", "/usr/bin/fish"):
        box.run_there(f"usermod --shell {shell} dev && usermod --shell {shell} libby && rm -r /opt/rum")
        refused()
        done = run("agent", "install", "libby@box")
        check(done.returncode == 0, f"with {shell}: {done.stdout}")
        box.run_there("test -x /opt/rum/rum-agent")
    listeners = output(*box.inside("ss", "-Hltn", "sport = 2222 or sport = 2223"))
    check(listeners.count("127.0.0.1:222") == 2 == len(listeners.splitlines()), listeners)
    check(output(*box.inside("systemctl", "is-enabled", "rum-agent")) == "enabled", "it is not started at boot")

    port = 23450
    log = box.work + "/forward.log"

    def said():
        with open(log, encoding="utf-8") as file:
            return file.read()

    with open(log, "w", encoding="utf-8") as file:
        # pylint: disable-next=consider-using-with
        forward = subprocess.Popen(box.rum("forward", "--agent", "ssh:libby@box", "--auto", f"{port}-{port + 9}"),
                                   stdout=file, stderr=file, stdin=subprocess.DEVNULL)
    try:
        def reaches(number):
            box.run_there(f"/usr/sbin/sshd -p {number}")
            wait(lambda: f"Auto-forwarding 127.0.0.1:{number}" in said(), f"{number} is not forwarded: {said()}")
            check(banner(number).startswith("SSH-"), f"{number} does not reach the program")

        reaches(port)
        # All of its connections break at once; then its agent is another one.
        for number, script in enumerate(("pkill -KILL -u libby sshd", "systemctl restart rum-agent"), port + 1):
            mark = len(said())
            box.run_there(script)
            wait(lambda: "agent is back" in said()[mark:], f"the agent is not back: {said()}")
            reaches(number)
            check(banner(port).startswith("SSH-"), "the first port is not forwarded any more")
    finally:
        forward.terminate()
        forward.wait(30)
    left = os.listdir(box.work + "/home/agents/libby@box")
    check(left == ["token"], f"{left} are left")
    return f"installed in {seconds:.1f} s, and forwarded through OpenSSH, also after all its connections broke;" \
        " the users' shells are bash, tcsh and fish"
