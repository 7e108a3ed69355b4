/// A pattern as steps that a whole text goes through, all ways at once: no text makes it go back.
struct PatternAutomaton: Sendable {
    private enum Step {
        case take(PatternNode.CharacterSet)
        case start, end
        case split(Int, Int)
        case jump(Int)
    }

    /// Numbers in braces multiply what they repeat.
    private static let mostSteps = 2000
    /// Characters of a text; the rest is cut off.
    private static let longestText = 1000

    private var steps: [Step] = []

    init(_ node: PatternNode) throws(TextPattern.Problem) { try append(node) }

    private mutating func append(_ node: PatternNode) throws(TextPattern.Problem) {
        guard steps.count < Self.mostSteps else {
            throw TextPattern.Problem(message: "it repeats too much")
        }
        switch node {
        case .one(let set): steps.append(.take(set))
        case .start: steps.append(.start)
        case .end: steps.append(.end)
        case .sequence(let nodes):
            for node in nodes { try append(node) }
        case .choice(let nodes): try append(choice: nodes[...])
        case .repeated(let node, let least, let most): try append(node, least: least, most: most)
        }
    }

    private mutating func append(choice nodes: ArraySlice<PatternNode>) throws(TextPattern.Problem) {
        guard let first = nodes.first else { return }
        guard nodes.count > 1 else { return try append(first) }
        let split = steps.count
        steps.append(.split(split + 1, 0))
        try append(first)
        let jump = steps.count
        steps.append(.jump(0))
        steps[split] = .split(split + 1, steps.count)
        try append(choice: nodes.dropFirst())
        steps[jump] = .jump(steps.count)
    }

    private mutating func append(
        _ node: PatternNode, least: Int, most: Int?
    ) throws(TextPattern.Problem) {
        for _ in 0..<least {
            let before = steps.count
            try append(node)
            // Nothing, any number of times, is nothing: else `((){99}){99}` and so on would be repeated without end here.
            if steps.count == before { break }
        }
        guard let most else {
            let split = steps.count
            steps.append(.split(split + 1, 0))
            try append(node)
            steps.append(.jump(split))
            steps[split] = .split(split + 1, steps.count)
            return
        }
        var splits: [Int] = []
        for _ in least..<most {
            splits.append(steps.count)
            steps.append(.split(steps.count + 1, 0))
            try append(node)
        }
        for split in splits { steps[split] = .split(split + 1, steps.count) }
    }

    /// Whether the whole text leads to the end.
    func matches(_ text: String) -> Bool {
        let scalars = Array(text.unicodeScalars.prefix(Self.longestText))
        var threads = Threads(count: steps.count + 1)
        var places: [Int] = [0]
        for index in 0...scalars.count {
            let ready = threads.reached(from: places, steps) { step in
                switch step {
                case .start: index == 0
                case .end: index == scalars.count
                default: false
                }
            }
            guard index < scalars.count else { return ready.contains(steps.count) }
            places = ready.compactMap { place in
                guard place < steps.count, case .take(let set) = steps[place], set.contains(scalars[index])
                else { return nil }
                return place + 1
            }
            if places.isEmpty { return false }
        }
        return false
    }

    /// Which steps are reached without taking a character; each is visited once a turn.
    private struct Threads {
        private var visitedAt: [Int]
        private var turn = 0

        init(count: Int) { visitedAt = Array(repeating: 0, count: count) }

        mutating func reached(from places: [Int], _ steps: [Step], holds: (Step) -> Bool) -> [Int] {
            turn += 1
            var waiting = places
            var reached: [Int] = []
            while let place = waiting.popLast() {
                guard visitedAt[place] != turn else { continue }
                visitedAt[place] = turn
                guard place < steps.count else {
                    reached.append(place)
                    continue
                }
                switch steps[place] {
                case .take: reached.append(place)
                case .split(let first, let second): waiting += [first, second]
                case .jump(let target): waiting.append(target)
                case .start, .end: if holds(steps[place]) { waiting.append(place + 1) }
                }
            }
            return reached
        }
    }
}
