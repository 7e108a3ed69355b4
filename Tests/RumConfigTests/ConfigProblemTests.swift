import RumConfig
import TestSupport
import Testing

/// A document with one thing wrong, and the whole line that the user must see about it.
struct BadInput: CustomTestStringConvertible {
    let text: String
    let expected: String

    init(_ text: String, _ expected: String) {
        self.text = text
        self.expected = expected
    }

    var testDescription: String { expected }
}

private func problems(_ text: String, file: String = "/w/app/rum.toml") -> [String] {
    do throws(ConfigErrors) {
        _ = try MachineConfig.parse(text, file: file)
        return []
    } catch {
        return error.problems.map(\.description)
    }
}

@Suite("A rum.toml with problems")
struct ConfigProblemTests {
    private static let f = "/w/app/rum.toml"
    private static let number = "expected a whole number from 1 to 65535"
    private static let bind =
        "is not an IP address such as 127.0.0.1 or ::1, localhost for both of them, or machine for the machine's own "
        + "address"
    private static let range =
        "is not min-max such as \"5000-6000\", two ports from 1 to 65535 with min <= max"
    private static let image =
        "a name of `rum images list`, a URL (http or https), or the path of a qcow2 or raw file"
    private static let uriRule =
        "qemu:///session, qemu:///system, test:///default, or qemu+unix with socket=/PATH: only a libvirt of this "
        + "host"
    private static let hostFolder = "the path of a folder; a relative one starts at the folder of rum.toml"
    private static let guestFolder =
        "an absolute path in the guest such as \"/work\", not one that the system itself lives in"
    private static let nameRule = "1 to 40 letters, digits, '-', '_' and '.', the first a letter or digit"

    private static let portRule = "a port, a range such as \"5173-5180\", or a list of them"
    private static let pattern = "a glob such as \"node*\", or a regular expression between slashes"
    private static let hold = "a time such as \"2s\" or \"500ms\", up to 60s"
    private static let label =
        "a name of up to 63 lower-case letters, digits and '-', with a letter, and no '-' at an end"

    /// A rule whose first line is wrong.
    private static func rule(_ text: String, _ expected: String) -> BadInput {
        BadInput(
            "[auto_ports]\nrange = \"5000-6000\"\n[[auto_ports.rule]]\n" + text,
            "\(f):4: auto_ports.rule[0].\(expected)")
    }

    static let badInputs: [BadInput] = [
        // Unknown keys.
        BadInput("nam = \"x\"", "\(f):1: nam: unknown key; did you mean name?"),
        BadInput("[auto_port]\nrange = \"1-2\"", "\(f):1: auto_port: unknown key; did you mean auto_ports?"),
        BadInput(
            "[resources]\ncpu = 1\n", "\(f):2: resources.cpu: unknown key; did you mean cpus?"),
        BadInput(
            "[resources]\n\"memory mb\" = 1\n",
            "\(f):2: resources.memory mb: unknown key; did you mean memory_mb?"),
        BadInput(
            "[[ports]]\nhost = 1\nguest = 1\n[[ports]]\nhost = 2\nguest = 2\nbnd = \"::1\"",
            "\(f):7: ports[1].bnd: unknown key; did you mean bind?"),
        BadInput(
            "[ssh]\nwhatever = 1", "\(f):2: ssh.whatever: unknown key; expected user or authorized_keys"),
        BadInput(
            "provision = { system = { scrip = \"\", script = \"\" } }",
            "\(f):1: provision.system.scrip: unknown key; did you mean script?"),
        // Keys of the rum written in Rust.
        BadInput(
            "[user]\nname = \"me\"",
            "\(f):1: user: a key of the rum written in Rust; here the user's name is ssh.user; groups are given by a "
                + "script, in [provision.system]"),
        BadInput(
            "[advanced]\nautologin = true",
            "\(f):2: advanced.autologin: a key of the rum written in Rust; here the console is only recorded; "
                + "`rum shell` needs no login"),
        BadInput(
            "[[fs.zfs]]\ntarget = \"/data\"",
            "\(f):1: fs: a key of the rum written in Rust; here file systems are made by a script, in "
                + "[provision.system]"),
        // Wrong types.
        BadInput("name = 3", "\(f):1: name: expected \(nameRule), in quotes, not 3"),
        BadInput(
            "resources = 5", "\(f):1: resources: expected a table with cpus, memory_mb or disk, not 5"),
        BadInput("ports = 8080", "\(f):1: ports: expected a list of tables, each headed [[ports]], not 8080"),
        BadInput(
            "[ports]\nhost = 1",
            "\(f):1: ports: expected a list of tables, each headed [[ports]], not a table"),
        BadInput(
            "ports = [\n  8080,\n]",
            "\(f):2: ports[0]: expected a table with host, guest, bind or allow, not 8080"),
        BadInput(
            "[resources]\ncpus = \"2\"",
            "\(f):2: resources.cpus: expected a whole number from 1 to 288, without quotes"),
        BadInput(
            "[resources]\ncpus = 1.5",
            "\(f):2: resources.cpus: expected a whole number from 1 to 288, not a floating-point number"),
        BadInput(
            "[resources]\ndisk = 20",
            "\(f):2: resources.disk: expected a size from 16M to 64T such as \"20G\" (units K, M, G, T), "
                + "in quotes, not 20"),
        BadInput(
            "[ssh]\nauthorized_keys = \"k\"",
            "\(f):2: ssh.authorized_keys: expected a list of texts, not \"k\""),
        // Mounts.
        BadInput(
            "[[mounts]]\nguest = \"/w\"", "\(f):1: mounts[0].host: missing; expected \(hostFolder)"),
        BadInput(
            "[[mounts]]\nhost = \".\"\nguest = \"w\"", "\(f):3: mounts[0].guest: \"w\" is not \(guestFolder)"),
        BadInput(
            "[[mounts]]\nhost = \".\"\nguest = \"/work/../etc/x\"",
            "\(f):3: mounts[0].guest: \"/work/../etc/x\" is not \(guestFolder)"),
        BadInput(
            "[[mounts]]\nhost = \".\"\nguest = \"/home/\"",
            "\(f):3: mounts[0].guest: \"/home/\" is not \(guestFolder)"),
        BadInput(
            "[[mounts]]\nhost = \".\"\nguest = \"/a\\nb\"",
            "\(f):3: mounts[0].guest: \"/a\\u{a}b\" is not \(guestFolder)"),
        BadInput(
            "[[mounts]]\nhost = \".\"\nguest = \"/w\"\nreadonly = \"true\"",
            "\(f):4: mounts[0].readonly: expected true or false, without quotes"),
        BadInput(
            "[[mounts]]\nhost = \".\"\nguest = \"/w\"\nreadonly = 1",
            "\(f):4: mounts[0].readonly: expected true or false, not 1"),
        BadInput(
            "[[mounts]]\nhost = \".\"\nguest = \"/w\"\n[[mounts]]\nhost = \"a\"\nguest = \"/w/\"",
            "\(f):6: mounts[1].guest: /w is taken by line 3; expected a path used once"),
        BadInput(
            "[provision]\non_failure = \"go\"", "\(f):2: provision.on_failure: \"go\" is not continue or stop"
        ),
        BadInput(
            "[boot]\nkernel = \"k\"\nfirmware = \"uefi\"",
            "\(f):3: boot.firmware: \"uefi\" is not auto, bios or efi"),
        // Ports.
        BadInput("[[ports]]\nhost = 0\nguest = 80", "\(f):2: ports[0].host: \(number), not 0"),
        BadInput("[[ports]]\nhost = -1\nguest = 80", "\(f):2: ports[0].host: \(number), not -1"),
        BadInput("[[ports]]\nhost = 80\nguest = 65536", "\(f):3: ports[0].guest: \(number), not 65536"),
        BadInput("[[ports]]\nhost = 80\nguest = \"80\"", "\(f):3: ports[0].guest: \(number), without quotes"),
        BadInput("[[ports]]\nguest = 80", "\(f):1: ports[0].host: missing; expected a host port"),
        BadInput(
            "[[ports]]\nhost = 80\nguest = 80\nbind = \"localhos\"",
            "\(f):4: ports[0].bind: \"localhos\" \(bind)"),
        BadInput(
            "[[ports]]\nhost = 80\nguest = 80\nbind = \"127.0.0.256\"",
            "\(f):4: ports[0].bind: \"127.0.0.256\" \(bind)"),
        BadInput(
            "[[ports]]\nhost = 80\nguest = 80\n[[ports]]\nhost = 80\nguest = 81",
            "\(f):5: ports[1].host: host port 80 is taken by line 2; expected a port used once"),
        BadInput(
            "[[ports]]\nhost = 80\nguest = 80\nbind = \"0.0.0.0\"\n[[ports]]\nhost = 80\nguest = 81",
            "\(f):6: ports[1].host: host port 80 is taken by line 2; expected a port used once"),
        BadInput(
            "[[ports]]\nhost = 5000\nguest = 80\n[auto_ports]\nrange = \"5000-6000\"",
            "\(f):2: ports[0].host: host port 5000 lies in auto_ports.range 5000-6000 (line 5); "
                + "expected one outside it"),
        BadInput(
            "[auto_ports]\nrange = \"1-2\"\nallow = \"root\"",
            "\(f):3: auto_ports.allow: \"root\" is not me, or host for every user of it"),
        // The automatic range.
        BadInput("[auto_ports]\nrange = \"6000-5000\"", "\(f):2: auto_ports.range: \"6000-5000\" \(range)"),
        BadInput("[auto_ports]\nrange = \"0-5000\"", "\(f):2: auto_ports.range: \"0-5000\" \(range)"),
        BadInput("[auto_ports]\nrange = \"5000-70000\"", "\(f):2: auto_ports.range: \"5000-70000\" \(range)"),
        BadInput("[auto_ports]\nrange = \"5000\"", "\(f):2: auto_ports.range: \"5000\" \(range)"),
        BadInput("[auto_ports]\nrange = \"-5\"", "\(f):2: auto_ports.range: \"-5\" \(range)"),
        BadInput("[auto_ports]\nrange = \"a-b\"", "\(f):2: auto_ports.range: \"a-b\" \(range)"),
        BadInput(
            "[auto_ports]\n",
            "\(f):1: auto_ports.range: missing; expected min-max such as \"5000-6000\", two ports from 1 to "
                + "65535 with min <= max"),
        BadInput(
            "[auto_ports]\nrange = \"1-2\"\nignore = [\n 1,\n 0,\n]",
            "\(f):5: auto_ports.ignore[1]: \(number), not 0"),
        // Rules. Each document has one, in lines 3 and 4.
        rule("port = 0", "port: 0 is not \(portRule)"),
        rule("port = \"9-1\"", "port: \"9-1\" is not \(portRule)"),
        rule("port = true", "port: true is not \(portRule)"),
        rule("port = [5000, 70000]", "port[1]: 70000 is not \(portRule)"),
        rule("port = []", "port: expected \(portRule), not an empty list"),
        rule(
            "port = 80", "port: 80 lies outside auto_ports.range 5000-6000, so this rule never matches it"),
        rule("process = 5", "process: expected \(pattern), in quotes, not 5"),
        rule("process = \"[a\"", "process: \"[a\" is not \(pattern): a [ without its ]"),
        rule("command = \"/(/\"", "command: \"/(/\" is not \(pattern): a ( without its )"),
        rule("container = \"\"", "container: \"\" is not \(pattern): expected 1 to 200 characters"),
        rule("address = \"lan\"", "address: \"lan\" is not any, loopback or wildcard"),
        rule("action = \"drop\"", "action: \"drop\" is not forward, ignore or ask"),
        rule("label = \"My web\"", "label: \"My web\" is not \(label)"),
        rule("label = \"8080\"", "label: \"8080\" is not \(label)"),
        rule("on_conflict = \"retry\"", "on_conflict: \"retry\" is not wait, next or fail"),
        rule("protocol = \"vnc\"", "protocol: \"vnc\" is not http or https"),
        rule(
            "on_open = \"sh -c id\"",
            "on_open: \"sh -c id\" is not \"xdg-open {url}\"; a rum.toml cannot name another program of the host"
        ),
        rule(
            "on_open_when = \"once\"", "on_open_when: means nothing without on_open = \"xdg-open {url}\""),
        rule("host_port = 0", "host_port: \(number), not 0"),
        rule(
            "host_port = 1", "host_port: goes with one port or one range in port; this rule has none"),
        rule(
            "host_port = 1\nport = [5000, 5001]",
            "host_port: goes with one port or one range in port; this rule has several"),
        rule(
            "host_port = 65535\nport = \"5000-5001\"",
            "host_port: port 5000-5001 from 65535 on would go up to 65536; expected 65535 at the most"),
        rule(
            "host_port = 8079\nport = \"5000-5001\"\n[[ports]]\nhost = 8080\nguest = 80",
            "host_port: host port 8080 is taken by [[ports]]; expected another one"),
        rule(
            "host_port = 8080\nport = 5000\naction = \"ignore\"",
            "host_port: means nothing where action is ignore"),
        rule("hold = \"2 s\"", "hold: \"2 s\" is not \(hold)"),
        rule("hold = \"61s\"", "hold: \"61s\" is not \(hold)"),
        rule("hold = \"0ms\"", "hold: \"0ms\" is not \(hold)"),
        rule("hold = 2", "hold: expected \(hold), in quotes, not 2"),
        rule(
            "proxy_protocol = \"true\"", "proxy_protocol: expected true or false, without quotes"),
        rule("prt = 1", "prt: unknown key; did you mean port?"),
        BadInput(
            "[auto_ports]\nrange = \"1-2\"\nrule = 5",
            "\(f):3: auto_ports.rule: expected a list of tables, each headed [[auto_ports.rule]], not 5"),
        BadInput(
            "[auto_ports]\nrange = \"1-2\"\n" + String(repeating: "[[auto_ports.rule]]\n", count: 65),
            "\(f):3: auto_ports.rule: expected at most 64 of them"),
        BadInput("[auto_ports]\nrange = \"1-2\"\nmax = 0", "\(f):3: auto_ports.max: \(number), not 0"),
        BadInput(
            "[auto_ports]\nrange = \"1-2\"\nmax = 65536", "\(f):3: auto_ports.max: \(number), not 65536"),
        // Bounds and forms.
        BadInput(
            "[resources]\ncpus = 0", "\(f):2: resources.cpus: expected a whole number from 1 to 288, not 0"),
        BadInput(
            "[resources]\nmemory_mb = 10",
            "\(f):2: resources.memory_mb: expected a whole number from 64 to 16777216, not 10"),
        BadInput(
            "[resources]\ndisk = \"20 GB\"",
            "\(f):2: resources.disk: \"20 GB\" is not a size from 16M to 64T such as \"20G\" (units K, M, G, T)"
        ),
        BadInput(
            "[resources]\ndisk = \"1K\"",
            "\(f):2: resources.disk: \"1K\" is not a size from 16M to 64T such as \"20G\" (units K, M, G, T)"),
        BadInput("name = \"-x\"", "\(f):1: name: \"-x\" is not \(nameRule)"),
        BadInput("name = \"a/b\"", "\(f):1: name: \"a/b\" is not \(nameRule)"),
        BadInput("name = \"\"", "\(f):1: name: \"\" is not \(nameRule)"),
        BadInput(
            "[boot]\ninitrd = \"i\"", "\(f):1: boot.kernel: missing; expected the path of a Linux kernel"),
        BadInput(
            "[boot]\nkernel = \"\"", "\(f):2: boot.kernel: \"\" is not the path of a Linux kernel"),
        BadInput(
            "[ssh]\nuser = \"Me\"",
            "\(f):2: ssh.user: \"Me\" is not a user name: up to 32 of a-z, 0-9, '-' and '_', the first a letter "
                + "or '_'"),
        BadInput(
            "[ssh]\nauthorized_keys = [\"/home/me/key.pub\"]",
            "\(f):2: ssh.authorized_keys[0]: expected a public key on one line, such as \"ssh-ed25519 AAAA... "
                + "you@host\", not \"/home/me/key.pub\""),
        BadInput(
            "[advanced]\ndomain_type = \"xen\"",
            "\(f):2: advanced.domain_type: \"xen\" is not auto, kvm or qemu"),
        BadInput("[advanced]\nchannel = \"\"", "\(f):2: advanced.channel: \"\" is not auto, vsock or tcp"),
        BadInput(
            "[advanced]\nlibvirt_uri = \"session\"",
            "\(f):2: advanced.libvirt_uri: \"session\" is not \(uriRule)"),
        BadInput(
            "[advanced]\nlibvirt_uri = \"qemu+ext://x/session?command=/tmp/evil\"",
            "\(f):2: advanced.libvirt_uri: \"qemu+ext://x/session?command=/tmp/evil\" is not \(uriRule)"),
        BadInput(
            "name = \"\\u001b[31m\\u202e\"", "\(f):1: name: \"\\u{1b}[31m\\u{202e}\" is not \(nameRule)"),
        BadInput("a = 1__2", "\(f):1:5: not valid TOML: 1__2 is no value; a text needs quotes"),
        BadInput("a = 2001-02-29", "\(f):1:5: not valid TOML: 2001-02-29 is no value; a text needs quotes"),
        BadInput(
            "[provision.boot]\n", "\(f):1: provision.boot.script: missing; expected a shell script"),
    ]

    @Test("Each problem is told with file, line, key and what was expected", arguments: badInputs)
    func singleProblem(bad: BadInput) {
        #expect(problems(bad.text + "\n\n[image]\nbase = \"disk.img\"") == [bad.expected])
    }

    @Test(
        "A bad image is told where it stands",
        arguments: [
            BadInput("", "\(f): image: missing; expected [image] with base = \(image)"),
            BadInput("[image]\n", "\(f):1: image.base: missing; expected \(image)"),
            BadInput("[image]\nbase = \"\"", "\(f):2: image.base: \"\" is not \(image)"),
            BadInput(
                "[image]\nbase = \"debian-21\"",
                "\(f):2: image.base: there is no image named \"debian-21\"; did you mean debian-11, debian-12, debian-13? "
                    + "A path needs a / or a suffix."),
            BadInput(
                "[image]\nbase = \"almalinux\"",
                "\(f):2: image.base: there is no image named \"almalinux\"; did you mean alma-9, alma-10? "
                    + "A path needs a / or a suffix."),
            BadInput("[image]\nbase = \"ftp://x/y\"", "\(f):2: image.base: \"ftp://x/y\" is not \(image)"),
            BadInput(
                "[image]\nbase = \"x.img\"\nsha256 = \"abc\"",
                "\(f):3: image.sha256: \"abc\" is not 64 hexadecimal digits"),
        ])
    func badImage(bad: BadInput) {
        #expect(problems(bad.text) == [bad.expected])
    }

    @Test("A byte order mark, as some editors write it, is accepted")
    func byteOrderMark() throws {
        let config = try MachineConfig.parse(
            "\u{feff}name = \"dev\"\n[image]\nbase = \"x.img\"\n", file: "/srv/rum.toml")
        #expect(config.name == "dev")
    }

    @Test("All problems are listed at once, in the order of their lines")
    func allAtOnce() {
        let text = """
            colour = "red"
            [resources]
            cpus = 0
            [[ports]]
            host = 70000
            guest = 80
            bind = "nowhere"
            [auto_ports]
            range = "9-1"
            """
        #expect(
            problems(text).map { $0.split(separator: ":").dropFirst().first.map(String.init) ?? "" }
                == ["1", "3", "5", "7", "9", " image"])
    }

    @Test(
        "A syntax error carries line and column",
        arguments: [
            BadInput("name = \"x\"\n[image\n", "\(f):2:7: not valid TOML: "),
            BadInput("name = \"x\nb = 1\n", "\(f):1:10: not valid TOML: "),
            BadInput("a = 1\na = 2\n", "\(f):2:"),
            BadInput("a = \n", "\(f):1:5: not valid TOML: "),
            BadInput(
                "a\u{0}b", "\(f):1:2: not valid TOML: expected = after the key, not the control character 0"),
        ])
    func syntax(bad: BadInput) throws {
        let found = problems(bad.text)
        #expect(found.count == 1)
        #expect(try #require(found.first).hasPrefix(bad.expected))
    }

    @Test("A folder whose name is no machine name asks for a name")
    func badFolder() {
        #expect(
            problems(smallSample, file: "/w/my app/rum.toml") == [
                "/w/my app/rum.toml: name: \"my app\" is no name; expected a key name with \(Self.nameRule)"
            ])
    }

    @Test(
        "A file that cannot be read says why",
        arguments: [
            ("/nonexistent/rum.toml", "cannot be read: No such file or directory"),
            ("/proc", "is not a regular file"), ("/dev/zero", "is not a regular file"),
        ])
    func unreadable(path: String, reason: String) {
        let error = #expect(throws: ConfigErrors.self) { try MachineConfig.load(path: path) }
        #expect(error?.problems.map(\.message) == [reason])
        #expect(error?.hint.contains("-c") == true)
    }

    @Test("No mutilated file crashes the parser, and every refusal has a message")
    func mutations() {
        var generator = SeededGenerator(seed: 0x5eed)
        let original = Array(fullSample.utf8)
        for end in stride(from: 0, to: original.count, by: 3) {
            _ = problems(String(decoding: original[..<end], as: UTF8.self))
        }
        let alphabet = Array("[]{}\"'=.,#\n\\ 0a-\u{0}\u{e9}".utf8)
        for _ in 0..<2000 {
            var bytes = original
            for _ in 0..<Int.random(in: 1...6, using: &generator) {
                let place = Int.random(in: 0..<bytes.count, using: &generator)
                let byte = alphabet[Int.random(in: 0..<alphabet.count, using: &generator)]
                switch Int.random(in: 0..<3, using: &generator) {
                case 0: bytes[place] = byte
                case 1: bytes.insert(byte, at: place)
                default: bytes.removeSubrange(place..<min(place + 9, bytes.count))
                }
            }
            let found = problems(String(decoding: bytes, as: UTF8.self))
            #expect(found.allSatisfy { !$0.isEmpty })
        }
    }
}
