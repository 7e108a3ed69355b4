import Foundation

/// A disk of whole MiB with a partition table of one partition that fills it, and nothing in it.
func sampleDisk(mebibytes: Int = 1) -> [UInt8] {
    var disk = [UInt8](repeating: 0, count: mebibytes << 20)
    let count = UInt32(disk.count / 512 - 1)
    disk.replaceSubrange(446..<458, with: [0, 0, 0, 0, 0x83, 0, 0, 0, 1, 0, 0, 0])
    withUnsafeBytes(of: count.littleEndian) { disk.replaceSubrange(458..<462, with: $0) }
    disk[510] = 0x55
    disk[511] = 0xaa
    return disk
}

/// Writes bytes to a file and returns its path.
func write(_ bytes: [UInt8], to path: String) throws -> String {
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    return path
}

func bytes(of path: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: path))) }
