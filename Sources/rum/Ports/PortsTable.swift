import Control
import Linux

/// Forwards as a table, as wide as there is room.
struct PortsTable {
    private struct Column: Sendable {
        let title: String
        /// Those with the highest number go first where the room is too small; 0 stays.
        let priority: Int
        let isNumber: Bool
        let text: @Sendable (OwnerReport.Forward) -> String
    }

    private static let columns = [
        Column(title: "HOST", priority: 0, isNumber: false) { $0.hostText },
        Column(title: "GUEST", priority: 0, isNumber: false) { $0.guestText },
        Column(title: "STATE", priority: 0, isNumber: false) { $0.state },
        Column(title: "LABEL", priority: 2, isNumber: false) { $0.label?.printable(limit: 20) ?? "-" },
        Column(title: "PROCESS", priority: 1, isNumber: false) { $0.process?.printable(limit: 20) ?? "-" },
        Column(title: "PID", priority: 5, isNumber: true) { $0.pid.map { "\($0)" } ?? "-" },
        Column(title: "CONNS", priority: 3, isNumber: true) {
            $0.active > 0 ? "\($0.connections) (\($0.active) open)" : "\($0.connections)"
        },
        Column(title: "BYTES", priority: 4, isNumber: true) { bytes($0.bytes) },
        Column(title: "OPENED IN", priority: 6, isNumber: true) { time($0.latencyMicroseconds) },
    ]
    private static let gap = 2

    private let forwards: [OwnerReport.Forward]

    /// - Parameter isGuestKnown: whether it is known who listens in the guest.
    init(_ forwards: [OwnerReport.Forward], isGuestKnown: Bool) {
        self.forwards = isGuestKnown ? forwards.map(\.withIdleState) : forwards
    }

    init(_ report: OwnerReport) {
        self.init(report.forwards, isGuestKnown: report.agentProblem == nil)
    }

    /// A title and a line for each forward, and under a blocked one, or one on another port than it should be, why; none without forwards.
    ///
    /// - Parameter width: characters of a line; nil without limit.
    func lines(width: Int?) -> [String] {
        guard !forwards.isEmpty else { return [] }
        let hasLabels = forwards.contains { $0.label != nil }
        var columns = Self.columns.filter { hasLabels || $0.title != "LABEL" }
        var cells = self.cells(columns)
        while let width, Self.width(cells) > width, let widest = columns.map(\.priority).max(), widest > 0 {
            columns.removeAll { $0.priority == widest }
            cells = self.cells(columns)
        }
        let widths = columns.indices.map { column in cells.map { $0[column].count }.max() ?? 0 }
        var lines: [String] = []
        for (row, line) in cells.enumerated() {
            let padded = columns.indices.map { column in
                let blank = String(repeating: " ", count: widths[column] - line[column].count)
                return columns[column].isNumber ? blank + line[column] : line[column] + blank
            }
            lines.append(padded.joined(separator: String(repeating: " ", count: Self.gap)))
            if row > 0, let reason = forwards[row - 1].reason {
                lines.append("  " + reason.printable(limit: 1000))
            }
        }
        return lines.map { Self.cut($0, to: width) }
    }

    private func cells(_ columns: [Column]) -> [[String]] {
        [columns.map(\.title)] + forwards.map { forward in columns.map { $0.text(forward) } }
    }

    private static func width(_ cells: [[String]]) -> Int {
        guard let first = cells.first else { return 0 }
        let widths = first.indices.map { column in cells.map { $0[column].count }.max() ?? 0 }
        return widths.reduce(0, +) + gap * (widths.count - 1)
    }

    /// Without the spaces at the end, and with an ellipsis where something is missing.
    private static func cut(_ line: String, to width: Int?) -> String {
        var line = line
        while line.last == " " { line.removeLast() }
        guard let width, line.count > width, width > 0 else { return line }
        return line.prefix(width - 1) + "…"
    }

    /// `812`, `1.4 KiB`, `3.0 GiB`.
    static func bytes(_ count: UInt64) -> String {
        guard count >= 1024 else { return "\(count)" }
        var value = Double(count)
        var unit = -1
        let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
        while value >= 1024, unit < units.count - 1 {
            value /= 1024
            unit += 1
        }
        return "\(tenths(value)) \(units[unit])"
    }

    /// From listen() to the open port; `-` when the former was not seen.
    static func time(_ microseconds: UInt64?) -> String {
        guard let microseconds else { return "-" }
        let milliseconds = Double(microseconds) / 1000
        return milliseconds < 1000 ? "\(tenths(milliseconds)) ms" : "\(tenths(milliseconds / 1000)) s"
    }

    private static func tenths(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }
}

extension OwnerReport.Forward {
    /// Where it goes in the guest: the address that listens, as far as known.
    fileprivate var guestText: String {
        (guestAddress ?? "guest").with(port: guestPort)
    }

    /// A static forward is open before anybody listens.
    fileprivate var withIdleState: OwnerReport.Forward {
        var copy = self
        if state == "open", kind == "static", guestAddress == nil { copy.state = "idle" }
        return copy
    }
}
