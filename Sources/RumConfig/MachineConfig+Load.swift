internal import Glibc
internal import Linux

extension MachineConfig {
    /// The rum.toml of the folder at `path`, which is absolute, or of the nearest one above that has it. A link that leads nowhere
    /// is one that cannot be read, and no reason to take another.
    package static func find(in path: String) -> String? {
        var parts = path.split(separator: "/")
        while true {
            let file = "/" + (parts + ["rum.toml"]).joined(separator: "/")
            if faccessat(AT_FDCWD, file, F_OK, AT_SYMLINK_NOFOLLOW) == 0 { return file }
            if parts.popLast() == nil { return nil }
        }
    }

    /// Reads and validates the file at `path`, which is relative to the current folder. Blocks on the disk.
    ///
    /// Nothing that `path` names can make it hang or crash: only regular files of up to 1 MiB are read.
    package static func load(path: String) throws(ConfigErrors) -> MachineConfig {
        let text: String
        do {
            text = try read(path)
        } catch {
            throw ConfigErrors([error])
        }
        return try parse(text, file: path)
    }

    /// Validates the text of a configuration file that the user knows as `file`.
    ///
    /// Relative paths in it are resolved against the folder of `file`, and this, when relative itself, against
    /// the current folder.
    package static func parse(_ text: String, file: String) throws(ConfigErrors) -> MachineConfig {
        let root: TOMLTable
        do {
            root = try TOMLParser.parse(text)
        } catch {
            let problem = ConfigProblem(
                file: file, line: error.line, column: error.column,
                message: "not valid TOML: \(error.message)")
            throw ConfigErrors([problem])
        }
        let home = getenv("HOME").map { String(cString: $0) }
        var parser = ConfigParser(
            root: root, file: file, path: absolute(file), home: home)
        return try parser.parse()
    }

    /// `path` from the root, without `.` and `..`, so that the folder's name can serve as the machine's.
    private static func absolute(_ path: String) -> String {
        var full = path
        if !path.hasPrefix("/"), let folder = getcwd(nil, 0) {
            full = String(cString: folder) + "/" + path
            free(folder)
        }
        return PathResolver.normalised(full)
    }

    private static func read(_ path: String) throws(ConfigProblem) -> String {
        let bytes: [UInt8]
        do throws(SystemError) {
            bytes = try SmallFile.bytes(of: path, limit: ConfigLimits.file)
        } catch {
            let message =
                switch error.code {
                case EINVAL: "is not a regular file"
                case EFBIG: "is larger than 1 MiB; expected a rum.toml"
                default: "cannot be read: \(error.reason)"
                }
            throw ConfigProblem(file: path, message: message)
        }
        return try decode(bytes[...], file: path)
    }

    private static func decode(_ bytes: ArraySlice<UInt8>, file: String) throws(ConfigProblem) -> String {
        if let text = String(validating: bytes, as: UTF8.self) { return text }
        let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        let bad = lines.firstIndex { String(validating: $0, as: UTF8.self) == nil }
        throw ConfigProblem(file: file, line: bad.map { $0 + 1 }, message: "not UTF-8; expected plain text")
    }
}
