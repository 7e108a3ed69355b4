import SockDiag
import Testing

@Suite("News of CPUs")
struct CPUChangesTests {
    @Test("Of the kernel's uevents only those of CPUs that went on or off count")
    func messages() {
        func cpu(_ text: String) -> Int32? { CPUChanges.cpu(in: text.utf8) }
        #expect(cpu("online@/devices/system/cpu/cpu1\0ACTION=online\0") == 1)
        #expect(cpu("offline@/devices/system/cpu/cpu17\0ACTION=offline\0") == 17)
        for text in [
            "add@/devices/system/cpu/cpu1", "online@/devices/system/memory/memory3", "online@", "",
            "libudev\0",
            "online@/devices/system/cpu/cpufreq",
        ] {
            #expect(cpu(text) == nil, "\(text)")
        }
    }

    @Test("Without news there is nothing, at once")
    func quiet() throws {
        let changes = try CPUChanges()
        #expect(!changes.read().areIncomplete)
    }
}
