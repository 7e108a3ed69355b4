internal import Glibc
internal import Linux

/// The file with the running kernel's own types, some 5 MiB.
enum KernelTypesFile {
    static let standard = "/sys/kernel/btf/vmlinux"
    private static let limit = 64 << 20

    /// Has `body` look at the file's content, which is in memory just as long: in a mapping of its own, since what malloc(3) had
    /// given would make it keep more for ever. Files of sysfs themselves can't be mapped before Linux 6.16.
    static func read<Result>(
        _ path: String, _ body: (UnsafeRawBufferPointer) throws(KernelTypesError) -> Result
    ) throws(HintSourceLost) -> Result {
        do {
            let file = OwnedDescriptor(
                owning: try SystemError.check("open", open(path, O_RDONLY | O_CLOEXEC)))
            var status = stat()
            _ = try SystemError.check("fstat", fstat(file.rawValue, &status))
            let size = Int(status.st_size)
            guard (1...limit).contains(size) else { throw SystemError(code: EFBIG, operation: "open") }
            guard let memory = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
                memory != MAP_FAILED
            else { throw SystemError.current("mmap") }
            defer { munmap(memory, size) }
            var count = 0
            while count < size {
                let more = try SystemError.check(
                    "read", Glibc.read(file.rawValue, memory + count, size - count))
                if more == 0 { break }
                count += more
            }
            return try body(UnsafeRawBufferPointer(start: memory, count: count))
        } catch let error as SystemError {
            throw HintSourceLost(error, doing: path)
        } catch {
            throw HintSourceLost(description: "\(path): \(error)")
        }
    }
}
