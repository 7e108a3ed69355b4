"""What can be wrong with a rum.toml."""
import os

from provoke import Row

IMAGE = '[image]\nbase = "debian.qcow2"\n'


def config(title, text, *, image=IMAGE):
    """A rum.toml in which one thing is wrong; the image comes last, so that the lines count from the text."""
    return Row(title, "status", toml=text + "\n" + image, code=2)


ROWS = [
    Row("There is no rum.toml", "up", code=2),
    Row("-c names no file", "up", "-c", "other.toml", code=2),
    Row("rum.toml is a folder", "up", code=2, prepare=lambda place: os.mkdir(place.path("app/rum.toml"))),
    Row("rum.toml is no text", "up", code=2,
        prepare=lambda place: place.write("app/rum.toml", b'name = "dev"\n# caf\xe9\n')),
    Row("rum.toml is far too large", "up", code=2,
        prepare=lambda place: place.write("app/rum.toml", b"#" * (2 << 20))),
    config("A quote is missing", 'name = "dev'),
    config("A key stands twice", 'name = "dev"\nname = "test"'),
    config("A section is misspelt", '[resource]\ncpus = 2'),
    config("A key is misspelt", '[resources]\ncpu = 2'),
    config("A key is in the wrong section", '[auto_ports]\nrange = "5000-6000"\ndisk = "20G"'),
    config("A value stands where a section is expected", "resources = [2, 2048]"),
    config("A section with one pair of brackets where several may be", "[ports]\nhost = 8080\nguest = 80"),
    config("A number is in quotes", '[resources]\ncpus = "2"'),
    config("A text is not in quotes", "[resources]\ndisk = 20"),
    config("A number is too small", "[resources]\nmemory_mb = 10"),
    config("A size lacks its unit", '[resources]\ndisk = "20"'),
    config("No image is named", "[resources]\ncpus = 2", image=""),
    config("The image is no URL that rum can fetch", '[image]\nbase = "ftp://example.org/debian.qcow2"', image=""),
    config("The image's sha256 is none", '[image]\nbase = "debian.qcow2"\nsha256 = "abc"', image=""),
    config("A port that does not exist", "[[ports]]\nhost = 70000\nguest = 80"),
    config("A host port is used twice", "[[ports]]\nhost = 80\nguest = 80\n[[ports]]\nhost = 80\nguest = 81"),
    config("A static host port lies in the automatic range",
           '[auto_ports]\nrange = "5000-6000"\n[[ports]]\nhost = 5001\nguest = 80'),
    config("The automatic range is backwards", '[auto_ports]\nrange = "6000-5000"'),
    config("A rule's pattern is none", '[auto_ports]\nrange = "5000-6000"\n[[auto_ports.rule]]\nprocess = "/node(/"'),
    config("A rule is about a port that is never forwarded",
           '[auto_ports]\nrange = "5000-6000"\n[[auto_ports.rule]]\nport = 3000'),
    config("A rule moves ports to where a static forward is",
           '[[ports]]\nhost = 8080\nguest = 80\n[auto_ports]\nrange = "5000-6000"\n[[auto_ports.rule]]\n'
           'port = "5000-5100"\nhost_port = 8000'),
    config("A rule would run a program of the host",
           '[auto_ports]\nrange = "5000-6000"\n[[auto_ports.rule]]\non_open = "make deploy"'),
    config("A label cannot be part of a host name",
           '[auto_ports]\nrange = "5000-6000"\n[[auto_ports.rule]]\nlabel = "My web"'),
    config("An address to bind is none", '[[ports]]\nhost = 80\nguest = 80\nbind = "localhos"'),
    config("The user's name cannot be one", '[ssh]\nuser = "Ann B"'),
    config("A path where a public key is expected", '[ssh]\nauthorized_keys = ["~/.ssh/id_ed25519.pub"]'),
    config("An accelerator that does not exist", '[advanced]\ndomain_type = "xen"'),
    config("A channel that does not exist", '[advanced]\nchannel = "serial"'),
    config("A libvirt that would run a program", '[advanced]\nlibvirt_uri = "qemu+ssh://other/system"'),
    config("The machine's name cannot be one", 'name = "my machine"'),
    config("A script is missing", "[provision.system]"),
    config("A kernel is missing", '[boot]\ninitrd = "initrd.img"'),
    config("A key of the rum that is written in Rust", '[user]\nname = "ann"'),
    config("A section of the rum that is written in Rust", '[[network.interfaces]]\nnetwork = "dev-net"'),
    config("A file system as in the rum that is written in Rust", '[[fs.ext4]]\ntarget = "/data"'),
    config("Several things at once", 'colour = "red"\n[resources]\ncpus = 0\ndisk = "20"'),
]
