"""What can be wrong with a command line, this host, and the machines on it."""
import json
import os
import socket

from provoke import Row, raw_disk

TOML = '[image]\nbase = "debian.img"\n'
NOBODY = 65534
# The domain `test` of libvirt's test driver.
TEST_DOMAIN = "6695eb01-f6a4-8304-79aa-97f2502e193f"


def disk(place):
    """An image that can be used."""
    place.write("app/debian.img", raw_disk())


def up(title, *, toml=TOML, prepare=None, **more):
    """A start with a good image."""
    def both(place):
        disk(place)
        if prepare:
            prepare(place)
    return Row(title, "up", toml=toml, prepare=both, **more)


def no_root(place):
    """A machine behind ssh that says what one does whose user may not become root."""
    place.write("bin/ssh", """#!/bin/sh
cat >/dev/null
for command; do :; done
echo "$command" | grep -o 'rum-install: failed at .*password' | tr -d '\\\\'
""", 0o755)


COMMAND_LINE = [
    Row("A command that does not exist", "star", code=2),
    Row("An option that does not exist", "up", "--fast", code=2),
    Row("A time without a unit", "up", "--timeout", "5 minutes", code=2),
    Row("A machine is given in two ways", "status", "-c", "rum.toml", "dev", code=2),
    Row("There is no machine of that name", "status", "dev"),
    Row("A command for the guest is missing", "exec", code=2, toml=TOML),
    Row("Nothing is to be copied from or to a guest", "cp", "a.txt", "b.txt", code=2),
    Row("A file is to be copied from one guest to another", "cp", "dev:a.txt", "test:b.txt", code=2),
    Row("Nothing is to be forwarded", "forward", "--agent", "vsock:3", code=2),
    Row("An address of an agent that cannot be one", "forward", "--agent", "serial:1", "--auto", "1-2", code=2),
    Row("An agent over tcp asks for a token", "forward", "--agent", "tcp:127.0.0.1", "--auto", "1-2", code=2),
    Row("The token's file is not there", "forward", "--agent", "tcp:127.0.0.1", "--auto", "5000-6000",
        "--token-file", "token"),
    Row("The token's file holds none", "forward", "--agent", "tcp:127.0.0.1", "--auto", "5000-6000",
        "--token-file", "/dev/null"),
    Row("A host port is forwarded twice", "forward", "--agent", "vsock:3", "--port", "8080:80", "--port", "8080:81",
        code=2),
    Row("Clients are to wait too long", "forward", "--agent", "vsock:3", "--auto", "5000-6000", "--hold", "2m",
        code=2),
    Row("An HTTP answer is waited for that does not exist", "ports", "wait", "5173", "--http", "20", code=2),
    Row("A path is given without an HTTP answer", "ports", "wait", "5173", "--path", "/health", code=2),
    Row("A machine behind ssh has no name", "forward", "--agent", "ssh:", "--auto", "5000-6000", code=2),
    Row("No agent was installed behind ssh", "forward", "--agent", "ssh:dev@box", "--auto", "5000-6000"),
    Row("The agent is to be installed where ssh does not get", "agent", "install", "ssh://dev@127.0.0.1:1"),
    Row("The agent is to be installed by a user who may not", "agent", "install", "dev@box", prepare=no_root,
        env={"PATH": "$DIR/bin:" + os.environ["PATH"]}),
    Row("The file for the token holds none", "agent", "install", "dev@box", "--token-file", "/dev/null"),
    Row("A range of ports is written wrong", "forward", "--agent", "vsock:3", "--auto", "6000-5000", code=2),
    Row("A forward is written wrong", "forward", "--agent", "vsock:3", "--port", "8080", code=2),
    Row("rum init finds a rum.toml", "init", toml=TOML),
    Row("rum init is given what no rum.toml may have", "init", "--cpus", "many", code=2),
    Row("rum init is to take over a file that is not there", "init", "--defaults", "--from", "devcontainer.json",
        code=2),
    Row("rum init is to take over a file that is no devcontainer.json", "init", "--defaults", "--from", "notes.json",
        code=2, prepare=lambda place: place.write("app/notes.json", "{ ports: 3000")),
    Row("rum init may not write there", "init", "-c", "/nowhere/rum.toml"),
]


def other_name(place):
    """A machine whose rum.toml has got another name since."""
    place.config('name = "test"\n' + TOML)
    place.machine(json.dumps({"uuid": "u", "instanceID": "i", "configFile": place.path("app/rum.toml")}), "dev")


def base(change):
    """A machine whose base image is not what it was."""
    def prepare(place):
        path = place.path("app/debian.img")
        status = os.stat(path)
        stamp = {"path": path, "size": status.st_size, "modified": status.st_mtime_ns}
        place.machine(json.dumps({
            "uuid": "0b1c9a52-3f0e-4f6e-9d0a-6f2f0a3f7c11", "instanceID": "i", "base": stamp, "baseFormat": "raw",
            "configFile": place.path("app/rum.toml"), "libvirtURI": "test:///default"}))
        place.write("home/machines/app/disk.qcow2", b"")
        change(path)
    return prepare


def token(place):
    """A machine's folder with a token that is none."""
    place.write("home/machines/app/token", "secret\n")
    os.chmod(place.path("home/machines/app"), 0o700)


def deaf_libvirt(place):
    """A socket that this user may not open."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place.path("libvirt-sock"))
    listener.listen()
    os.chmod(place.path("libvirt-sock"), 0)
    place.stack.callback(listener.close)
    place.config(TOML + f'[advanced]\nlibvirt_uri = "qemu:///system?socket={place.path("libvirt-sock")}"\n')
    own_home(place)


def own_home(place):
    """A folder for machines that belongs to the user of the row."""
    os.makedirs(place.path("home"))
    if os.geteuid() == 0:
        os.chown(place.path("home"), NOBODY, NOBODY)


def taken_folder(place):
    """A machine's folder that others may change."""
    os.makedirs(place.path("home/machines/app"))
    os.chmod(place.path("home/machines/app"), 0o777)


def damaged_answers(place):
    """A machine whose answers are none."""
    place.machine('{"uuid": "u", "instanceID": "i", "configFile": "/home/ann/app/rum.toml"}')
    place.write("home/machines/app/answers.json", "{", 0o600)


HOST = [
    up("Programs are missing, which is asked before the download", env={"PATH": "/nowhere"},
       toml='[image]\nbase = "https://example.org/debian.qcow2"\n'),
    up("The agent's bundle is missing", env={"RUM_AGENT_BUNDLE": "/usr/share/rum/rum-agent.tar.gz"}),
    up("libvirt does not run", toml=TOML + '[advanced]\nlibvirt_uri = "qemu:///system?socket=/nowhere/libvirt-sock"\n'),
    up("libvirt does not let this user in", prepare=deaf_libvirt, user=NOBODY),
    up("The session of libvirt has another user's folder, as after su", prepare=own_home, user=NOBODY,
       toml=TOML + '[advanced]\nlibvirt_uri = "qemu:///session"\n', env={"XDG_RUNTIME_DIR": "/root"}),
    up("RUM_DOMAIN_TYPE is no accelerator", env={"RUM_DOMAIN_TYPE": "xen"}),
    up("The machine's folder has too long a name for sockets", env={"RUM_HOME": "$DIR" + "/deep" * 20}),
    up("The machine's folder cannot be made", env={"RUM_HOME": "/proc/rum"}),
    up("The machine's folder is not only this user's", prepare=taken_folder),
    up("The kernel to boot is not there", toml=TOML + '[boot]\nkernel = "vmlinuz"\n'),
    up("The kernel to boot is no file", toml=TOML + '[boot]\nkernel = "/dev/zero"\n'),
    Row("rum doctor finds what stops a machine", "doctor", toml=TOML,
        env={"PATH": "/nowhere", "RUM_AGENT_BUNDLE": "/usr/share/rum/rum-agent.tar.gz",
             "LIBVIRT_DEFAULT_URI": "qemu:///system?socket=/nowhere/libvirt-sock"}),
]

MACHINES = [
    Row("The machine does not run", "exec", "--", "true", toml=TOML, code=255),
    Row("There is no machine to log in to", "ssh", toml=TOML),
    Row("There is no machine to open a shell in", "shell", toml=TOML, code=255),
    Row("There is no machine whose ssh could be configured", "ssh-config", toml=TOML),
    Row("There is no machine whose ports could be shown", "ports", toml=TOML),
    Row("There is no machine whose port could be waited for", "ports", "wait", "5001", "--timeout", "1s",
        toml=TOML, is_answer=True),
    Row("There is no machine to which a forward could be added", "ports", "add", "8080:80", toml=TOML),
    Row("A forward that is added is written wrong", "ports", "add", "8080", toml=TOML, code=2),
    Row("A port that is asked for is none", "ports", "why", "http", toml=TOML, code=2),
    Row("There is no machine about whose ports an answer could be given", "ports", "allow", "5001", toml=TOML),
    Row("All answers about ports are forgotten, and a port is named", "ports", "forget", "--all", "5001", "app",
        toml=TOML, code=2),
    Row("What was answered about ports is damaged", "ports", "answers", toml=TOML, prepare=damaged_answers),
    Row("There is no machine with logs", "logs", toml=TOML),
    Row("The machine belongs to another rum.toml", "up", toml='name = "dev"\n' + TOML,
        prepare=lambda place: place.machine(json.dumps(
            {"uuid": "u", "instanceID": "i", "configFile": place.write("other/rum.toml", TOML)}), "dev")),
    up("Somebody has renamed the machine in libvirt", prepare=lambda place: place.machine(json.dumps(
        {"uuid": TEST_DOMAIN, "instanceID": "i", "configFile": place.path("app/rum.toml")}))),
    Row("The rum.toml of a named machine is gone", "up", "dev", code=2,
        prepare=lambda place: place.machine(json.dumps(
            {"uuid": "u", "instanceID": "i", "configFile": "/home/ann/gone/rum.toml"}), "dev")),
    Row("The rum.toml of a named machine has another name now", "up", "dev", code=2, prepare=other_name),
    Row("What is remembered of the machine is damaged", "status", toml=TOML,
        prepare=lambda place: place.machine("{")),
    up("The machine's token is damaged", prepare=token),
    up("The base image was deleted", prepare=base(os.unlink)),
    up("The base image has changed", prepare=base(lambda path: os.utime(path, (1, 1)))),
]
