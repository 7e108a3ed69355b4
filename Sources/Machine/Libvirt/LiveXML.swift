/// Finds single values in the XML that libvirt itself has written.
///
/// libvirt writes attributes in single quotes, escapes what XML reserves and never uses comments or CDATA here, so
/// a search does what a parser would.
enum LiveXML {
    /// The CID of a running domain's vsock device: `<cid auto='yes' address='3'/>`.
    static func vsockCID(_ domain: String) -> UInt32? {
        element("cid", in: domain).flatMap { attribute("address", of: $0) }.flatMap { UInt32($0) }
    }

    /// How a domain is executed: `<domain type='kvm' id='7'>`.
    static func domainType(_ domain: String) -> String {
        element("domain", in: domain).flatMap { attribute("type", of: $0) }.map(String.init) ?? "unknown"
    }

    /// The user as which the daemon runs QEMU, from its capabilities: `<baselabel type='kvm'>+64055:+109</baselabel>`
    /// of the `dac` model.
    static func qemuUser(_ capabilities: String) -> UInt32? {
        guard let model = capabilities.firstRange(of: "<model>dac</model>") else { return nil }
        let rest = capabilities[model.upperBound...]
        guard let label = rest.firstRange(of: "<baselabel"), let end = rest.firstRange(of: "</secmodel>"),
            label.lowerBound < end.lowerBound
        else { return nil }
        let digits = rest[label.upperBound...].drop { $0 != ">" }.dropFirst().drop { $0 == "+" }
        return UInt32(digits.prefix { $0.isNumber })
    }

    /// The emulator's path, from a domain's capabilities: `<path>/usr/bin/qemu-system-x86_64</path>`.
    static func emulator(_ capabilities: String) -> String? {
        guard let start = capabilities.firstRange(of: "<path>") else { return nil }
        return String(capabilities[start.upperBound...].prefix { $0 != "<" })
    }

    /// Whether libvirt can start machines by UEFI, from a domain's capabilities: `<value>efi</value>` among the values of
    /// `<enum name='firmware'>`, which it takes from the firmware descriptions of the host (formatdomaincaps.html).
    static func hasUEFI(_ capabilities: String) -> Bool {
        guard let start = capabilities.firstRange(of: "<enum name='firmware'>"),
            let end = capabilities[start.upperBound...].firstRange(of: "</enum>")
        else { return false }
        return capabilities[start.upperBound..<end.lowerBound].contains("<value>efi</value>")
    }

    /// The file of the disk that the guest sees as `target`, escaped as in XML:
    /// `<disk type='file' device='disk'>...<source file='/m/disk.qcow2'/>...<target dev='vda' bus='virtio'/>`.
    static func diskFile(_ target: String, of domain: String) -> String? {
        guard let end = domain.firstRange(of: "<target dev='\(target)'"),
            let start = domain[..<end.lowerBound].ranges(of: "<disk ").last
        else { return nil }
        // What it stands on has sources too, behind its own.
        return element("source", in: String(domain[start.lowerBound..<end.lowerBound]))
            .flatMap { attribute("file", of: $0) }.map(String.init)
    }

    private static func element(_ name: String, in text: String) -> Substring? {
        guard let start = text.firstRange(of: "<\(name) ") else { return nil }
        return text[start.upperBound...].prefix { $0 != ">" }
    }

    private static func attribute(_ name: String, of element: Substring) -> Substring? {
        guard let start = element.firstRange(of: "\(name)='") else { return nil }
        return element[start.upperBound...].prefix { $0 != "'" }
    }
}
