internal import CLinux
internal import Glibc

/// Starts programs that need not end with this process.
package enum DetachedProcess {
    /// Starts the program at `path` in a session of its own and in the folder /, without standard input and with nothing else
    /// that is open here, and returns its process id. Whoever starts it has to wait for it, or to end before it.
    ///
    /// - Parameters:
    ///   - arguments: its own name first.
    ///   - output: what becomes its standard output and standard error.
    package static func start(
        _ path: String, _ arguments: [String], environment: [String: String], output: Int32
    ) throws(SystemError) -> Int32 {
        var words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        var pairs: [UnsafeMutablePointer<CChar>?] = environment.map { strdup("\($0)=\($1)") } + [nil]
        defer { for text in words + pairs { free(text) } }
        var pid = pid_t()
        let code = clinux_spawn_detached(path, &words, &pairs, output, &pid)
        guard code == 0 else { throw SystemError(code: code, operation: "posix_spawn") }
        return pid
    }
}
