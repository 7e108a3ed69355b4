/// Why a file cannot be a base image. Completes "the image PATH ...".
struct ImageFault: Error, Hashable {
    let reason: String
    let hint: String

    init(_ reason: String, hint: String = "image.base must be a bootable qcow2 or raw disk image.") {
        self.reason = reason
        self.hint = hint
    }

    /// Part of the image is missing: a download that broke off, or a full disk.
    static func truncated(needs: UInt64, has: UInt64) -> ImageFault {
        ImageFault(
            "is cut off: it should have at least \(needs) bytes and has \(has)", hint: "Fetch it again.")
    }

    func error(_ path: String) -> MachineError {
        MachineError(.image, "the image \(path) \(reason)", hint: hint)
    }
}
