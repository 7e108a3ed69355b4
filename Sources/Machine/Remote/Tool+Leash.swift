internal import Glibc
internal import Linux
internal import Subprocess
internal import SystemPackage

extension Tool {
    /// Runs the program as `outcome` does, and has it end with this process, however that ends: the program gets SIGTERM
    /// then, and `folder` is removed.
    ///
    /// A shell waits beside it for the end of a socket. PR_SET_PDEATHSIG of prctl(2) would not do: that signal comes when the
    /// thread ends that started the program.
    func leashedOutcome(
        of arguments: [String], removing folder: String
    ) async throws(MachineError) -> Outcome {
        guard await isInstalled else { throw notInstalled }
        var ends: [Int32] = [-1, -1]
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        do throws(SystemError) {
            _ = try SystemError.check("socketpair", socketpair(AF_UNIX, kind, 0, &ends))
        } catch {
            throw MachineError(
                .tool, "\(name) cannot be run: \(error)", hint: "Run \(name) by hand to see why.")
        }
        let leash = OwnedDescriptor(owning: ends[0])
        let input = FileDescriptor(rawValue: ends[1])
        let outcome = try await Tool.sh.outcome(
            of: ["-c", Self.leashed, folder, name] + arguments,
            reading: .fileDescriptor(input, closeAfterSpawningProcess: true))
        // The program has ended, and its number may be another's.
        _ = send(leash.rawValue, "\n", 1, Int32(MSG_NOSIGNAL))
        return outcome
    }

    /// `$$` is the program by then. A line says that it has ended in order.
    private static let leashed = """
        exec 3<&0 </dev/null
        { read -r _ <&3 || { kill "$$"; rm -rf "$0"; }; } >/dev/null 2>&1 &
        exec "$@" 3<&-
        """
}
