internal import Glibc
package import Linux

/// The number by which the kernel knows a network namespace, as in `ns.inum` and in the links of /proc (namespaces(7)).
package enum NetworkNamespaceNumber {
    /// That of a process or thread, by its name in the directory of processes: a number or `thread-self`.
    ///
    /// - Throws: the errno of readlink(2), such as EACCES for another user's process; EINVAL for what is no such link.
    package static func of(_ task: String, in root: String = "/proc") throws(SystemError) -> UInt64 {
        var buffer = [CChar](repeating: 0, count: 64)
        let length = try SystemError.check(
            "readlink", readlink("\(root)/\(task)/ns/net", &buffer, buffer.count))
        // net:[4026531840]
        let text = String(decoding: buffer[..<length].map(UInt8.init(bitPattern:)), as: UTF8.self)
        guard text.hasPrefix("net:["), let number = UInt64(text.dropFirst("net:[".count).dropLast()) else {
            throw SystemError(code: EINVAL, operation: "readlink")
        }
        return number
    }
}
