internal import Glibc
internal import Linux
internal import Ports
internal import SockDiag

/// Hints from the kernel's multicast of destroyed sockets: closes only, of this network namespace only.
final class DestroySource: HintSource {
    let push = PushLevel.destroy
    private let sockets: DestroyedSockets

    init() throws(HintSourceLost) {
        do {
            sockets = try DestroyedSockets()
        } catch {
            throw HintSourceLost(description: "destroy multicast: \(error)")
        }
    }

    var descriptors: [Int32] { [sockets.descriptor] }

    func drain(into batch: inout HintBatch) throws(HintSourceLost) {
        while true {
            do throws(SystemError) {
                guard let rows = try sockets.read() else { return }
                for row in rows {
                    batch.hints.append(
                        ListenHint(kind: .closed, address: row.address, port: row.port, time: .now))
                }
            } catch {
                guard error.code == ENOBUFS || error.code == ENOSPC else {
                    throw HintSourceLost(description: "destroy multicast: \(error)")
                }
                batch.lost = true
            }
        }
    }

    func refresh() throws(HintSourceLost) -> Bool { false }
}
