import CommandMain
import Control
import Glibc
import Linux
import PortForward

/// What an owner says: to its terminal or its log, and to those who follow it.
final class OwnerVoice: Sendable {
    let subscribers = Subscribers()
    private let output: EventOutput
    private let isBackground: Bool
    private let progress = ProgressPrinter()

    init(output: EventOutput, isBackground: Bool) {
        self.output = output
        self.isBackground = isBackground
    }

    /// A sentence about the machine.
    func say(_ sentence: String) {
        if isBackground {
            StandardError.line("\(Self.now) \(sentence.printable(limit: 1000))")
        } else {
            progress.say(sentence)
        }
        subscribers.tell(.said(sentence))
    }

    /// Why the control socket takes no clients for now.
    func tellCommandsWait(_ error: SystemError) {
        say("Other commands have to wait: \(error.operation): \(error.reason)")
    }

    /// What has happened to a forward.
    func tell(_ event: ForwardEvent) {
        let line = event.line
        let message = ControlEvent(line: line, object: EventDocument(event))
        if isBackground {
            try? StandardOutput.post("\(Self.now) \(line)")
        } else {
            output.print(message)
        }
        subscribers.tell(.event(message))
    }

    /// As a log has it: 2026-11-26 09:30:00, local time.
    private static var now: String {
        var seconds = time(nil)
        var parts = tm()
        guard localtime_r(&seconds, &parts) != nil else { return "?" }
        func two(_ number: Int32) -> String { (number < 10 ? "0" : "") + "\(number)" }
        let day = "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
        return "\(day) \(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
    }
}
