// swift-tools-version: 6.2
import PackageDescription

/// One set of rules for every Swift target; a warning is an error.
let rules: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

/// Overlapping accesses to a variable are found in debug builds, which the tests run, and not looked for in the release: in the
/// relay's loops that takes a tenth of their own time.
let withoutAccessChecks: [SwiftSetting] = [
    .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release))
]

let grpc: [Target.Dependency] = [
    .product(name: "GRPCCore", package: "grpc-swift-2"),
    // The core of the transport without TLS: neither BoringSSL is built.
    .product(name: "GRPCNIOTransportHTTP2TransportServices", package: "grpc-swift-nio-transport"),
    .product(name: "GRPCProtobuf", package: "grpc-swift-protobuf"),
    .product(name: "SwiftProtobuf", package: "swift-protobuf"),
    .product(name: "NIOCore", package: "swift-nio"),
    .product(name: "NIOPosix", package: "swift-nio"),
]

let package = Package(
    name: "rum",
    platforms: [.macOS(.v15)],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0", traits: []),
        .package(url: "https://github.com/grpc/grpc-swift-2", from: "2.4.3"),
        .package(url: "https://github.com/grpc/grpc-swift-nio-transport", from: "2.9.2"),
        .package(url: "https://github.com/grpc/grpc-swift-protobuf", from: "2.4.1"),
        // Without the trait it needs no Foundation.
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2", traits: []),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    ],
    targets: [
        // The ground floor: Linux as rum uses it. It knows nothing of rum.
        .target(name: "CLinux", cSettings: [.treatAllWarnings(as: .error)]),
        .target(name: "Linux", dependencies: ["CLinux"], swiftSettings: rules),

        // The vocabulary: ports, listeners and their table.
        .target(name: "Ports", dependencies: ["Linux"], swiftSettings: rules),

        // The watcher: which sockets listen in this guest.
        .target(
            name: "CNetlink", cSettings: [.treatAllWarnings(as: .error)],
            linkerSettings: [.linkedLibrary("mnl")]),
        .target(name: "ProcNet", dependencies: ["Linux", "Ports"], swiftSettings: rules),
        .target(name: "SockDiag", dependencies: ["CNetlink", "Linux", "Ports"], swiftSettings: rules),
        .target(
            name: "ListenWatch", dependencies: ["CLinux", "Linux", "Ports", "ProcNet", "SockDiag"],
            swiftSettings: rules),

        // The data path: one engine for both ends, and what each end does with it.
        .target(
            name: "Relay", dependencies: ["CLinux", "Linux"], swiftSettings: rules + withoutAccessChecks),
        .target(
            name: "AgentChannel", dependencies: ["CLinux", "Linux", "Ports", "Relay"], swiftSettings: rules),
        .target(
            name: "GuestForward", dependencies: ["AgentChannel", "Linux", "Ports", "Relay", "SockDiag"],
            swiftSettings: rules),
        .target(name: "Names", dependencies: ["Linux"], swiftSettings: rules),
        .target(name: "PortForward", dependencies: ["Linux", "Ports"], swiftSettings: rules),
        .target(name: "ClientOwner", dependencies: ["Linux"], swiftSettings: rules),
        .target(
            name: "HostForward",
            dependencies: [
                "AgentAPI", "AgentChannel", "AgentSession", "ClientOwner", "Linux", "PortForward", "Ports",
                "ProcNet",
                "Relay",
            ], swiftSettings: rules),

        .target(
            name: "Router",
            dependencies: [
                "CLinux", "HostForward", "Linux", "Names", "PortForward", "Ports", "Relay",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHPACK", package: "swift-nio-http2"),
            ], swiftSettings: rules),

        // The control path: gRPC, its service in the guest, its session on the host.
        .target(name: "AgentAPI", dependencies: ["Linux", "Ports"] + grpc, swiftSettings: rules),
        .target(
            name: "AgentService",
            dependencies: [
                "AgentAPI", "AgentChannel", "CLinux", "Linux", "Ports", "ProcNet", "SockDiag",
                // To see the token of a call before gRPC does.
                .product(name: "NIOHPACK", package: "swift-nio-http2"),
                .product(name: "NIOHTTP2", package: "swift-nio-http2"),
                .product(name: "Subprocess", package: "swift-subprocess"),
                .product(name: "SystemPackage", package: "swift-system"),
            ] + grpc, swiftSettings: rules),
        .target(
            name: "AgentSession",
            dependencies: [
                "AgentAPI", "AgentChannel", "CLinux", "Linux", "Ports",
                // To see the status of an answer before gRPC does.
                .product(name: "NIOHPACK", package: "swift-nio-http2"),
                .product(name: "NIOHTTP2", package: "swift-nio-http2"),
            ] + grpc, swiftSettings: rules),

        // The host's configuration and machine.
        .target(name: "RumConfig", dependencies: ["Linux", "Ports"], swiftSettings: rules),
        .systemLibrary(name: "CLibvirt", pkgConfig: "libvirt-qemu", providers: [.apt(["libvirt-dev"])]),
        .target(
            name: "Machine",
            dependencies: [
                "AgentChannel", "CLibvirt", "Linux", "Ports", "RumConfig",
                .product(name: "Subprocess", package: "swift-subprocess"),
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            resources: [
                .embedInCode("Seed/scripts/install.sh"), .embedInCode("Seed/scripts/provision.sh"),
                .embedInCode("Seed/scripts/provision-report.sh"), .embedInCode("Seed/scripts/make-user.sh"),
                .embedInCode("Seed/scripts/mount-folders.sh"), .embedInCode("Seed/scripts/read-seed.sh"),
                .embedInCode("Seed/scripts/agent-service.sh"), .embedInCode("Seed/scripts/remote-install.sh"),
            ],
            swiftSettings: rules),

        // How other commands talk to the process that owns a machine's forwards.
        .target(name: "Control", dependencies: ["CLinux", "Linux"], swiftSettings: rules),

        // The programs.
        .target(
            name: "CommandMain",
            dependencies: [
                "AgentChannel", "CLinux", "Linux",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: rules),
        .executableTarget(
            name: "rum",
            dependencies: [
                "AgentAPI", "AgentChannel", "AgentSession", "CLinux", "CommandMain", "Control", "HostForward",
                "Linux", "Machine", "Names", "PortForward", "Ports", "Relay", "Router", "RumConfig",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "GRPCCore", package: "grpc-swift-2"),
                .product(name: "SwiftProtobuf", package: "swift-protobuf"),
            ], swiftSettings: rules),
        .executableTarget(
            name: "rum-agent",
            dependencies: [
                "AgentAPI", "AgentChannel", "AgentService", "CommandMain", "GuestForward", "Linux",
                "ListenWatch",
                "Ports", "Relay",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ], swiftSettings: rules),

        // Benchmarks; see `make bench-watch` and `make bench-relay`.
        .executableTarget(
            name: "bench-relay",
            dependencies: ["AgentChannel", "ClientOwner", "GuestForward", "Linux", "Ports", "Relay"],
            path: "Benchmarks/relay/bench-relay", swiftSettings: rules),
        .executableTarget(
            name: "bench-watch",
            dependencies: [
                "AgentChannel", "AgentSession", "CLiveKernel", "Linux", "ListenWatch", "LiveKernel", "Ports",
                "ProcNet", "SockDiag",
            ],
            path: "Benchmarks/watch/bench-watch", swiftSettings: rules),

        // Tests, from pure functions to real processes.
        .target(name: "CLiveKernel", path: "Tests/CLiveKernel", cSettings: [.treatAllWarnings(as: .error)]),
        .target(
            name: "LiveKernel", dependencies: ["CLiveKernel", "Linux", "Ports"], path: "Tests/LiveKernel",
            swiftSettings: rules),
        .target(
            name: "TestSupport", dependencies: ["Linux", "Ports"], path: "Tests/TestSupport",
            swiftSettings: rules),
        .testTarget(
            name: "LinuxTests", dependencies: ["CLinux", "Linux", "LiveKernel", "TestSupport"],
            swiftSettings: rules),
        .testTarget(
            name: "CommandMainTests",
            dependencies: [
                "CommandMain", "Linux", "TestSupport",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: rules),
        .testTarget(
            name: "PortsTests", dependencies: ["Linux", "Ports", "TestSupport"], swiftSettings: rules),
        .testTarget(
            name: "ProcNetTests", dependencies: ["Linux", "Ports", "ProcNet", "TestSupport"],
            swiftSettings: rules),
        .testTarget(
            name: "SockDiagTests",
            dependencies: ["Linux", "LiveKernel", "Ports", "ProcNet", "SockDiag", "TestSupport"],
            swiftSettings: rules),
        .testTarget(
            name: "ListenWatchTests",
            dependencies: [
                "Linux", "ListenWatch", "LiveKernel", "Ports", "SockDiag", "TestSupport",
            ],
            swiftSettings: rules),
        .testTarget(
            name: "RelayTests",
            dependencies: ["AgentChannel", "Linux", "LiveKernel", "Ports", "Relay", "TestSupport"],
            swiftSettings: rules),
        .testTarget(
            name: "AgentChannelTests",
            dependencies: ["Relay", "AgentChannel", "Linux", "Ports", "TestSupport"],
            swiftSettings: rules),
        .testTarget(
            name: "GuestForwardTests",
            dependencies: [
                "AgentChannel", "GuestForward", "Linux", "LiveKernel", "Ports", "ProcNet", "Relay",
                "SockDiag",
                "TestSupport",
            ],
            swiftSettings: rules),
        .testTarget(
            name: "PortForwardTests",
            dependencies: ["Linux", "PortForward", "Ports", "Relay", "TestSupport"],
            swiftSettings: rules),
        .testTarget(
            name: "HostForwardTests",
            dependencies: [
                "AgentChannel", "AgentService", "ClientOwner", "HostForward", "Linux", "LiveKernel",
                "PortForward", "Ports", "ProcNet", "Relay", "TestSupport",
            ],
            swiftSettings: rules),
        .testTarget(
            name: "NamesTests", dependencies: ["Names"], swiftSettings: rules),
        .testTarget(
            name: "RouterTests",
            dependencies: [
                "AgentChannel", "HostForward", "Linux", "LiveKernel", "PortForward", "Ports", "Relay",
                "Router", "TestSupport",
            ],
            swiftSettings: rules),
        .testTarget(
            name: "AgentAPITests", dependencies: ["AgentAPI", "Linux", "Ports"],
            swiftSettings: rules),
        .testTarget(
            name: "AgentSessionTests",
            dependencies: [
                "AgentAPI", "AgentChannel", "AgentService", "AgentSession", "GuestForward", "Linux", "Ports",
                "Relay",
                "TestSupport",
            ] + grpc,
            swiftSettings: rules),
        .testTarget(
            name: "ControlTests", dependencies: ["Control", "Linux", "TestSupport"], swiftSettings: rules),
        .testTarget(name: "RumAgentTests", dependencies: ["rum-agent"], swiftSettings: rules),
        .testTarget(
            name: "RumTests",
            dependencies: [
                "AgentAPI", "AgentChannel", "CommandMain", "Control", "Linux", "Machine", "PortForward",
                "Ports", "RumConfig", "TestSupport", "rum",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            exclude: ["Snapshots"],
            swiftSettings: rules),
        .testTarget(
            name: "RumConfigTests", dependencies: ["Linux", "Ports", "RumConfig", "TestSupport"],
            exclude: ["fixtures"], swiftSettings: rules),
        .testTarget(
            name: "MachineTests",
            dependencies: [
                "AgentChannel", "Linux", "LiveKernel", "Machine", "Ports", "RumConfig", "TestSupport",
            ],
            exclude: ["Snapshots"],
            swiftSettings: rules),
        .testTarget(
            name: "EndToEndTests",
            dependencies: [
                "AgentAPI", "AgentChannel", "AgentService", "AgentSession", "Control", "HostForward", "Linux",
                "LiveKernel", "Machine", "PortForward", "Ports", "ProcNet", "Relay", "rum", "rum-agent",
                "TestSupport",
            ],
            swiftSettings: rules),
    ]
)
