internal import Linux

/// The CPUs that run, from `/sys/devices/system/cpu/online`, or from `/proc/stat` where /sys is not mounted.
enum OnlineCPUs {
    static func list() -> [Int32] {
        list(sys: "/sys/devices/system/cpu/online", stat: "/proc/stat")
    }

    /// Those that may ever run, as far as can be told.
    static var possible: [Int32] {
        (try? SmallFile.text(of: "/sys/devices/system/cpu/possible")).map(parse) ?? []
    }

    static func list(sys: String, stat: String) -> [Int32] {
        if let text = try? SmallFile.text(of: sys) { return parse(text) }
        return (try? SmallFile.text(of: stat)).map(parseStat) ?? []
    }

    /// Reads the lines `cpu0 ...`, one for each CPU online (proc_stat(5)).
    static func parseStat(_ text: String) -> [Int32] {
        text.split(separator: "\n").compactMap { line in
            guard line.hasPrefix("cpu") else { return nil }
            return Int32(line.dropFirst(3).prefix { $0 != " " })
        }
    }

    /// Reads `0-3,5`.
    static func parse(_ text: String) -> [Int32] {
        text.prefix { $0 != "\n" }.split(separator: ",").flatMap { part -> [Int32] in
            let ends = part.split(separator: "-").compactMap { Int32($0) }
            guard let first = ends.first, let last = ends.last, first <= last else { return [] }
            return Array(first...last)
        }
    }
}
