import AgentChannel
import ClientOwner
import Linux
import Names
import Ports
import ProcNet
import RumConfig
import SockDiag
import SwiftProtobuf

@testable import AgentAPI
@testable import Control
@testable import ListenWatch
@testable import Machine
@testable import Relay

/// Everything that reads bytes from a kernel, a file or a peer. A reader must end, and not crash; most also have to give the
/// same answer in another way.
enum Readers {
    typealias Reader = @Sendable (UnsafeRawBufferPointer) -> Void

    static let all: [String: Reader] = [
        "config": config, "console": console, "control": control, "devcontainer": devcontainer, "feed": feed,
        "greeting": greeting, "handshake": handshake, "hosts": hosts, "http": http, "hybrid": hybrid,
        "opening": opening, "owner": owner, "pattern": pattern, "ping": ping, "procnet": procnet,
        "qcow2": qcow2, "records": records, "sockdiag": sockdiag, "table": table, "trace": trace,
        "types": types,
    ]

    /// The one that the command line names.
    static let chosen: Reader? = CommandLine.arguments.dropFirst().first.flatMap { all[$0] }

    static func expect(_ condition: Bool, _ what: StaticString) {
        if !condition { fatalError("\(what)") }
    }

    /// rum.toml, which comes with a repository.
    private static func config(_ bytes: UnsafeRawBufferPointer) {
        let text = String(decoding: bytes, as: UTF8.self)
        do {
            let config = try MachineConfig.parse(text, file: "/srv/app/rum.toml")
            expect(!config.name.isEmpty && !config.name.contains("/"), "a name that is no file name")
            expect(config.ports.allSatisfy { !$0.bind.addresses.isEmpty }, "a port that is bound nowhere")
        } catch {
            expect(!error.problems.isEmpty, "refused without a reason")
        }
    }

    /// The control socket, both ends: lines in one piece and in others, then what each says as a request and as a message.
    private static func control(_ bytes: UnsafeRawBufferPointer) {
        guard let first = bytes.first else { return }
        let stream = UnsafeRawBufferPointer(rebasing: bytes.dropFirst())
        let whole = lines(stream, pieces: max(1, stream.count))
        expect(whole == lines(stream, pieces: Int(first) + 1), "pieces change the lines")
        for line in whole {
            if let request = ControlLine.value(ControlRequest.self, from: line) {
                expect(
                    ControlLine.value(ControlRequest.self, from: ControlLine.bytes(request)) == request,
                    "a request that is not read again")
            }
            if let message = ControlLine.value(ControlMessage.self, from: line) {
                expect(
                    ControlLine.value(ControlMessage.self, from: ControlLine.bytes(message)) == message,
                    "a message that is not read again")
            }
        }
    }

    private static func lines(_ stream: UnsafeRawBufferPointer, pieces: Int) -> [[UInt8]] {
        var buffer = LineBuffer(limit: .max)
        var found: [[UInt8]] = []
        var rest = stream[...]
        while !rest.isEmpty {
            buffer.add(rest.prefix(pieces))
            rest = rest.dropFirst(pieces)
            while let line = buffer.next() { found.append(line) }
        }
        return found
    }

    /// The first bytes of a client of the router: what is said of a part of them stands, unless it was too little to tell.
    private static func opening(_ bytes: UnsafeRawBufferPointer) {
        let all = Array(bytes.prefix(16 << 10))
        for hasSettings in [false, true] {
            func read(_ count: Int) -> ClientOpening {
                ClientOpening(Array(all[..<count]), hasSettings: hasSettings) { block in
                    String(decoding: block, as: UTF8.self)
                }
            }
            let whole = read(all.count)
            if case .request(let request) = whole {
                _ = request.host.flatMap(LocalName.init)
                expect(
                    request.acknowledgement.map { $0.upperBound <= all.count } ?? true,
                    "a place beyond the end")
            }
            for count in [all.count / 2, all.count - 1] where count > 0 {
                switch read(count) {
                case .incomplete, .wantsSettings: break
                case let part: expect(part == whole, "more bytes change what was said")
                }
            }
        }
    }

    /// /proc/net/tcp: in one piece, and in pieces of the size that the first byte says.
    private static func procnet(_ bytes: UnsafeRawBufferPointer) {
        guard let first = bytes.first else { return }
        let text = UnsafeRawBufferPointer(rebasing: bytes.dropFirst())
        for family in ProcNetFamily.allCases {
            let whole = listeners(text, family, pieces: text.count)
            expect(whole == listeners(text, family, pieces: Int(first) + 1), "pieces change what is read")
        }
    }

    private static func listeners(
        _ text: UnsafeRawBufferPointer, _ family: ProcNetFamily, pieces: Int
    ) -> [ObservedListener]? {
        var parser = ProcNetParser(family: family, range: .all)
        let bytes = Array(text)
        do {
            var start = 0
            while start < bytes.count {
                let end = min(bytes.count, start + max(1, pieces))
                try parser.feed(bytes.span.extracting(start..<end))
                start = end
            }
            return try parser.finish()
        } catch {
            return nil
        }
    }

    /// Netlink: a dump, a look-up, and the uevent of a CPU.
    private static func sockdiag(_ bytes: UnsafeRawBufferPointer) {
        for sequence in [UInt32(7), 0] {
            var rows: [ObservedListener] = []
            _ = try? DiagReply.decode(bytes, sequence: sequence, into: &rows)
            _ = try? DiagReply.owner(bytes, sequence: sequence)
        }
        _ = CPUChanges.cpu(in: bytes)
    }

    private static func owner(_ bytes: UnsafeRawBufferPointer) {
        let (client, server) = (
            SocketAddress.tcp(.loopbackV4, port: 5), SocketAddress.tcp(.loopbackV4, port: 6)
        )
        let answer = OwnerMessages.answer(bytes, client: client, server: server, sequence: 7)
        if case .owner(.user) = answer {
            expect(bytes.count >= 88 && bytes[21] == 5 && bytes[23] == 6, "an owner of another socket")
        }
    }

    /// The agent's side of port 2223: dials only for the right token, and only the port that the bytes name.
    private static func handshake(_ bytes: UnsafeRawBufferPointer) {
        let token = MachineToken(bytes: [UInt8](repeating: 7, count: MachineToken.size)) ?? .none
        var side = GuestHandshake(token: token) { [.tcp(.loopbackV4, port: $0.rawValue)] }
        var step = side.next(.accepted)
        var rest = bytes[...]
        while case .receive(let count, _) = step {
            expect(count > 0, "waits for nothing")
            let given = Array(rest.prefix(max(1, count / 2)))
            rest = rest.dropFirst(given.count)
            if given.isEmpty { return }
            step = side.next(.received(given))
        }
        guard case .dial(let address) = step else { return }
        expect(bytes.prefix(MachineToken.size).allSatisfy { $0 == 7 }, "dials without the token")
        let read = bytes.count - rest.count
        let port = UInt16(bytes[read - 2]) << 8 | UInt16(bytes[read - 1])
        expect(address == .tcp(.loopbackV4, port: port), "dials another port")
        _ = side.next(.failed(SystemError(code: 111, operation: "connect")))
    }

    /// The answer to CONNECT, byte by byte as it is read; and the written form of an agent's address.
    private static func hybrid(_ bytes: UnsafeRawBufferPointer) {
        var soFar: [UInt8] = []
        for byte in bytes {
            soFar.append(byte)
            guard HybridAnswer(soFar) == .incomplete else { break }
            expect(soFar.count < HybridAnswer.longestLine, "a line without end")
        }
        if let address = try? AgentAddress(text: String(decoding: bytes, as: UTF8.self)) {
            expect(
                (try? AgentAddress(text: address.description)) == address, "an address that is not read again"
            )
        }
    }

    /// Version 2 of the forward protocol: the lengths are the same in pieces of any size.
    private static func records(_ bytes: UnsafeRawBufferPointer) {
        guard let first = bytes.first else { return }
        let stream = UnsafeRawBufferPointer(rebasing: bytes.dropFirst())
        let whole = lengths(stream, pieces: max(1, stream.count))
        expect(whole == lengths(stream, pieces: Int(first) + 1), "pieces change the records")
    }

    private static func lengths(_ stream: UnsafeRawBufferPointer, pieces: Int) -> [Int] {
        var reader = RecordReader()
        var found: [Int] = []
        var piece = stream.prefix(0)
        var rest = stream[...]
        while true {
            if piece.isEmpty {
                piece = rest.prefix(pieces)
                rest = rest.dropFirst(piece.count)
                if piece.isEmpty { return found }
            }
            let bytes = UnsafeRawBufferPointer(rebasing: piece)
            if reader.left > 0 {
                let count = min(reader.left, bytes.count)
                reader.consume(count)
                piece = piece.dropFirst(count)
                continue
            }
            guard let count = try? reader.takeHeader(bytes) else { return found + [-1] }
            piece = piece.dropFirst(count)
            if reader.headerLeft == 4 || reader.left > 0 || reader.hasEnded { found.append(reader.left) }
        }
    }

    /// A table of the agent, as the host takes it.
    private static func table(_ bytes: UnsafeRawBufferPointer) {
        guard (try? TableBounds.check(bytes)) != nil else { return }
        let generated = try? Rum_V1_ListeningPortsResponse(serializedBytes: Array(bytes))
        let byHand = try? ListenTable(wireBytes: bytes)
        if let byHand {
            expect(generated.map { ListenTable($0) } == byHand, "a table that is read otherwise")
        }
        guard let message = generated else { return }
        // Groups are refused; the generated code keeps those in rows and processes with the fields that it does not know.
        let hasUnknown =
            message.listeners.contains { !$0.unknownFields.data.isEmpty }
            || message.processes.contains { !$0.unknownFields.data.isEmpty }
        expect(byHand != nil || hasUnknown, "a table that is not read")
        expect(message.listeners.count <= AgentLimits.mostRows, "more rows than there can be")
        expect(message.ports.count <= AgentLimits.mostPorts, "more ports than there can be")
        let table = ListenTable(message)
        expect(ListenTable(table.message).listeners == table.listeners, "a table that is not read again")
        let encoded = (try? table.message.serializedBytes() as [UInt8]) ?? []
        expect(
            Array(table.frame.dropFirst(TableFrame.headerSize)) == encoded,
            "a table that is encoded otherwise")
    }

    /// Tables on a connection of their own: the same ones in one piece, and in pieces of the size that the first byte says.
    private static func feed(_ bytes: UnsafeRawBufferPointer) {
        guard let first = bytes.first else { return }
        let stream = Array(bytes.dropFirst())
        expect(
            tables(stream, pieces: stream.count) == tables(stream, pieces: Int(first) + 1),
            "pieces change the tables")
    }

    /// The tables up to the first fault, and whether there is one.
    private static func tables(_ stream: [UInt8], pieces: Int) -> ([ListenTable], Bool) {
        var reader = TableFrameReader()
        var found: [ListenTable] = []
        var rest = stream[...]
        do {
            while !rest.isEmpty {
                var piece = rest.prefix(max(1, pieces))
                rest = rest.dropFirst(piece.count)
                while let table = try reader.next(from: &piece) { found.append(table) }
            }
            return (found, false)
        } catch {
            return (found, true)
        }
    }

    private static func ping(_ bytes: UnsafeRawBufferPointer) {
        guard let message = try? Rum_V1_PingResponse(serializedBytes: Array(bytes)) else { return }
        let info = AgentInfo(message)
        _ = AgentInfo(info.message)
        _ = ForwardVersion(spokenWith: info.forwardVersion)
        _ = info.version.printable()
    }

    /// The tracepoint's format, a zero byte, then a record.
    private static func trace(_ bytes: UnsafeRawBufferPointer) {
        let text = bytes.prefix { $0 != 0 }
        guard let format = SocketStateFormat(TraceFormat(text: String(decoding: text, as: UTF8.self))) else {
            return
        }
        let record = UnsafeRawBufferPointer(rebasing: bytes[text.endIndex...].dropFirst())
        if let sample = PerfRing.Sample(record) { _ = format.hint(sample) }
    }

    /// The kernel's description of its own types.
    private static func types(_ bytes: UnsafeRawBufferPointer) {
        guard let layout = try? ListenProgram.Layout(bytes) else { return }
        let program = ListenProgram(layout: layout, namespaceNumber: 1)
        for moment in ListenProgram.Moment.allCases { _ = program.instructions(moment, events: 3) }
    }

    /// The start of an image, of which the last 8 bytes are the file's size.
    private static func qcow2(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= 8 else { return }
        let size = bytes.loadUnaligned(fromByteOffset: bytes.count - 8, as: UInt64.self)
        guard let header = try? Qcow2Header(Array(bytes.dropLast(8))) else { return }
        guard (try? header.checkUsable(fileSize: size)) != nil else { return }
        expect(!header.hasBackingFile && !header.hasDataFile, "an image that names another file")
    }
}
