import Testing

@testable import Linux

@Suite("Capabilities of a thread")
struct CapabilityTests {
    @Test("The line of a status file is read; what is none, is not known")
    func parse() {
        #expect(
            Capability.parse("Name:\tx\nCapPrm:\t0\nCapEff:\t000000c001284004\nCapBnd:\t0\n")
                == Set(Capability.allCases))
        #expect(Capability.parse("CapEff:\t0000004000000000\n") == [.perfmon])
        #expect(Capability.parse("CapEff:\t0000000000000000\n") == [])
        #expect(Capability.parse("CapEff:\tnothing\n") == nil)
        #expect(Capability.parse("CapPrm:\t000001ffffffffff\n") == nil)
    }
}
