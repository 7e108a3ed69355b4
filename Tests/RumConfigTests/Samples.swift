/// The sample of the outside contract, with every key.
let fullSample = """
    name = "dev"

    [image]
    base = "https://example.org/cloud.img"
    sha256 = "\(String(repeating: "0123456789abcdef", count: 4))"

    [boot]
    kernel = "vmlinuz"
    initrd = "boot/initrd.img"
    cmdline = "root=/dev/vda rw"
    firmware = "efi"

    [resources]
    cpus = 4
    memory_mb = 1024
    disk = "10G"

    [[ports]]
    host = 8080
    guest = 80
    bind = "0.0.0.0"
    allow = "host"

    [[ports]]
    host = 8443
    guest = 443

    [auto_ports]
    range = "5000-6000"
    bind = "localhost"
    ignore = [5353, 5400]
    allow = "host"
    max = 2000

    [[auto_ports.rule]]
    port = "5173-5180"
    process = "node"
    command = "/vite|webpack/"
    address = "loopback"
    container = "3f2a*"
    action = "forward"
    label = "web"
    host_port = 15173
    on_conflict = "next"
    on_open = "xdg-open {url}"
    on_open_when = "always"
    protocol = "https"
    hold = "2s"
    proxy_protocol = true

    [[auto_ports.rule]]
    port = [5432, "5500-5510"]
    action = "ignore"

    [[mounts]]
    host = "."
    guest = "/work"

    [[mounts]]
    host = "../data"
    guest = "/home/me/shared files/"
    readonly = true

    [provision]
    on_failure = "stop"

    [provision.system]
    script = \"\"\"
    apt-get update
    host = "not a key"
    \"\"\"

    [provision.boot]
    script = "true"

    [ssh]
    user = "me"
    authorized_keys = ["ssh-ed25519 AAAA me@here"]

    [advanced]
    libvirt_uri = "qemu:///session"
    domain_type = "kvm"
    machine = "q35"
    channel = "vsock"

    """

/// The least that is valid.
let smallSample = """
    [image]
    base = "disk.img"
    """
