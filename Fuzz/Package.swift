// swift-tools-version: 6.2
import PackageDescription

// The readers of bytes from elsewhere, built with coverage for libFuzzer; scripts/fuzz runs them.
//
// A package of its own over the same sources: it takes only the parts that read, so that it builds in a minute and needs neither
// gRPC nor libvirt, and only here every module is instrumented. SwiftProtobuf is the copy that a build of the main package has
// fetched.

let rules: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .unsafeFlags(["-sanitize=fuzzer"]),
]

let package = Package(
    name: "fuzz",
    platforms: [.macOS(.v15)],
    dependencies: [.package(path: "../.build/checkouts/swift-protobuf", traits: [])],
    targets: [
        .target(name: "CLinux"),
        .target(name: "Linux", dependencies: ["CLinux"], swiftSettings: rules),
        .target(name: "Ports", dependencies: ["Linux"], swiftSettings: rules),
        .target(name: "CNetlink", linkerSettings: [.linkedLibrary("mnl")]),
        .target(name: "ProcNet", dependencies: ["Linux", "Ports"], swiftSettings: rules),
        .target(name: "SockDiag", dependencies: ["CNetlink", "Linux", "Ports"], swiftSettings: rules),
        .target(
            name: "ListenWatch", dependencies: ["CLinux", "Linux", "Ports", "ProcNet", "SockDiag"],
            swiftSettings: rules),
        .target(name: "Relay", dependencies: ["CLinux", "Linux"], swiftSettings: rules),
        .target(
            name: "AgentChannel", dependencies: ["CLinux", "Linux", "Ports", "Relay"], swiftSettings: rules),
        .target(name: "Names", dependencies: ["Linux"], swiftSettings: rules),
        .target(name: "ClientOwner", dependencies: ["Linux"], swiftSettings: rules),
        .target(name: "RumConfig", dependencies: ["Linux", "Ports"], swiftSettings: rules),
        .target(
            name: "AgentAPI",
            dependencies: ["Linux", "Ports", .product(name: "SwiftProtobuf", package: "swift-protobuf")],
            sources: [
                "AgentLimits.swift", "Generated/agent.pb.swift", "ListenTableMessage.swift",
                "AgentInfo.swift",
                "TableBounds.swift", "TableDecoder.swift", "TableEncoder.swift", "TableFrame.swift",
                "WireFields.swift",
                "WireWriter.swift",
            ],
            swiftSettings: rules),
        .target(
            name: "Machine", path: "Sources/Machine",
            sources: [
                "Console/ConsoleNews.swift", "Console/ConsoleReader.swift", "Disk/Qcow2Header.swift",
                "Disk/ByteFields.swift", "Disk/ImageFault.swift", "MachineError.swift",
            ],
            swiftSettings: rules),
        .target(
            name: "Router", dependencies: ["CLinux", "Linux"],
            sources: ["RouterGreeting.swift", "RouterMember.swift", "RouterMessage.swift"],
            swiftSettings: rules),
        .target(
            name: "rum", dependencies: ["Linux", "Ports", "RumConfig"],
            sources: [
                "Hosts/HostsFile.swift", "Init/DevContainer.swift", "Init/InitAnswers.swift",
                "Owner/Ready/HTTPStatusReader.swift",
            ],
            swiftSettings: rules),
        .target(name: "Control", dependencies: ["CLinux", "Linux"], swiftSettings: rules),
        .target(name: "CFuzzer", path: "CFuzzer"),
        .executableTarget(
            name: "fuzz",
            dependencies: [
                "AgentAPI", "AgentChannel", "CFuzzer", "ClientOwner", "Control", "Linux", "ListenWatch",
                "Machine",
                "Names", "Ports",
                "ProcNet", "Relay", "Router", "RumConfig", "SockDiag", "rum",
                .product(name: "SwiftProtobuf", package: "swift-protobuf"),
            ],
            path: "fuzz", swiftSettings: rules),
    ]
)
