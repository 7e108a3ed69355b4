import CLinux
import Foundation
import Glibc
import Testing

@Suite("A process that outlives its parent")
struct DetachedProcessTests {
    @Test("It has a session, streams and a folder of its own, and nothing that its parent had open")
    func detached() throws {
        let path = "/tmp/rum-detached-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        let output = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        #expect(output >= 0)
        defer {
            close(output)
            unlink(path)
        }
        // As a script leaves it to its children.
        let inherited = dup(output)
        defer { close(inherited) }
        // Without a pipe, whose ends the shell would have open, and not as the last command, which it would become.
        let script = """
            pwd; cut -d' ' -f6 /proc/$$/stat; readlink /proc/$$/fd/0; ls /proc/$$/fd; :
            """
        let arguments: [String] = ["sh", "-c", script]
        var words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        var variables: [UnsafeMutablePointer<CChar>?] = [strdup("PATH=/usr/bin:/bin"), nil]
        defer { for text in words + variables { free(text) } }
        var pid = pid_t()
        #expect(clinux_spawn_detached("/bin/sh", &words, &variables, output, &pid) == 0)
        var status: Int32 = -1
        #expect(waitpid(pid, &status, 0) == pid && status == 0)
        let said = String(decoding: try Data(contentsOf: URL(fileURLWithPath: path)), as: UTF8.self)
        #expect(said == "/\n\(pid)\n/dev/null\n0\n1\n2\n")
        #expect(clinux_spawn_detached("/nowhere", &words, &variables, output, &pid) == ENOENT)
    }
}
