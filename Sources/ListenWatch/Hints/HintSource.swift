internal import Linux
internal import Ports

/// Something that says "look again". It lives on the watcher's thread.
protocol HintSource: AnyObject {
    var push: PushLevel { get }
    /// Readable when there is something to read; they change only in `refresh`.
    var descriptors: [Int32] { get }
    /// Those for which close(2) may wait for the kernel, if nobody else has them open.
    var slowToClose: [Int32] { get }
    /// Whether what it reads hints from reported an error.
    func hasFailed(_ wake: Poller.Wake) -> Bool
    /// Reads all there is, without blocking. What comes seldom is left unread where `wake` says that nothing has come.
    func drain(into batch: inout HintBatch, after wake: Poller.Wake)
    /// Called now and then: adapts to the machine, such as to a new CPU. True when `descriptors` changed, and hints may
    /// have been missed.
    func refresh() throws(HintSourceLost) -> Bool
    /// Starts afresh, because what is open may be dead: hints may have been missed.
    func reopen() throws(HintSourceLost)
}

/// A hint source that does not work here, or no longer.
package struct HintSourceLost: Error, CustomStringConvertible {
    package let description: String
    /// For want of memory or descriptors only: it may work again shortly.
    package var isPassing = false
}

extension HintSourceLost {
    /// `cure` says what to do about it.
    init(_ error: SystemError, doing what: String, cure: String? = nil) {
        let advice = cure.map { "; \($0)" } ?? ""
        self.init(description: "\(what): \(error)\(advice)", isPassing: error.isExhaustion)
    }
}
