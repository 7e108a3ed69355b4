internal import FoundationEssentials
internal import Linux
package import Ports

/// What the user has answered about ports whose rule asks: `answers.json` in the machine's folder, an object with the guest
/// ports as keys and `allow` or `deny` as values.
extension VirtualMachine {
    /// More than an answer about every port takes.
    private static let longestFile = 2 << 20

    /// The answers by guest port; none when there is no such file.
    package func consents() throws(MachineError) -> [PortNumber: PortConsent] {
        guard MachineFiles.exists(files.consents) else { return [:] }
        let bytes: [UInt8]
        do throws(SystemError) {
            bytes = try SmallFile.bytes(of: files.consents, limit: Self.longestFile)
        } catch {
            throw MachineFiles.failure("read", files.consents, error)
        }
        guard let words = try? JSONDecoder().decode([String: String].self, from: Data(bytes)) else {
            throw damaged
        }
        var answers: [PortNumber: PortConsent] = [:]
        for (text, word) in words {
            guard let port = PortNumber(text: text), let answer = PortConsent(rawValue: word) else {
                throw damaged
            }
            answers[port] = answer
        }
        return answers
    }

    /// Keeps an answer, and in place of one before; nil forgets it.
    package func remember(
        _ answer: PortConsent?, about port: PortNumber
    ) async throws(MachineError) {
        try await changeConsents { $0[port] = answer }
    }

    /// Forgets all answers.
    package func forgetConsents() async throws(MachineError) { try await changeConsents { $0 = [:] } }

    private func changeConsents(
        _ change: (inout [PortNumber: PortConsent]) -> Void
    ) async throws(MachineError) {
        try files.checkOwner()
        // Commands without an owner may do the same at this moment.
        try await FileLock.holding(
            files.consentsLock, waiting: {},
            { () async throws(MachineError) in
                var answers = try consents()
                let before = answers
                change(&answers)
                guard answers != before else { return }
                let words = answers.sorted { $0.key < $1.key }.map { "\"\($0)\":\"\($1.rawValue)\"" }
                try MachineFiles.write(
                    Array("{\(words.joined(separator: ","))}\n".utf8), to: files.consents)
            })
    }

    private var damaged: MachineError {
        MachineError(
            .damaged, "\(files.consents) is damaged", hint: "Remove it; then ports are asked about again.")
    }
}
