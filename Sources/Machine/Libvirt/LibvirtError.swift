internal import CLibvirt
internal import Glibc

/// An error that libvirt reported.
struct LibvirtError: Error, Hashable, Sendable {
    /// virErrorNumber.
    let code: UInt32
    /// The errno behind it; 0 when there is none.
    let systemCode: Int32
    let message: String
    /// What was tried, as in "cannot ...".
    let operation: String

    /// The calling thread's last error; call it right after the failed function, with no await between.
    static func last(_ operation: String) -> LibvirtError {
        guard let error = virGetLastError() else {
            return LibvirtError(code: 0, systemCode: 0, message: "no reason given", operation: operation)
        }
        let number = UInt32(bitPattern: error.pointee.code)
        return LibvirtError(
            code: number,
            // virReportSystemError keeps errno there.
            systemCode: number == VIR_ERR_SYSTEM_ERROR.rawValue ? error.pointee.int1 : 0,
            // QEMU's own words may span lines.
            message: error.pointee.message.map { String(cString: $0) }?
                .split(whereSeparator: \.isNewline).joined(separator: "; ") ?? "no reason given",
            operation: operation)
    }

    func isCode(_ code: virErrorNumber) -> Bool { self.code == code.rawValue }

    /// As the user sees it. `kind` is used where the code does not tell a better one.
    func machineError(_ kind: MachineError.Kind, hint: String? = nil) -> MachineError {
        MachineError(
            isDenied ? .permission : kind, "cannot \(operation): \(message)",
            hint: isDenied
                ? Self.deniedHint : hint ?? "Look at libvirt's log, as with: journalctl -u libvirtd")
    }

    private static let deniedHint =
        "Join the group libvirt (sudo usermod -aG libvirt $USER, then log in again), or use qemu:///session."

    private var isDenied: Bool {
        switch virErrorNumber(code) {
        case VIR_ERR_AUTH_FAILED, VIR_ERR_AUTH_CANCELLED, VIR_ERR_AUTH_UNAVAILABLE, VIR_ERR_ACCESS_DENIED,
            VIR_ERR_OPERATION_DENIED:
            true
        default: systemCode == EACCES || systemCode == EPERM
        }
    }

    /// Whether a start failed for a device or feature that the host does not have.
    var isUnsupported: Bool { isCode(VIR_ERR_CONFIG_UNSUPPORTED) || isCode(VIR_ERR_SYSTEM_ERROR) }
}
