internal import CLibvirt

/// libvirt's events about one domain, as an asynchronous sequence.
///
/// Valid only together with the connection it was registered on.
struct DomainEvents {
    let stream: AsyncStream<MachineEvent>
    private let callbacks: [Int32]

    /// What libvirt's callbacks get as their opaque pointer; they run on the event loop's thread.
    private final class Sink: Sendable {
        let domain: String
        let continuation: AsyncStream<MachineEvent>.Continuation

        init(domain: String, continuation: AsyncStream<MachineEvent>.Continuation) {
            self.domain = domain
            self.continuation = continuation
        }

        static func of(_ opaque: UnsafeMutableRawPointer?) -> Sink? {
            opaque.map { Unmanaged<Sink>.fromOpaque($0).takeUnretainedValue() }
        }

        func isAbout(_ domain: OpaquePointer?) -> Bool {
            guard let domain, let name = virDomainGetName(domain) else { return false }
            return String(cString: name) == self.domain
        }
    }

    private static let release: virFreeCallback = { opaque in
        if let opaque { Unmanaged<Sink>.fromOpaque(opaque).release() }
    }

    /// Registers for the events of the domain called `name`, which need not exist yet.
    static func register(on connection: OpaquePointer, domain name: String) throws(LibvirtError)
        -> DomainEvents
    {
        let (stream, continuation) = AsyncStream.makeStream(of: MachineEvent.self)
        let sink = Sink(domain: name, continuation: continuation)
        let lifecycle:
            @convention(c) (
                OpaquePointer?, OpaquePointer?, Int32, Int32, UnsafeMutableRawPointer?
            ) -> Int32 = { _, domain, event, detail, opaque in
                guard let sink = Sink.of(opaque), sink.isAbout(domain) else { return 0 }
                if let event = MachineEvent(lifecycle: event, detail: detail) {
                    sink.continuation.yield(event)
                }
                return 0
            }
        let reboot: @convention(c) (OpaquePointer?, OpaquePointer?, UnsafeMutableRawPointer?) -> Void = {
            _, domain, opaque in
            guard let sink = Sink.of(opaque), sink.isAbout(domain) else { return }
            sink.continuation.yield(.rebooted)
        }
        // Each registration owns one reference, which libvirt gives back through `release`.
        func add(
            _ id: virDomainEventID, _ callback: @escaping virConnectDomainEventGenericCallback
        ) throws(LibvirtError) -> Int32 {
            let opaque = Unmanaged.passRetained(sink).toOpaque()
            let number = virConnectDomainEventRegisterAny(
                connection, nil, Int32(id.rawValue), callback, opaque, release)
            if number >= 0 { return number }
            let error = LibvirtError.last("watch the machine")
            release(opaque)
            throw error
        }
        var callbacks = [
            try add(
                VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                unsafeBitCast(lifecycle, to: virConnectDomainEventGenericCallback.self))
        ]
        // Not every driver has it.
        if let number = try? add(VIR_DOMAIN_EVENT_ID_REBOOT, reboot) { callbacks.append(number) }
        watchClose(of: connection, sink)
        return DomainEvents(stream: stream, callbacks: callbacks)
    }

    private static let onClose: virConnectCloseFunc = { _, _, opaque in
        Sink.of(opaque)?.continuation.yield(.libvirtLost)
    }

    /// Local drivers, such as `test:`, cannot lose their connection and refuse the callback.
    private static func watchClose(of connection: OpaquePointer, _ sink: Sink) {
        let opaque = Unmanaged.passRetained(sink).toOpaque()
        if virConnectRegisterCloseCallback(connection, onClose, opaque, release) != 0 { release(opaque) }
    }

    /// Ends the events. The connection must be the one that they were registered on, and still open.
    func unregister(from connection: OpaquePointer) {
        for callback in callbacks { virConnectDomainEventDeregisterAny(connection, callback) }
        virConnectUnregisterCloseCallback(connection, Self.onClose)
    }
}
