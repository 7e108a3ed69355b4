internal import CLibvirt

/// What a machine is doing, as libvirt sees it.
package enum MachineState: String, Hashable, Sendable {
    /// libvirt knows no such domain.
    case absent
    case stopped
    case running
    case paused
    /// The guest sleeps (ACPI S3).
    case sleeping
    case shuttingDown = "stopping"

    init(_ state: Int32) {
        switch virDomainState(UInt32(bitPattern: state)) {
        case VIR_DOMAIN_RUNNING, VIR_DOMAIN_BLOCKED: self = .running
        case VIR_DOMAIN_PAUSED: self = .paused
        case VIR_DOMAIN_SHUTDOWN: self = .shuttingDown
        case VIR_DOMAIN_PMSUSPENDED: self = .sleeping
        default: self = .stopped
        }
    }
}

/// Something that happened to a machine from outside or inside.
package enum MachineEvent: Hashable, Sendable {
    /// The state when watching began, and again after libvirt came back.
    case state(MachineState)
    case started
    case suspended(SuspendReason)
    case resumed
    /// The guest restarted in place.
    case rebooted
    case stopped(StopReason)
    /// The connection to libvirt broke; the machine itself may well be running.
    case libvirtLost

    /// Why a machine stands still.
    package enum SuspendReason: Hashable, Sendable {
        /// Somebody asked for it.
        case requested
        /// QEMU cannot write the machine's disk, as when the host's is full.
        case diskError
    }

    /// Why a machine stopped.
    package enum StopReason: String, Hashable, Sendable, CustomStringConvertible {
        case shutDown, destroyed, crashed, migrated, saved, failed, unknown

        /// Completes "The machine has stopped: ".
        package var description: String {
            switch self {
            case .shutDown: "the guest shut down"
            case .destroyed: "it was forced off"
            case .crashed: "the guest crashed"
            case .migrated: "it moved to another host"
            case .saved: "its state was saved"
            case .failed: "QEMU died"
            case .unknown: "libvirt gives no reason"
            }
        }
    }

    /// From virDomainEventType and its detail; nil for what does not matter here, such as a new definition.
    init?(lifecycle event: Int32, detail: Int32) {
        switch virDomainEventType(UInt32(bitPattern: event)) {
        case VIR_DOMAIN_EVENT_STARTED:
            // From its sleep (ACPI S3).
            self = detail == Int32(VIR_DOMAIN_EVENT_STARTED_WAKEUP.rawValue) ? .resumed : .started
        case VIR_DOMAIN_EVENT_SUSPENDED:
            let isDiskError = detail == Int32(VIR_DOMAIN_EVENT_SUSPENDED_IOERROR.rawValue)
            self = .suspended(isDiskError ? .diskError : .requested)
        case VIR_DOMAIN_EVENT_PMSUSPENDED: self = .suspended(.requested)
        case VIR_DOMAIN_EVENT_RESUMED: self = .resumed
        case VIR_DOMAIN_EVENT_STOPPED: self = .stopped(StopReason(detail: detail))
        case VIR_DOMAIN_EVENT_CRASHED: self = .stopped(.crashed)
        default: return nil
        }
    }
}

extension MachineEvent.StopReason {
    /// From virDomainEventStoppedDetailType.
    fileprivate init(detail: Int32) {
        switch virDomainEventStoppedDetailType(UInt32(bitPattern: detail)) {
        case VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN: self = .shutDown
        case VIR_DOMAIN_EVENT_STOPPED_DESTROYED: self = .destroyed
        case VIR_DOMAIN_EVENT_STOPPED_CRASHED: self = .crashed
        case VIR_DOMAIN_EVENT_STOPPED_MIGRATED: self = .migrated
        case VIR_DOMAIN_EVENT_STOPPED_SAVED: self = .saved
        case VIR_DOMAIN_EVENT_STOPPED_FAILED: self = .failed
        default: self = .unknown
        }
    }
}
