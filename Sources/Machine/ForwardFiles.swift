internal import Glibc
internal import Linux
internal import RumConfig

/// Where a `rum forward` that has a name keeps its socket: beside the machines, in a folder of its own.
package struct ForwardFiles: Hashable, Sendable {
    package let name: String
    /// Only its owner may look into it.
    package let directory: String

    /// `name` is a valid machine name.
    package init(name: String, environment: [String: String]) {
        self.name = name
        directory = Self.parent(environment) + "/" + name
    }

    /// Those of this user, sorted by name. One that was killed is among them until the next of its name has ended.
    package static func all(environment: [String: String]) -> [ForwardFiles] {
        MachineFiles.names(in: parent(environment)).sorted().filter(MachineName.isValid).map {
            ForwardFiles(name: $0, environment: environment)
        }.filter { MachineFiles.exists($0.controlSocket) && (try? $0.checkOwner()) != nil }
    }

    /// Where the process that forwards is asked and told things.
    package var controlSocket: String { directory + "/control.sock" }

    /// Makes the folder, and throws when somebody else could change what is in it.
    package func make() throws(MachineError) {
        let parent = MachineFiles.directory(of: directory)
        try MachineFiles.makeDirectory(MachineFiles.directory(of: parent), mode: 0o711)
        try MachineFiles.makeDirectory(directory)
        try checkOwner()
    }

    /// Removes the folder once the socket is gone.
    package func remove() { rmdir(directory) }

    private func checkOwner() throws(MachineError) {
        let parent = MachineFiles.directory(of: directory)
        for path in [MachineFiles.directory(of: parent), parent] { try MachineFiles.checkOwner(of: path) }
        try MachineFiles.checkPrivate(directory)
    }

    private static func parent(_ environment: [String: String]) -> String {
        let machines = MachineFiles.directory(
            of: MachineFiles(machine: "", environment: environment).directory)
        return MachineFiles.directory(of: machines) + "/forwards"
    }
}
