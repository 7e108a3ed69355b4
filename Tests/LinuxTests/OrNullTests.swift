import Foundation
import Linux
import Testing

@Suite("What is unknown in JSON")
struct OrNullTests {
    private struct Document: Codable, Equatable {
        @OrNull var known: Int? = 1
        @OrNull var unknown: Int? = nil
    }

    @Test("It is written as null, and read from null or from a key that is absent")
    func unknown() throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let written = try encoder.encode(Document())
        #expect(String(decoding: written, as: UTF8.self) == #"{"known":1,"unknown":null}"#)
        #expect(try JSONDecoder().decode(Document.self, from: written) == Document())
        #expect(try JSONDecoder().decode(Document.self, from: Data(#"{"known":1}"#.utf8)) == Document())
    }
}
