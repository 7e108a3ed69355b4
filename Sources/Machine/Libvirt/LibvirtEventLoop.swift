internal import CLibvirt
internal import Glibc
internal import Linux

/// libvirt's event loop, one for the process, on a thread that never ends.
///
/// It must be registered before the first connection is opened, or that one never reports events
/// (virEventRegisterDefaultImpl).
enum LibvirtEventLoop {
    /// Starts the loop at the first call; the error says why there is none.
    static func start() throws(MachineError) {
        try started.get()
    }

    private static let started: Result<Void, MachineError> = {
        // libvirt prints errors to stderr unless it has a handler; here each one is thrown.
        virSetErrorFunc(nil) { _, _ in }
        guard virInitialize() == 0, virEventRegisterDefaultImpl() == 0 else {
            return .failure(LibvirtError.last("start libvirt").machineError(.libvirt))
        }
        do throws(SystemError) {
            try DedicatedThread.start(name: "libvirt-events") {
                while true {
                    // It fails only when poll does; the pause keeps that from becoming a busy loop.
                    if virEventRunDefaultImpl() < 0 { usleep(100_000) }
                }
            }
            return .success(())
        } catch {
            return .failure(
                MachineError(
                    .libvirt, "cannot start a thread: \(error.reason)", hint: "Raise the limit on threads."))
        }
    }()
}
