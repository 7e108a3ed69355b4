"""The product over a real AF_VSOCK: `rum up` on a guest that libvirt gave a CID. Run on a host with /dev/vhost-vsock.

vsock-test.py RIG cloud|tiny|noipv6: RIG is the folder with the guests; rum, rum-agent.tar.gz and test-peer lie in the
current one. Prints a line a check; exits 1 when one failed. What helps to find out why is then in out/.
"""

import glob
import os
import re
import shutil
import subprocess
import sys
import time

import checks
from harness import Machine, Program, add_boot_script, initramfs_toml, pack_initrd, unpack_agent
from rig import Checks, watchdog

RIG, KIND = sys.argv[1:3]
KERNEL = f"{RIG}/{KIND}/" + {"cloud": "vmlinuz", "tiny": "vmlinux", "noipv6": "vmlinux"}[KIND]
RUM = os.path.abspath("rum")


def machine(name, channel="vsock", initrd="initrd"):
    toml = initramfs_toml(KERNEL, os.path.abspath(initrd)) + f"""[[ports]]
host = 7007
guest = 7
[auto_ports]
range = "5000-6000"
[advanced]
channel = "{channel}"
"""
    return Machine(RUM, name, toml, os.getcwd(), os.environ["RUM_HOME"])


def pack_guest():
    """The guest's initramfs, with the agent unpacked as a boot before would have left it."""
    unpack_agent("rum-agent.tar.gz", "overlay")
    with open(checks.CONTENT, "wb") as file:
        file.write(os.urandom(checks.CONTENT_SIZE))
    shutil.copy(checks.CONTENT, "overlay/content")
    shutil.copy("test-peer", "overlay/test-peer")
    # Services that are there after every boot.
    add_boot_script(
        "/test-peer listen 5051 1 0 &\nexec /test-peer sink 5050 /content >/dev/ttyS0 2>&1\n", "overlay")
    socat = shutil.which("socat")
    if socat:
        libraries = subprocess.run(["ldd", socat], check=True, capture_output=True, text=True).stdout
        subprocess.run(
            ["cp", "--parents", "-L", socat, *re.findall(r"/\S+", libraries), "overlay"], check=True)
    pack_initrd(f"{RIG}/{KIND}/initrd", "overlay", "initrd")
    if KIND == "cloud":
        # An empty file is no module: the kernel refuses to load it.
        with open(f"{RIG}/{KIND}/initrd", "rb") as archive:
            names = subprocess.run(["cpio", "-t", "--quiet"], stdin=archive, check=True, capture_output=True, text=True)
        driver = next(name for name in names.stdout.split() if "vmw_vsock_virtio_transport.ko" in name)
        os.makedirs(os.path.join("without-vsock", os.path.dirname(driver)))
        with open(os.path.join("without-vsock", driver), "wb"):
            pass
        pack_initrd("initrd", "without-vsock", "initrd-without-vsock")


def main():
    first, second = machine("first"), machine("second")
    # With both of the channels that a guest without a driver may have.
    either = machine("either", "auto", "initrd-without-vsock")
    pinned = machine("pinned", "vsock", "initrd-without-vsock")
    machines = first, second, either, pinned

    def report():
        for guest in filter(lambda guest: guest.up, machines):
            with open(f"out/{guest.name}.up", "w", encoding="utf-8") as file:
                said = guest.up.lines + [(at, str(event)) for at, event in guest.up.events]
                file.writelines(f"{text}\n" for _, text in sorted(said))
        for log in glob.glob(f"{os.environ['RUM_HOME']}/machines/*/console.log"):
            shutil.copy(log, f"out/{log.split('/')[-2]}.console")

    def look_around(title):
        """What programs and guests say when a check has just failed."""
        with open("out/programs.failures", "a", encoding="utf-8") as file:
            file.write(f"# {title}, {time.time():.3f}\n")
            for program in Program.started[-4:]:
                file.write(f"{program.process.args} code {program.process.poll()}: {program.lines[-4:]}\n")
        for guest in filter(lambda guest: guest.up and guest.up.is_running(), machines):
            try:
                said = guest.guest("free -m; cat /proc/net/tcp; ps; dmesg | tail -n 20", timeout=30)
            except Exception as error:  # the guest may be what failed
                said = str(error)
            with open(f"out/{guest.name}.failures", "a", encoding="utf-8") as file:
                file.write(f"# {title}, {time.time():.3f}\n{said}\n")

    runner = Checks(look_around)
    watchdog(690, report)
    pack_guest()
    try:
        if runner.run("rum up reaches the agent over vsock", checks.comes_up, first):
            def run(title, check, *more):
                runner.run(title, check, first, *more)

            if KIND == "noipv6":
                run("the guest's kernel has no IPv6", checks.has_no_ipv6)
            if KIND == "cloud":
                run("push comes from BPF programs", checks.push_is, "bpf")
                run("listeners of another network namespace wake nobody", checks.others_wake_nobody)
            else:
                run("push comes from the tracepoint, since the kernel has no BTF", checks.push_is, "tracepoint")
            run("a guest port that listens opens on the host, and closes with it", checks.opens_at_once)
            run("a half-closed client still gets its reply", checks.half_close)
            run("100 MB to the guest arrive as they were sent", checks.bulk, "push")
            run("100 MB from the guest arrive as they were sent", checks.bulk, "pull")
            run("a refused guest port resets the client", checks.refusal)
            run("a client's reset reaches the server", checks.client_resets)
            run("a server's reset reaches the client", checks.server_resets)
            run("only the host may talk to the agent", checks.other_peers, KIND == "cloud")
            run("a wrong token is refused", checks.wrong_token)
            run("another user of the host gets nothing out of the guest", checks.other_user)
            run("a CID without a guest is told as such", checks.wrong_cid)
            run("a guest that stands still is told as such", checks.standing_still)
            run("a killed agent is back with its forwards open", checks.agent_killed)
            run("an agent that does not run is told as such, and found when it does", checks.agent_away_and_back)
            run("forwards are back after a reboot in place", checks.rebooted)
            run("throughput", checks.speeds)
            run("rum forward reaches the agent beside rum up", checks.leave_forwarder)
            run("rum down ends the machine and rum up", checks.down)
            runner.run("a CID's next owner is not taken for the last one", checks.reused_cid, first, second)
            runner.run("rum down ends the second machine", checks.down, second)
        if KIND == "cloud":
            runner.run("a guest without a vsock driver is reached by tcp, and that is told", checks.falls_back, either)
            runner.run("it is so after its reboot", checks.rebooted_without_vsock, either)
            runner.run("rum down ends it", checks.down, either)
            runner.run("where rum.toml asks for vsock its want is told", checks.asks_for_vsock, pinned)
        runner.run("rum destroy leaves nothing", checks.destroyed, *machines)
    finally:
        report()
        for guest in filter(lambda guest: guest.up and guest.up.is_running(), machines):
            guest.up.process.kill()
    print(f"{runner.failures} failed, {time.monotonic() - runner.started:.0f} s")
    sys.exit(1 if runner.failures else 0)


main()
