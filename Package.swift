// swift-tools-version: 6.2
import PackageDescription

/// Every Swift target: Swift 6 language mode with strict memory safety; `Tests/run.sh` adds warnings as errors.
let strict: [SwiftSetting] =
    [.strictMemorySafety(), .enableUpcomingFeature("ExistentialAny")]
    + (Context.environment["ADAPTERKIT_WARNINGS"] == "error" ? [.treatAllWarnings(as: .error)] : [])

/// The C kernels state their instruction sets function by function, and their arithmetic to the bit.
let kernelFlags: [CSetting] = [.unsafeFlags(["-O3", "-ffp-contract=off", "-fno-math-errno"])]

/// Debug builds can be told to fail or die at a chosen system call; release builds have no such code.
let faultSeam: [SwiftSetting] = [.define("FAULT_SEAM", .when(configuration: .debug))]

let package = Package(
    name: "AdapterKit",
    products: [
        .library(
            name: "AdapterKit",
            targets: ["Safetensors", "Archives", "Adapters", "Merging", "Swapping", "Composition", "Serving"]),
        .executable(name: "adapter-inspect", targets: ["adapter-inspect"]),
        .executable(name: "adapter-verify", targets: ["adapter-verify"]),
        .executable(name: "adapter-merge", targets: ["adapter-merge"]),
        .executable(name: "adapter-unmerge", targets: ["adapter-unmerge"]),
        .executable(name: "adapter-swap", targets: ["adapter-swap"]),
        .executable(name: "adapter-combine", targets: ["adapter-combine"]),
        .executable(name: "adapter-convert", targets: ["adapter-convert"]),
        .executable(name: "adapter-extract", targets: ["adapter-extract"]),
        .executable(name: "adapter-pack", targets: ["adapter-pack"]),
        .executable(name: "adapter-unpack", targets: ["adapter-unpack"]),
        .executable(name: "adapter-train", targets: ["adapter-train"]),
        .executable(name: "adapter-generate", targets: ["adapter-generate"]),
    ],
    targets: [
        .target(name: "CPosix"),
        .target(name: "CKernels", cSettings: kernelFlags),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
        .systemLibrary(name: "COniguruma", pkgConfig: "oniguruma", providers: [.apt(["libonig-dev"])]),
        .systemLibrary(name: "CCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),

        .target(name: "Problems", swiftSettings: strict),
        .target(name: "StrictJSON", dependencies: ["Problems"], swiftSettings: strict),
        .target(name: "Files", dependencies: ["CPosix", "Problems"], swiftSettings: strict + faultSeam),
        .target(name: "Digests", dependencies: ["CCrypto", "Files", "Problems"], swiftSettings: strict),
        .target(name: "Safetensors", dependencies: ["StrictJSON", "Files", "Problems"], swiftSettings: strict),
        .target(
            name: "GGUF", dependencies: ["Safetensors", "StrictJSON", "Files", "Problems"], swiftSettings: strict),
        .target(name: "Tensors", dependencies: ["Safetensors", "CKernels", "Problems"], swiftSettings: strict),
        .target(
            name: "Archives",
            dependencies: [
                "Safetensors", "Tensors", "StrictJSON", "Digests", "Files", "CKernels", "CZlib", "Problems",
            ],
            swiftSettings: strict),
        .target(
            name: "Adapters",
            dependencies: [
                "Archives", "GGUF", "Tensors", "Safetensors", "StrictJSON", "Files", "Digests", "Problems",
            ],
            swiftSettings: strict),
        .target(
            name: "Merging", dependencies: ["Adapters", "Archives", "Tensors", "Digests", "Files", "Problems"],
            swiftSettings: strict),
        .target(
            name: "Swapping",
            dependencies: [
                "Merging", "Adapters", "Archives", "Tensors", "Safetensors", "StrictJSON", "Digests", "Files",
                "Problems",
            ],
            swiftSettings: strict),
        .target(
            name: "Composition",
            dependencies: ["GGUF", "Adapters", "Archives", "Tensors", "Safetensors", "CKernels", "Files", "Problems"],
            swiftSettings: strict),
        .target(
            name: "Serving",
            dependencies: ["Merging", "Adapters", "Archives", "Tensors", "Safetensors", "CKernels", "Problems"],
            swiftSettings: strict),
        .target(
            name: "Models", dependencies: ["Safetensors", "StrictJSON", "Problems"], swiftSettings: strict),
        .target(
            name: "Training",
            dependencies: [
                "Models", "Tokenization", "Composition", "Merging", "Adapters", "Archives", "Tensors", "Safetensors",
                "StrictJSON", "Digests", "Files", "CKernels", "COpenBLAS", "Problems",
            ],
            swiftSettings: strict),
        .target(
            name: "Generation",
            dependencies: [
                "Models", "Serving", "Tokenization", "Archives", "Adapters", "Tensors", "Safetensors", "StrictJSON",
                "Files", "CKernels", "Problems",
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "adapter-train", dependencies: ["Training", "StrictJSON", "Files", "Reports", "Console"],
            swiftSettings: strict),
        .executableTarget(
            name: "adapter-generate", dependencies: ["Generation", "Reports", "Console", "CPosix"],
            swiftSettings: strict),
        .testTarget(name: "TrainingTests", dependencies: ["Fixtures", "Training", "Models", "Safetensors", "Files"]),
        .testTarget(
            name: "GenerationTests",
            dependencies: ["Fixtures", "Generation", "Tokenization", "Adapters", "Safetensors", "Files", "Problems"]),
        .target(
            name: "Tokenization",
            dependencies: ["COniguruma", "Tensors", "Safetensors", "StrictJSON", "Files", "Problems"],
            swiftSettings: strict),
        .target(name: "Console", dependencies: ["Problems", "CPosix"], swiftSettings: strict),

        .target(
            name: "Reports", dependencies: ["Composition", "Merging", "Console", "Files"], swiftSettings: strict),

        .executableTarget(
            name: "adapter-inspect", dependencies: ["Merging", "Archives", "Console"], swiftSettings: strict),
        .executableTarget(
            name: "adapter-verify", dependencies: ["Merging", "Archives", "Console"], swiftSettings: strict),
        .executableTarget(
            name: "adapter-merge", dependencies: ["Merging", "Reports", "Console"], swiftSettings: strict),
        .executableTarget(
            name: "adapter-swap", dependencies: ["Swapping", "Reports", "Console"], swiftSettings: strict),
        .executableTarget(
            name: "adapter-unmerge", dependencies: ["Merging", "Archives", "Console"], swiftSettings: strict),
        .executableTarget(name: "adapter-combine", dependencies: ["Reports"], swiftSettings: strict),
        .executableTarget(name: "adapter-convert", dependencies: ["Reports"], swiftSettings: strict),
        .executableTarget(name: "adapter-extract", dependencies: ["Reports"], swiftSettings: strict),
        .executableTarget(
            name: "adapter-pack", dependencies: ["Archives", "Merging", "Adapters", "Console"], swiftSettings: strict),
        .executableTarget(
            name: "attach-example", dependencies: ["Serving", "Adapters", "Problems"], path: "examples/attach",
            swiftSettings: strict),
        .executableTarget(
            name: "tokenize-example", dependencies: ["Tokenization", "StrictJSON", "Files", "Problems"],
            path: "examples/tokenize", swiftSettings: strict),
        .executableTarget(
            name: "why-freeze-example", dependencies: ["Console", "StrictJSON", "Files", "Problems"],
            path: "examples/why-freeze", swiftSettings: strict),
        .executableTarget(
            name: "adapter-unpack", dependencies: ["Archives", "Merging", "Console"], swiftSettings: strict),
        .testTarget(name: "CKernelsTests", dependencies: ["CKernels"]),
        .target(name: "Fixtures", path: "Tests/Fixtures"),
        .testTarget(
            name: "ToolTests",
            dependencies: [
                "Fixtures", "Adapters", "Problems", "Safetensors", "adapter-combine", "adapter-convert",
                "adapter-extract", "adapter-inspect",
                "adapter-merge",
                "adapter-generate", "adapter-pack", "adapter-swap", "adapter-train", "adapter-unmerge",
                "adapter-unpack", "adapter-verify",
                "attach-example",
            ]),
        .testTarget(name: "StrictJSONTests", dependencies: ["Fixtures", "StrictJSON"]),
        .testTarget(
            name: "ArchivesTests",
            dependencies: [
                "Fixtures", "Archives", "Tensors", "Safetensors", "Digests", "Files", "StrictJSON", "Problems",
            ]),
        .testTarget(name: "GGUFTests", dependencies: ["Fixtures", "GGUF", "Safetensors", "Files", "Problems"]),
        .testTarget(name: "SafetensorsTests", dependencies: ["Fixtures", "Safetensors", "CPosix"]),
        .testTarget(name: "FilesTests", dependencies: ["Fixtures", "Files", "Digests", "CPosix"]),
        .testTarget(
            name: "AdaptersTests", dependencies: ["Fixtures", "Adapters", "Safetensors"],
            exclude: ["make_match_table.py", "match-table.json"]),
        .testTarget(
            name: "CompositionTests",
            dependencies: ["Fixtures", "Composition", "Adapters", "Files", "GGUF", "Problems"]),
        .testTarget(name: "ServingTests", dependencies: ["Fixtures", "Serving", "Merging", "CKernels"]),
        .testTarget(name: "MergingTests", dependencies: ["Fixtures", "Merging"]),
        .testTarget(name: "TokenizationTests", dependencies: ["Fixtures", "Tokenization", "Files"]),
        .testTarget(name: "ConsoleTests", dependencies: ["Console"], swiftSettings: []),
    ],
    swiftLanguageModes: [.v6]
)
