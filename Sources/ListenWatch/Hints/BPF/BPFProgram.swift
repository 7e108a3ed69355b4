internal import CLinux
internal import Glibc
internal import Linux

/// A program that runs at a function of the kernel, as long as this lives (bpf(2); fentry and fexit, Linux 5.5).
final class BPFProgram {
    private static let logSize = 64 << 10

    private let link: OwnedDescriptor

    /// The program ends when the last descriptor like it is closed, and the kernel patches the function again. Valid while this
    /// object lives.
    var descriptor: Int32 { link.rawValue }

    /// Loads and attaches a program. When the verifier refuses it, the error has its last words.
    init(
        _ instructions: [UInt64], at function: KernelTypes.Function, _ moment: clinux_bpf_moment,
        licence: String
    ) throws(HintSourceLost) {
        let program: OwnedDescriptor
        do throws(SystemError) {
            let number = MemoryLockLimit.lifted {
                clinux_bpf_load(
                    instructions, UInt32(instructions.count), licence, moment, function.id, nil, 0)
            }
            program = OwnedDescriptor(owning: try SystemError.check("bpf", number))
        } catch {
            guard !error.isPermission, !error.isExhaustion else {
                throw HintSourceLost(error, doing: "loading a program")
            }
            var log = [CChar](repeating: 0, count: Self.logSize)
            _ = clinux_bpf_load(
                instructions, UInt32(instructions.count), licence, moment, function.id, &log,
                UInt32(log.count))
            throw HintSourceLost(description: "loading a program: \(error): \(Self.end(of: log))")
        }
        do {
            // The link holds the program.
            link = OwnedDescriptor(owning: try SystemError.check("bpf", clinux_bpf_attach(program.rawValue)))
        } catch {
            throw HintSourceLost(error, doing: "attaching a program")
        }
    }

    /// Fails where nobody may load a program, with any capability, or not this process. Costs next to nothing.
    static func checkAllowed() throws(HintSourceLost) {
        let nothing: [UInt64] = BPFAssembler().finished()
        let result = MemoryLockLimit.lifted {
            clinux_bpf_load(nothing, UInt32(nothing.count), "", CLINUX_BPF_ENTRY, 0, nil, 0)
        }
        if result < 0, errno != EINVAL {
            let error = SystemError.current("bpf")
            let cure = error.isPermission ? HintPermission.programs(held: Capability.effective) : nil
            throw HintSourceLost(error, doing: "loading a program", cure: cure)
        }
    }

    /// The last lines of what the verifier says, before its statistics.
    private static func end(of log: [CChar]) -> String {
        let text = log.withUnsafeBytes { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        return text.split(separator: "\n").filter { !$0.hasPrefix("processed ") }.suffix(3).joined(
            separator: "; ")
    }
}
