/// Something that is being done and may take a while, for the user to read.
package struct MachineStep: Hashable, Sendable {
    /// What is being done, such as "Creating a 20G disk".
    package let sentence: String
    /// How much of it is done, from 0 to 1; nil when that is not known.
    package let fraction: Double?

    package init(_ sentence: String, fraction: Double? = nil) {
        self.sentence = sentence
        self.fraction = fraction
    }
}

/// Called before each step, and again while a step with a known length makes progress. Must not block.
package typealias MachineProgress = @Sendable (MachineStep) -> Void
