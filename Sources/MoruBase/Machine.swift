import Foundation

/// What this process may use of the machine: all of it, or what the limits of a container leave. Looked up once.
package enum Machine {
    /// The processors that the process may run on, or fewer where it may take less of their time; at least 1.
    package static let processors = {
        let count = Double(max(1, ProcessInfo.processInfo.activeProcessorCount))
        return Int(min(count, ControlGroup().processors?.rounded(.up) ?? count))
    }()

    /// Bytes of memory.
    package static let memory =
        min(Int(clamping: ProcessInfo.processInfo.physicalMemory), ControlGroup().memoryLimit ?? .max)
}
