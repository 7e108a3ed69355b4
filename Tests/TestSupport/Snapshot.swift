internal import Foundation

/// The text of a file in the folder Snapshots beside the test, to compare a whole document with.
/// RUM_RECORD_SNAPSHOTS=1 writes `document` there first, for a look at the diff.
package func snapshot(of document: String, _ name: String, besideTest file: String = #filePath) throws
    -> String
{
    let folder = URL(fileURLWithPath: file).deletingLastPathComponent().appendingPathComponent("Snapshots")
    let path = folder.appendingPathComponent(name)
    if ProcessInfo.processInfo.environment["RUM_RECORD_SNAPSHOTS"] != nil {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try Data(document.utf8).write(to: path)
    }
    return String(decoding: try Data(contentsOf: path), as: UTF8.self)
}
