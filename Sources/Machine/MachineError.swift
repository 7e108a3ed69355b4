/// Why something could not be done with a machine, and what to do next.
package struct MachineError: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Kind: Hashable, Sendable {
        /// No libvirt daemon answers at the URI.
        case noLibvirt
        /// The user, or QEMU, may not do this.
        case permission
        /// There is no such machine.
        case notCreated
        /// The base image is missing, unreadable, or not fit for a machine.
        case image
        /// A program that is needed is not installed.
        case missingTool
        /// A program that is needed failed.
        case tool
        /// libvirt refused to define or start the machine.
        case startFailed
        /// Something else has the machine's name, or holds its files.
        case conflict
        /// The machine's record cannot be read.
        case damaged
        /// A file of the machine could not be read or written.
        case files
        /// The machine did not do in time what it was asked to.
        case timeout
        /// libvirt failed in another way.
        case libvirt
        /// The user has interrupted it.
        case interrupted
    }

    package let kind: Kind
    /// What happened, in one sentence without a final stop.
    package let message: String
    /// What the user can do about it.
    package let hint: String

    package init(_ kind: Kind, _ message: String, hint: String) {
        self.kind = kind
        self.message = message
        self.hint = hint
    }

    package var description: String { message }

    /// Throws when the task was cancelled. Called between the steps of what takes long.
    static func checkInterruption() throws(MachineError) {
        if Task.isCancelled { throw MachineError(.interrupted, "interrupted", hint: "Run it again.") }
    }
}
