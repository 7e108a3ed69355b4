import ArgumentParser
import CommandMain

/// A time span as users write it: `500ms`, `30s`, `2m`; a bare number counts seconds.
struct DurationArgument: ExpectedArgument, CustomStringConvertible {
    static let expected = "a time such as 500ms, 30s or 2m"

    let duration: Duration
    let description: String

    init(_ duration: Duration) {
        self.duration = duration
        description = "\(duration.components.seconds)s"
    }

    init?(argument: String) {
        let units: [(String, Duration)] = [
            ("ms", .milliseconds(1)), ("s", .seconds(1)), ("m", .seconds(60)), ("", .seconds(1)),
        ]
        guard let (suffix, unit) = units.first(where: { argument.hasSuffix($0.0) }),
            let count = Int(argument.dropLast(suffix.count)), (1...86_400_000).contains(count)
        else { return nil }
        duration = unit * count
        description = argument
    }
}
