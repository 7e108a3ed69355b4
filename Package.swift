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
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0", traits: []),
        .package(url: "https://github.com/grpc/grpc-swift-2", from: "2.4.3"),
        .package(url: "https://github.com/grpc/grpc-swift-nio-transport", from: "2.9.2"),
        .package(url: "https://github.com/grpc/grpc-swift-protobuf", from: "2.4.1"),
        // Without the trait it needs no Foundation.
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2", traits: []),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    ],
    targets: [
        // Vocabulary: what both ends speak of.
        .target(name: "CSockets", cSettings: [.treatAllWarnings(as: .error)]),
        .target(name: "ListenTable", swiftSettings: rules),
        .target(name: "Sockets", dependencies: ["CSockets", "ListenTable"], swiftSettings: rules),
        .target(name: "ForwardProtocol", dependencies: ["ListenTable"], swiftSettings: rules),
        .target(
            name: "GuestChannel", dependencies: ["CSockets", "ForwardProtocol", "ListenTable", "Sockets"],
            swiftSettings: rules),

        // The watcher: which sockets listen in this guest.
        .target(
            name: "CNetlink", cSettings: [.treatAllWarnings(as: .error)],
            linkerSettings: [.linkedLibrary("mnl")]),
        .target(name: "ProcNet", dependencies: ["ListenTable", "Sockets"], swiftSettings: rules),
        .target(
            name: "SockDiag", dependencies: ["CNetlink", "ListenTable", "Sockets"], swiftSettings: rules),
        .target(
            name: "ListenWatch",
            dependencies: ["CNetlink", "CSockets", "ListenTable", "ProcNet", "SockDiag", "Sockets"],
            swiftSettings: rules),

        // The data path: one engine for both ends.
        .target(
            name: "Relay",
            dependencies: ["CSockets", "ForwardProtocol", "GuestChannel", "ListenTable", "Sockets"],
            swiftSettings: rules),
        .target(name: "GuestForward", dependencies: ["Relay", "Sockets"], swiftSettings: rules),
        .target(
            name: "PortForward",
            dependencies: ["ForwardProtocol", "GuestChannel", "ListenTable", "ProcNet", "Relay", "Sockets"],
            swiftSettings: rules),

        // The control path: gRPC, its service in the guest, its session on the host.
        .target(
            name: "AgentAPI", dependencies: ["ForwardProtocol", "ListenTable"] + grpc, swiftSettings: rules),
        .target(
            name: "AgentService",
            dependencies: [
                "AgentAPI", "ForwardProtocol", "ListenTable", "Sockets",
                .product(name: "Subprocess", package: "swift-subprocess"),
                .product(name: "SystemPackage", package: "swift-system"),
            ] + grpc, swiftSettings: rules),
        .target(
            name: "AgentSession",
            dependencies: ["AgentAPI", "ForwardProtocol", "ListenTable", "Sockets"] + grpc,
            swiftSettings: rules),
        .target(
            name: "ForwardSession",
            dependencies: [
                "AgentAPI", "AgentSession", "ForwardProtocol", "GuestChannel", "ListenTable", "PortForward",
                "Relay",
            ], swiftSettings: rules),

        // The host's configuration and machine.
        .target(name: "RumConfig", dependencies: ["ListenTable"], swiftSettings: rules),
        .systemLibrary(name: "CLibvirt", pkgConfig: "libvirt-qemu", providers: [.apt(["libvirt-dev"])]),
        .target(
            name: "Machine",
            dependencies: [
                "CLibvirt", "ForwardProtocol", "GuestChannel", "ListenTable", "RumConfig", "Sockets",
                .product(name: "Subprocess", package: "swift-subprocess"),
            ], swiftSettings: rules),

        // The programs.
        .target(
            name: "CommandMain",
            dependencies: [
                "ForwardProtocol", "Sockets",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: rules),
        .executableTarget(
            name: "rum",
            dependencies: [
                "AgentAPI", "AgentSession", "CSockets", "CommandMain", "ForwardProtocol", "ForwardSession",
                "GuestChannel", "ListenTable", "Machine", "PortForward", "Relay", "RumConfig", "Sockets",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "GRPCCore", package: "grpc-swift-2"),
                .product(name: "SwiftProtobuf", package: "swift-protobuf"),
            ], swiftSettings: rules),
        .executableTarget(
            name: "rum-agent",
            dependencies: [
                "AgentAPI", "AgentService", "CommandMain", "ForwardProtocol", "GuestChannel", "GuestForward",
                "ListenTable", "ListenWatch", "Relay", "Sockets",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ], swiftSettings: rules),

        // Benchmarks; see `make bench-watch` and `make bench-relay`.
        .executableTarget(
            name: "bench-relay",
            dependencies: [
                "ForwardProtocol", "GuestChannel", "GuestForward", "ListenTable", "Relay", "Sockets",
            ],
            path: "Benchmarks/relay/bench-relay", swiftSettings: rules),
        .executableTarget(
            name: "bench-watch",
            dependencies: [
                "CLiveKernel", "ListenTable", "ListenWatch", "LiveKernel", "ProcNet", "SockDiag", "Sockets",
            ],
            path: "Benchmarks/watch/bench-watch", swiftSettings: rules),

        // Tests, from pure functions to real processes.
        .target(name: "CLiveKernel", path: "Tests/CLiveKernel", cSettings: [.treatAllWarnings(as: .error)]),
        .target(
            name: "LiveKernel", dependencies: ["CLiveKernel", "ListenTable", "Sockets"],
            path: "Tests/LiveKernel",
            swiftSettings: rules),
        .testTarget(name: "ListenTableTests", dependencies: ["ListenTable"], swiftSettings: rules),
        .testTarget(name: "ProcNetTests", dependencies: ["ListenTable", "ProcNet"], swiftSettings: rules),
        .testTarget(
            name: "SockDiagTests",
            dependencies: ["ListenTable", "LiveKernel", "ProcNet", "SockDiag", "Sockets"],
            swiftSettings: rules),
        .testTarget(
            name: "ListenWatchTests",
            dependencies: ["ListenTable", "ListenWatch", "LiveKernel", "ProcNet", "SockDiag", "Sockets"],
            swiftSettings: rules),
        .testTarget(
            name: "RelayTests",
            dependencies: ["ForwardProtocol", "GuestChannel", "ListenTable", "Relay", "Sockets"],
            swiftSettings: rules),
        .testTarget(
            name: "ForwardProtocolTests", dependencies: ["ForwardProtocol", "ListenTable"],
            swiftSettings: rules),
        .testTarget(
            name: "GuestChannelTests",
            dependencies: ["ForwardProtocol", "GuestChannel", "ListenTable", "Sockets"],
            swiftSettings: rules),
        .testTarget(
            name: "GuestForwardTests",
            dependencies: ["ForwardProtocol", "GuestForward", "ListenTable", "Relay", "Sockets"],
            swiftSettings: rules),
        .testTarget(
            name: "PortForwardTests",
            dependencies: [
                "ForwardProtocol", "GuestChannel", "ListenTable", "PortForward", "Relay", "Sockets",
            ],
            swiftSettings: rules),
        .testTarget(name: "AgentAPITests", dependencies: ["AgentAPI", "ListenTable"], swiftSettings: rules),
        .testTarget(
            name: "AgentSessionTests",
            dependencies: [
                "AgentAPI", "AgentService", "AgentSession", "ForwardProtocol", "ListenTable", "Sockets",
            ] + grpc, swiftSettings: rules),
        .testTarget(
            name: "RumConfigTests", dependencies: ["ListenTable", "RumConfig"], swiftSettings: rules),
        .testTarget(
            name: "MachineTests",
            dependencies: ["ForwardProtocol", "GuestChannel", "ListenTable", "Machine", "RumConfig"],
            exclude: ["Snapshots"],
            swiftSettings: rules),
        .testTarget(
            name: "EndToEndTests",
            dependencies: ["ListenTable", "LiveKernel", "Sockets", "rum", "rum-agent"],
            swiftSettings: rules),
    ]
)
