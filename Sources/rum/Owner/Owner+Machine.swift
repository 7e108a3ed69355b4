import CommandMain
import HostForward
import Machine
import RumConfig
import Synchronization

/// What happens to the machine.
extension Owner {
    /// Returns when the machine has stopped; throws when it broke.
    func watchMachine(_ session: ForwardSession) async throws {
        let ends = AsyncStream<MachineEvent.StopReason>.makeStream(bufferingPolicy: .bufferingOldest(1))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { [machine] in
                await machine.watch { event in
                    switch event {
                    case .stopped(let reason): ends.continuation.yield(reason)
                    case .state(.stopped), .state(.absent): ends.continuation.yield(.unknown)
                    case .resumed, .rebooted:
                        self.tell(of: event)
                        // Sooner than by a heartbeat: connections to the guest before may be dead without a word.
                        session.checkAgent()
                    default: self.tell(of: event)
                    }
                }
            }
            defer { group.cancelAll() }
            for await reason in ends.stream { return try end(reason) }
        }
    }

    private func tell(of event: MachineEvent) {
        let name = machine.config.name
        switch event {
        case .suspended(.requested): voice.say("\(name) is suspended; its ports answer when it resumes")
        case .suspended(.diskError):
            voice.say(
                """
                \(name) stands still since its disk cannot be written, as when the host's disk is full; free some \
                space for \(machine.files.directory), then let it go on: \
                \(machine.virsh) resume \(machine.domain)
                """)
        case .resumed: voice.say("\(name) goes on")
        case .rebooted: voice.say("\(name) reboots")
        case .libvirtLost:
            libvirtIsLost.store(true, ordering: .relaxed)
            voice.say("Lost libvirt; the forwards stay, and it is tried again")
        case .state(let state):
            if libvirtIsLost.exchange(false, ordering: .relaxed) {
                voice.say("libvirt is back; \(name) is \(state.rawValue)")
            }
        case .started, .stopped: break
        }
    }

    private func end(_ reason: MachineEvent.StopReason) throws(CommandFailure) {
        machineRuns.store(false, ordering: .relaxed)
        let sentence = "\(machine.config.name) has stopped: \(reason)"
        switch reason {
        case .crashed, .failed:
            throw CommandFailure(
                sentence, hint: "its last words are in \(machine.files.consoleLog); `rum up` starts it")
        case .shutDown, .destroyed, .migrated, .saved, .unknown:
            voice.say(sentence)
        }
    }
}
