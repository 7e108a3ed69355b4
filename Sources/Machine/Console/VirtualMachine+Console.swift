internal import Glibc
internal import Linux
internal import RumConfig

extension VirtualMachine {
    /// Reports what the console of the running machine tells about its start, until the task is cancelled.
    package func watchConsole(_ report: (ConsoleNews) async throws -> Void) async throws {
        var reader = ConsoleReader()
        var place: Int64 = 0
        var isQuiet = false
        while !Task.isCancelled {
            let (bytes, next) = Self.read(files.consoleLog, from: place)
            place = next
            // A prompt counts when nothing has followed it for one round.
            let news = reader.read(bytes) + (bytes.isEmpty && !isQuiet ? reader.pause() : [])
            isQuiet = bytes.isEmpty
            for piece in news { try await report(piece) }
            if bytes.count < MachineLimits.consolePiece {
                try? await Task.sleep(for: MachineLimits.consolePoll)
            }
        }
    }

    /// The next bytes of the file at `path`, and the place behind them. A file that got shorter is a new one.
    private static func read(_ path: String, from place: Int64) -> ([UInt8], Int64) {
        let number = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard number >= 0 else { return ([], 0) }
        let file = OwnedDescriptor(owning: number)
        var status = stat()
        guard fstat(file.rawValue, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            return ([], place)
        }
        let start = Int64(status.st_size) < place ? 0 : place
        var bytes = [UInt8](repeating: 0, count: MachineLimits.consolePiece)
        let count = bytes.withUnsafeMutableBytes {
            pread(file.rawValue, $0.baseAddress, $0.count, off_t(start))
        }
        return count > 0 ? (Array(bytes[..<count]), start + Int64(count)) : ([], start)
    }

    /// Notes that the guest has no driver for vsock, and returns the way to its agent without it.
    package func withoutVsock(_ progress: @escaping MachineProgress) async throws(MachineError)
        -> RunningMachine
    {
        try await exclusively(progress) { () async throws(MachineError) in
            guard var record = try MachineRecord.load(files) else {
                throw MachineError(
                    .notCreated, "there is no machine \(config.name)", hint: "Create it with `rum up`.")
            }
            record.lacksVsock = true
            record.channel = "tcp through the user network, since the guest's kernel has no vsock"
            try record.save(files)
            return try await reach(record, wasRunning: true)
        }
    }
}
