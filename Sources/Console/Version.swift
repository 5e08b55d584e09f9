/// The version of this package, as `--version` and what is written into files give it.
public let adapterKitVersion = "0.1.0"
