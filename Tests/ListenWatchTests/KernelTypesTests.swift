import Foundation
import Glibc
import TestSupport
import Testing

@testable import ListenWatch

@Suite("The kernel's description of its types")
struct KernelTypesTests {
    @Test("A function's number and parameters, and where a field is, also within what has no name")
    func reads() throws {
        try TypeSamples.sock.withUnsafeBytes { bytes in
            let types = try KernelTypes(
                bytes, functions: ["start", "stop"], structures: ["sock_common", "net"])
            #expect(try types.function("start") == KernelTypes.Function(id: 9, parameterCount: 2))
            #expect(try types.offset(of: ["skc_family"], in: "sock_common", size: 2) == 6)
            #expect(try types.offset(of: ["skc_net", "net"], in: "sock_common", size: 8) == 8)
            #expect(try types.offset(of: ["ns", "inum"], in: "net", size: 4) == 20)
        }
    }

    @Test(
        "What is missing or other than known is an error that names it",
        arguments: [
            (["skc_v6"], "sock_common", 2, "sock_common has no skc_v6"),
            (["skc_family"], "sock_common", 4, "sock_common has another skc_family than known"),
            (["flag"], "sock_common", 4, "sock_common has no flag"),
            (["skc_family", "deeper"], "sock_common", 2, "sock_common has no skc_family.deeper"),
            (["x"], "file", 2, "there is no structure file"),
        ])
    func missing(path: [String], structure: String, size: UInt32, message: String) throws {
        try TypeSamples.sock.withUnsafeBytes { bytes in
            let types = try KernelTypes(
                bytes, functions: ["start", "stop"], structures: ["sock_common", "net"])
            #expect(throws: KernelTypesError(description: message)) {
                try types.offset(of: path, in: structure, size: size)
            }
            #expect(throws: KernelTypesError(description: "there is no function stop")) {
                try types.function("stop")
            }
        }
    }

    @Test("Cut anywhere, and with any byte changed, it is an answer or an error")
    func mangled() {
        let whole = TypeSamples.sock
        for count in 0..<whole.count { ask(Array(whole[..<count])) }
        for index in whole.indices {
            for value: UInt8 in [0, 1, 4, 0x7f, 0x80, 0xff] {
                var bytes = whole
                bytes[index] = value
                ask(bytes)
            }
        }
    }

    @Test("A structure that contains itself is given up")
    func endless() {
        var sample = TypeSamples()
        // Twice, so that each level doubles the work.
        sample.structure("sock_common", 8, [("", 1, 0), ("", 1, 0)])
        sample.bytes.withUnsafeBytes { bytes in
            _ = #expect(throws: KernelTypesError.malformed) {
                try KernelTypes(bytes, functions: [], structures: ["sock_common"])
                    .offset(of: ["x"], in: "sock_common", size: 4)
            }
        }
    }

    @Test("This machine's kernel has all that the programs read, where it says anything of its types")
    func live() throws {
        guard access(KernelTypesFile.standard, R_OK) == 0 else {
            try Test.cancel("this kernel says nothing of its types (CONFIG_DEBUG_INFO_BTF)")
        }
        let layout = try KernelTypesFile.read(KernelTypesFile.standard, ListenProgram.Layout.init)
        // As in every kernel so far: family behind addresses, hash and ports (include/net/sock.h).
        #expect(layout.v4 == 4)
        #expect(layout.family == 16)
        #expect(layout.namespace > layout.family)
        #expect(layout.v6 > layout.namespace)
        #expect(layout.port > layout.v6)
        #expect((1...2).contains(layout.function(.opened).parameterCount))
        #expect(layout.function(.closed).parameterCount == 1)
    }

    @Test(
        "This machine's own, cut and mangled in many places, is an answer or an error",
        .timeLimit(.minutes(1)))
    func liveMangled() throws {
        guard let file = fopen(KernelTypesFile.standard, "r") else {
            try Test.cancel("this kernel says nothing of its types (CONFIG_DEBUG_INFO_BTF)")
        }
        defer { fclose(file) }
        var whole = [UInt8](repeating: 0, count: 256 << 10)
        let count = fread(&whole, 1, whole.count, file)
        for seed in 0..<40 as Range<UInt64> {
            var random = SeededGenerator(seed: seed)
            // So much of it as is read in a moment; the strings are then beyond the end, or taken from the types.
            var bytes = Array(whole[..<Int.random(in: 24...count, using: &random)])
            for _ in 0..<8 {
                bytes[Int.random(in: bytes.indices, using: &random)] = .random(in: 0...255, using: &random)
            }
            bytes.withUnsafeMutableBytes {
                $0.storeBytes(of: UInt32($0.count / 2), toByteOffset: 12, as: UInt32.self)
                $0.storeBytes(of: UInt32($0.count / 2), toByteOffset: 16, as: UInt32.self)
                $0.storeBytes(of: UInt32($0.count / 2 - 24), toByteOffset: 20, as: UInt32.self)
            }
            bytes.withUnsafeBytes { _ = try? ListenProgram.Layout($0) }
        }
    }

    @Test("A file that is missing, empty or no such thing has its name in the error")
    func files() throws {
        let folder = try TestFolder()
        let layout = ListenProgram.Layout.init
        for (name, content) in [
            ("missing", nil), ("empty", ""), ("text", "not types, but long enough to be some"),
        ] {
            let path = "\(folder.path)/\(name)"
            if let content { try content.write(toFile: path, atomically: false, encoding: .utf8) }
            let error = #expect(throws: HintSourceLost.self) { try KernelTypesFile.read(path, layout) }
            #expect(error?.description.hasPrefix(path) == true)
            #expect(error?.isPassing == false)
        }
    }

    private func ask(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { bytes in
            guard
                let types = try? KernelTypes(
                    bytes, functions: ["start", "stop"], structures: ["sock_common", "net"])
            else { return }
            _ = try? types.function("start")
            for path in [["skc_family"], ["skc_net", "net"], ["nothing"]] {
                _ = try? types.offset(of: path, in: "sock_common", size: 2)
            }
            _ = try? types.offset(of: ["ns", "inum"], in: "net", size: 4)
        }
    }
}

/// Writes such descriptions (Documentation/bpf/btf.rst). Types are numbered from 1.
struct TypeSamples {
    private var types: [UInt32] = []
    private var strings: [UInt8] = [0]

    mutating func add(
        _ name: String, kind: UInt32, count: Int = 0, flag: Bool = false, _ size: UInt32,
        _ more: [UInt32] = []
    ) {
        types += [string(name), (flag ? 1 << 31 : 0) | kind << 24 | UInt32(count), size] + more
    }

    mutating func structure(
        _ name: String, _ size: UInt32, flag: Bool = false, _ members: [(String, UInt32, UInt32)]
    ) {
        let words = members.flatMap { [string($0.0), $0.1, $0.2] }
        add(name, kind: 4, count: members.count, flag: flag, size, words)
    }

    mutating func string(_ text: String) -> UInt32 {
        if text.isEmpty { return 0 }
        defer { strings += Array(text.utf8) + [0] }
        return UInt32(strings.count)
    }

    var bytes: [UInt8] {
        let size = UInt32(4 * types.count)
        let header: [UInt32] = [0x0001_eb9f, 24, 0, size, size, UInt32(strings.count)]
        return (header + types).flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) }
        } + strings
    }

    /// A small `struct sock_common`, with names for types, an unnamed structure in an unnamed union, and a bit-field.
    static let sock: [UInt8] = {
        var sample = TypeSamples()
        sample.add("unsigned short", kind: 1, 2, [16])  // 1
        sample.add("__u16", kind: 8, 1)  // 2
        sample.add("", kind: 10, 2)  // 3: const
        sample.structure("", 4, [("pair", 1, 0), ("skc_family", 3, 16)])  // 4
        sample.add("", kind: 5, count: 2, 4, [sample.string("word"), 7, 0, 0, 4, 0])  // 5: a union
        sample.structure("net", 32, [("count", 7, 0), ("ns", 13, 128)])  // 6
        sample.add("unsigned int", kind: 1, 4, [32])  // 7
        sample.add("", kind: 13, count: 2, 7, [0, 10, 0, 7])  // 8: a prototype
        sample.add("start", kind: 12, 8)  // 9
        sample.add("", kind: 2, 6)  // 10: a pointer to net
        sample.structure("", 8, [("net", 10, 0)])  // 11
        sample.add("possible_net_t", kind: 8, 11)  // 12
        sample.structure("ns_common", 16, [("ops", 7, 0), ("inum", 7, 32)])  // 13
        sample.structure(  // 14
            "sock_common", 24, flag: true,
            [("flag", 7, 1 << 24), ("", 5, 32), ("skc_net", 12, 64), ("rest", 7, 128)])
        return sample.bytes
    }()
}
