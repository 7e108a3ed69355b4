import Glibc
import Linux
import LiveKernel

/// CPU time beyond the measured process: the kernel's own threads, and the whole machine.
struct MachineLoad {
    /// Nanoseconds of all CPUs that were not idle, in steps of 10 ms (proc_stat(5)); other programs' work is in it.
    var machine: Int64
    /// Nanoseconds of the kernel's workers, soft interrupts and RCU threads (schedstat).
    var kernelThreads: Int64

    static var now: MachineLoad { MachineLoad(machine: busy(), kernelThreads: kernelThreadTime()) }

    static func - (later: MachineLoad, earlier: MachineLoad) -> MachineLoad {
        MachineLoad(
            machine: later.machine - earlier.machine,
            kernelThreads: later.kernelThreads - earlier.kernelThreads)
    }

    private static func busy() -> Int64 {
        let text = (try? SmallFile.text(of: "/proc/stat")) ?? ""
        let numbers = text.prefix { $0 != "\n" }.split(separator: " ").dropFirst().map { Int64($0) ?? 0 }
        guard numbers.count >= 7 else { return 0 }
        // user, nice, system, idle, iowait, irq, softirq
        return (numbers[0] + numbers[1] + numbers[2] + numbers[5] + numbers[6]) * 10_000_000
    }

    private static func kernelThreadTime() -> Int64 {
        ProcessFiles.numbers(in: "/proc").reduce(0) { sum, pid in
            let name = (try? SmallFile.text(of: "/proc/\(pid)/comm")) ?? ""
            guard ["kworker", "ksoftirqd", "rcu"].contains(where: name.hasPrefix) else { return sum }
            return sum + ProcessFiles.runTime("/proc/\(pid)")
        }
    }
}

/// What /proc tells of a process's threads.
enum ProcessFiles {
    /// CPU nanoseconds of each thread, summed by its name.
    static func threads(of pid: Int32) -> [String: Int64] {
        var result: [String: Int64] = [:]
        for task in numbers(in: "/proc/\(pid)/task") {
            let name = (try? SmallFile.text(of: "/proc/\(pid)/task/\(task)/comm")) ?? "?"
            result[String(name.prefix { $0 != "\n" }), default: 0] += runTime("/proc/\(pid)/task/\(task)")
        }
        return result
    }

    /// A line of /proc/PID/status such as VmHWM, in MiB.
    static func mebibytes(_ field: String, of pid: Int32) -> Double {
        let text = (try? SmallFile.text(of: "/proc/\(pid)/status")) ?? ""
        let line = text.split(separator: "\n").first { $0.hasPrefix(field + ":") }
        let kibibytes = line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Double($0) }
        return (kibibytes ?? 0) / 1024
    }

    static func runTime(_ folder: String) -> Int64 {
        let text = (try? SmallFile.text(of: "\(folder)/schedstat")) ?? ""
        return text.split(separator: " ").first.flatMap { Int64($0) } ?? 0
    }

    static var onlineCPUs: [Int32] {
        (0..<Int32(sysconf(Int32(_SC_NPROCESSORS_CONF)))).filter { cpu in
            let text = try? SmallFile.text(of: "/sys/devices/system/cpu/cpu\(cpu)/online")
            return text.map { $0.hasPrefix("1") } ?? true
        }
    }

    static func numbers(in directory: String) -> [Int32] {
        guard let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var numbers: [Int32] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if let number = Int32(name) { numbers.append(number) }
        }
        return numbers
    }
}
