import Foundation
import MoruBase
import MoruTensor

/// Files of vectors.
public enum VectorFile {
    /// Writes texts' vectors [N, D] in the format that the file's name says, whole or not at all: `.npy` (NumPy's format
    /// 1.0), `.safetensors` (the tensor `embeddings`), or `.jsonl` (an object with `text` and `embedding` a line).
    ///
    /// - Throws: ``MoruError/Code/vectorFormatUnknown``, or what writing throws.
    public static func write(_ vectors: Tensor, of texts: [String], to path: String) throws {
        switch (path as NSString).pathExtension.lowercased() {
        case "npy": try writeNPY(vectors, to: path)
        case "safetensors": try Safetensors.write([("embeddings", vectors)], to: path)
        case "jsonl", "ndjson":
            try FileSystem.writeAtomically(to: path) { writer in
                for (index, text) in texts.enumerated() {
                    try writer.write(Array((line(vectors, of: text, at: index).text() + "\n").utf8))
                }
            }
        default:
            throw unknown(path)
        }
    }

    /// Refuses a name that does not say the format, before the work that the file is for.
    ///
    /// - Throws: ``MoruError/Code/vectorFormatUnknown``.
    public static func check(_ path: String) throws(MoruError) {
        guard ["npy", "safetensors", "jsonl", "ndjson"].contains((path as NSString).pathExtension.lowercased()) else {
            throw unknown(path)
        }
    }

    /// A text and its vector, as a line of JSON holds them.
    public static func line(_ vectors: Tensor, of text: String, at index: Int) -> JSON {
        let values = vectors.rows(index..<index + 1).values()
        return ["text": .string(text), "embedding": .array(values.map { .shortest($0) })]
    }

    private static func unknown(_ path: String) -> MoruError {
        MoruError(
            .vectorFormatUnknown, "\(path): the file name does not tell the format of the vectors",
            remedy: "call it .jsonl, .npy or .safetensors")
    }

    private static func writeNPY(_ vectors: Tensor, to path: String) throws {
        let shape = "(\(vectors.shape[0]), \(vectors.shape[1]))"
        var header = "{'descr': '<f4', 'fortran_order': False, 'shape': \(shape), }"
        // Magic, version and length take 10 bytes; the data begins on a multiple of 64
        let length = (10 + header.utf8.count + 1 + 63) / 64 * 64 - 10
        header += String(repeating: " ", count: length - header.utf8.count - 1) + "\n"
        let start: [UInt8] = [0x93] + Array("NUMPY".utf8) + [1, 0, UInt8(length & 255), UInt8(length >> 8)]
        try FileSystem.writeAtomically(to: path) { writer in
            try writer.write(start + Array(header.utf8))
            for row in 0..<vectors.shape[0] {
                let values = vectors.rows(row..<row + 1).values()
                try writer.write(
                    values.flatMap { value in withUnsafeBytes(of: value.bitPattern.littleEndian, Array.init) })
            }
        }
    }
}

extension MoruError.Code {
    /// A file of vectors whose name does not say its format.
    public static let vectorFormatUnknown = MoruError.Code("embedding.format-unknown", .invalidInput)
}
