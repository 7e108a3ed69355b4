/// What the owner says; a JSON object with one key, which tells what it is.
package enum ControlMessage: Hashable, Sendable {
    case hello(ControlHello)
    case report(OwnerReport)
    case event(ControlEvent)
    /// A sentence for people about the machine, such as that it reboots.
    case said(String)
    case answer(ControlAnswer)
    /// The owner ends.
    case ended(ControlEnd)
    /// The request cannot be answered.
    case error(ControlRefusal)
    /// Of a newer owner; to be passed over.
    case unknown(String)
}

/// An event as users read it and as programs do.
package struct ControlEvent: Codable, Hashable, Sendable {
    /// The line of `rum up`, safe for terminals.
    package var line: String
    /// The object of `rum up --json`.
    package var object: EventDocument

    package init(line: String, object: EventDocument) {
        self.line = line
        self.object = object
    }
}

/// Whether something is or was done, and why.
package struct ControlAnswer: Codable, Hashable, Sendable {
    /// For `wait` and `why`: the port is open. For the others: it was done.
    package var isDone: Bool
    /// A word that programs can compare, such as `out_of_range`; docs/control-protocol.md lists them.
    package var reason: String
    /// One sentence, without a final stop. It may quote the guest, so it must be made safe for terminals.
    package var sentence: String
    /// What the user can do about it.
    package var hint: String?

    package init(isDone: Bool, reason: String, sentence: String, hint: String? = nil) {
        self.isDone = isDone
        self.reason = reason
        self.sentence = sentence
        self.hint = hint
    }

    enum CodingKeys: String, CodingKey {
        case reason, sentence, hint
        case isDone = "done"
    }
}

/// How an owner ends.
package struct ControlEnd: Codable, Hashable, Sendable {
    /// Its exit code.
    package var code: Int32
    package var message: String?
    package var hint: String?

    package init(code: Int32, message: String? = nil, hint: String? = nil) {
        self.code = code
        self.message = message
        self.hint = hint
    }
}

/// Why a request can't be answered, for people. The connection ends behind it.
package struct ControlRefusal: Codable, Hashable, Sendable {
    package var message: String
    package var hint: String

    package init(message: String, hint: String) {
        self.message = message
        self.hint = hint
    }
}

extension ControlMessage: Codable {
    private struct Key: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(_ name: String) { stringValue = name }
        init?(stringValue: String) { self.init(stringValue) }
        init?(intValue: Int) { nil }
    }

    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: Key.self)
        guard let key = values.allKeys.first else {
            throw DecodingError.dataCorrupted(.init(codingPath: [], debugDescription: "an empty message"))
        }
        self =
            switch key.stringValue {
            case "hello": .hello(try values.decode(ControlHello.self, forKey: key))
            case "report": .report(try values.decode(OwnerReport.self, forKey: key))
            case "event": .event(try values.decode(ControlEvent.self, forKey: key))
            case "said": .said(try values.decode(String.self, forKey: key))
            case "answer": .answer(try values.decode(ControlAnswer.self, forKey: key))
            case "ended": .ended(try values.decode(ControlEnd.self, forKey: key))
            case "error": .error(try values.decode(ControlRefusal.self, forKey: key))
            default: .unknown(key.stringValue)
            }
    }

    package func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: Key.self)
        switch self {
        case .hello(let value): try values.encode(value, forKey: Key("hello"))
        case .report(let value): try values.encode(value, forKey: Key("report"))
        case .event(let value): try values.encode(value, forKey: Key("event"))
        case .said(let value): try values.encode(value, forKey: Key("said"))
        case .answer(let value): try values.encode(value, forKey: Key("answer"))
        case .ended(let value): try values.encode(value, forKey: Key("ended"))
        case .error(let value): try values.encode(value, forKey: Key("error"))
        case .unknown(let name): try values.encode(true, forKey: Key(name))
        }
    }
}
