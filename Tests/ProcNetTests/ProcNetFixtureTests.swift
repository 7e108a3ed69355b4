import Foundation
import Linux
import Ports
import ProcNet
import TestSupport
import Testing

/// The captures of fixtures/procnet: `NAME.tcp`, `NAME.tcp6` where there is one, and `NAME.expected`.
@Suite("Captures of /proc/net/tcp and tcp6")
struct ProcNetFixtureTests {
    static let folder = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../../fixtures/procnet").standardizedFileURL

    static let names: [String] = {
        let files = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
        return files.filter { $0.hasSuffix(".expected") }.map { String($0.dropLast(".expected".count)) }
            .sorted()
    }()

    @Test("The folder has captures of every kind")
    func folderIsThere() {
        #expect(Self.names.count >= 16)
    }

    @Test("A capture gives the listeners that were open, in pieces of any size", arguments: names)
    func capture(_ name: String) throws {
        let expected = try text("\(name).expected")
        for size in [1, 7, 150, 1 << 20] {
            #expect(try result(name, pieces: size) == expected, "read in pieces of \(size) bytes")
        }
    }

    @Test("The reader gives the same as the parser when the captures stand in a proc root", arguments: names)
    func reader(_ name: String) throws {
        let folder = try TestFolder()
        let root = URL(fileURLWithPath: folder.path)
        _ = try folder.folder("net")
        for family in ProcNetFamily.allCases {
            let file = Self.folder.appending(path: "\(name).\(family.rawValue)")
            guard FileManager.default.fileExists(atPath: file.path) else { continue }
            try FileManager.default.copyItem(at: file, to: root.appending(path: "net/\(family.rawValue)"))
        }
        let result = Result { () throws(ProcNetError) in try ProcNetReader(root: root.path).listeners() }
        #expect(try text("\(name).expected") == describe(result))
    }

    @Test("Only ports of the range are reported")
    func range() throws {
        let only = try #require(PortRange(text: "10010-10012"))
        let found = try parse(try data("rows-2000.tcp"), .v4, range: only).get()
        #expect(found.map(\.socket.port.description).sorted() == ["10010", "10011", "10012"])
    }

    @Test("Behind the first connection nothing is read, and half-open connections don't count as one")
    func earlyEnd() throws {
        let header =
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        func row(_ port: String, _ state: String) -> String {
            "   0: 0100007F:\(port) 00000000:0000 \(state) 00000000:00000000 00:00000000 00000000  0  0 4711 1\n"
        }
        // As a kernel before 4.4 prints: half-open connections behind their listener.
        let listeners = header + row("1389", "0A") + row("1389", "03") + row("138A", "0A")
        let text = listeners + row("1389", "01") + "cut"
        #expect(try parse(Array(text.utf8), .v4).get().map(\.socket.port.rawValue) == [5001, 5002])
        #expect(try parse(Array(text.utf8), .v4, pieces: 7).get().count == 2)
        // Read to the end, a broken row there is an error, as is any before the first connection.
        #expect(throws: ProcNetError.malformedLine(number: 6)) {
            try parse(Array(text.utf8), .v4, readsConnections: true).get()
        }
        #expect(throws: ProcNetError.malformedLine(number: 5)) {
            try parse(Array((listeners + "cut").utf8), .v4).get()
        }
    }

    @Test("A listener's inode is field 9")
    func inode() throws {
        let bytes = try data("ipv4-with-connections.tcp")
        let rows = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
        let row = try #require(rows.first { $0.contains(" 00000000:138A ") })
        let inode = try #require(UInt64(row.split(separator: " ")[9]))
        let found = try parse(bytes, .v4).get()
        #expect(found.first { $0.socket.port.rawValue == 5002 }?.inode == inode)
    }

    @Test("An inode may have more than 32 bits")
    func wideInode() throws {
        let found = try parse(try data("inodes-above-32-bits.tcp"), .v4).get()
        #expect(found.count == 3)
        #expect(found.allSatisfy { $0.inode > UInt64(UInt32.max) })
    }

    private func result(_ name: String, pieces: Int) throws -> String {
        var found: [ObservedListener] = []
        for family in ProcNetFamily.allCases {
            guard let bytes = try? data("\(name).\(family.rawValue)") else { continue }
            switch parse(bytes, family, pieces: pieces) {
            case .success(let rows): found += rows
            case .failure(let error): return describe(.failure(error))
            }
        }
        return describe(.success(found))
    }

    private func parse(
        _ bytes: [UInt8], _ family: ProcNetFamily, pieces: Int = 1 << 16, range: PortRange = .all,
        readsConnections: Bool = false
    ) -> Result<[ObservedListener], ProcNetError> {
        do {
            var parser = ProcNetParser(family: family, range: range, readsConnections: readsConnections)
            var start = 0
            while start < bytes.count {
                let end = min(start + pieces, bytes.count)
                try parser.feed(bytes.span.extracting(start..<end))
                start = end
            }
            return .success(try parser.finish())
        } catch {
            return .failure(error)
        }
    }

    /// In the form of the `.expected` files; a key reported twice shows twice.
    private func describe(_ result: Result<[ObservedListener], ProcNetError>) -> String {
        switch result {
        case .success(let rows):
            rows.map { ($0.socket.port, $0.socket.address.description) }
                .sorted { ($0.0, $0.1) < ($1.0, $1.1) }
                .map { "\($0.0) \($0.1)\n" }.joined()
        case .failure(.malformedLine(let number)): "malformed line \(number)\n"
        case .failure(let error): "\(error)"
        }
    }

    private func data(_ file: String) throws -> [UInt8] {
        Array(try Data(contentsOf: Self.folder.appending(path: file)))
    }

    private func text(_ file: String) throws -> String {
        String(decoding: try data(file), as: UTF8.self)
    }
}
