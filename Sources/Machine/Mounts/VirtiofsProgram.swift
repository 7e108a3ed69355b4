internal import FoundationEssentials
internal import Glibc
internal import Linux

/// Finds virtiofsd as libvirt does: by the descriptions of vhost-user programs (QEMU, docs/interop/vhost-user.json).
enum VirtiofsProgram {
    private static let folders = ["/etc/qemu/vhost-user", "/usr/share/qemu/vhost-user"]

    private struct Description: Decodable {
        var type: String
        var binary: String
    }

    /// Whether one of the folders describes a program of this kind that is there.
    static func isInstalled(folders: [String] = folders) -> Bool {
        for folder in folders {
            for name in MachineFiles.names(in: folder) where name.hasSuffix(".json") {
                guard let text = try? SmallFile.text(of: "\(folder)/\(name)"),
                    let description = try? JSONDecoder().decode(Description.self, from: Data(text.utf8))
                else { continue }
                if description.type == "fs", access(description.binary, X_OK) == 0 { return true }
            }
        }
        return false
    }
}
