import ArgumentParser
import CommandMain
import Linux
import Ports

extension PortRange: ExpectedArgument {
    package static let expected = rule

    package init?(argument: String) { self.init(text: argument) }
}

/// How a table is printed.
struct TableRendering: ParsableArguments {
    @Option(
        help: ArgumentHelp("Only ports of this range (default: \(PortRange.all)).", valueName: "min-max"),
        transform: PortRange.read)
    var range = PortRange.all

    @Flag(help: "Print JSON, one object a line.")
    var json = false

    /// A table for people, or one line of JSON.
    func text(of table: ListenTable) -> String {
        if json { return TableDocument(table).jsonLine }
        let rows = table.listeners.map { listener in
            [
                "\(listener.port)", Self.address(listener), listener.process.map { "\($0.pid)" } ?? "-",
                listener.process?.name.printable() ?? "-",
            ]
        }
        let all = [["PORT", "ADDRESS", "PID", "PROCESS"]] + rows
        let widths = (0..<3).map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { row in
            zip(row, widths).map { $0.padding(to: $1) }.joined(separator: "  ") + "  " + row[3]
        }.joined(separator: "\n")
    }

    /// One line of either kind.
    func lineText(of table: ListenTable) -> String {
        if json { return TableDocument(table).jsonLine }
        let listeners = table.listeners.map { listener in
            "\(Self.address(listener)):\(listener.port)"
                + (listener.process.map { " (\($0.name.printable()))" } ?? "")
        }
        return "\(table.revision): "
            + (listeners.isEmpty ? "nothing listens" : listeners.joined(separator: ", "))
    }

    private static func address(_ listener: ListeningSocket) -> String {
        let text = listener.address.isV6 ? "[\(listener.address)]" : "\(listener.address)"
        return listener.interfaceIndex == 0 ? text : "\(text)%\(listener.interfaceIndex)"
    }
}

/// The JSON of `list` and `watch`.
private struct TableDocument: Encodable {
    struct Listener: Encodable {
        var address: String
        var port: UInt16
        var ipv6Only: Bool
        var ifindex: UInt32
        @OrNull var pid: Int32? = nil
        @OrNull var process: String? = nil

        enum CodingKeys: String, CodingKey {
            case address, port, ifindex, pid, process
            case ipv6Only = "ipv6_only"
        }
    }

    var revision: UInt64
    var mode: String
    var push: String
    @OrNull var degraded: String? = nil
    var listeners: [Listener]

    init(_ table: ListenTable) {
        revision = table.revision
        mode = table.source.mode.rawValue
        push = table.source.push.rawValue
        degraded = table.source.degraded
        listeners = table.listeners.map {
            Listener(
                address: $0.address.description, port: $0.port.rawValue, ipv6Only: $0.ipv6Only,
                ifindex: $0.interfaceIndex, pid: $0.process?.pid, process: $0.process?.name)
        }
    }
}
