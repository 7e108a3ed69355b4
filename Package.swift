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

let package = Package(
    name: "rum",
    targets: [
        .target(name: "CSockets", cSettings: [.treatAllWarnings(as: .error)]),
        .target(name: "ListenTable", swiftSettings: rules),
        .target(name: "Sockets", dependencies: ["CSockets", "ListenTable"], swiftSettings: rules),
        .target(name: "ForwardProtocol", dependencies: ["ListenTable"], swiftSettings: rules),
        .target(
            name: "GuestChannel", dependencies: ["ForwardProtocol", "ListenTable", "Sockets"],
            swiftSettings: rules),
    ]
)
