internal import Foundation

/// The folder of the programs under test: `RUM_TEST_PROGRAMS`, else where SwiftPM puts products, which is the folder of the
/// test bundle.
package let builtPrograms: String = {
    if let folder = ProcessInfo.processInfo.environment["RUM_TEST_PROGRAMS"] { return folder }
    let tests = CommandLine.arguments.first { $0.hasSuffix(".xctest") } ?? CommandLine.arguments[0]
    return URL(fileURLWithPath: tests).deletingLastPathComponent().path
}()
