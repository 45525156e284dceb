import Foundation
import MoruBase
import MoruTestKit
import Testing

/// Directories are replaced whole: at every instant either the old or the new one is in place.
@Suite struct DirectoryWritingTests {
    private func withScratch(_ body: (String) throws -> Void) throws {
        let path = TestNeeds.temporaryPath("directory")
        try FileSystem.createDirectory(path)
        defer { FileSystem.remove(path) }
        try body(path)
    }

    @Test func aDirectoryIsMadeAndReplaced() throws {
        try withScratch { scratch in
            for content in ["first", "second"] {
                try FileSystem.writeDirectoryAtomically(to: scratch + "/a") { temporary in
                    try FileSystem.write(content.utf8, to: temporary + "/\(content)")
                }
                #expect(try FileSystem.list(scratch) == ["a"])
                #expect(try FileSystem.list(scratch + "/a") == [content])
            }
        }
    }

    @Test func aSlashAtTheEndChangesNothing() throws {
        try withScratch { scratch in
            for content in ["first", "second"] {
                try FileSystem.writeDirectoryAtomically(to: scratch + "/a/") { temporary in
                    try FileSystem.write(content.utf8, to: temporary + "/\(content)")
                }
                #expect(try FileSystem.list(scratch) == ["a"])
                #expect(try FileSystem.list(scratch + "/a") == [content])
            }
        }
    }

    /// Temporary names mean nothing to who reads the error.
    @Test func whatCannotBeWrittenIsNamedAsWhatItWasToBecome() throws {
        try withScratch { scratch in
            try FileSystem.write([], to: scratch + "/file")
            for path in ["file", "file/a", "file/a/b"] {
                let error = #expect(throws: MoruError.self) { try FileSystem.createDirectory("\(scratch)/\(path)") }
                #expect(error?.message.hasSuffix("/file is not a directory") == true && error?.code == .fileUnwritable)
                #expect(error?.cause == nil && error?.remedy?.contains("another place") == true)
            }
            // A temporary name would be longer than 255 bytes
            let long = String(repeating: "x", count: 250)
            let file = #expect(throws: MoruError.self) { try FileSystem.write([1], to: "\(scratch)/\(long)") }
            #expect(file?.message == "cannot write \(scratch)/\(long): File name too long")
            let nested = #expect(throws: MoruError.self) {
                try FileSystem.writeDirectoryAtomically(to: scratch + "/a") { temporary in
                    try FileSystem.write([1], to: "\(temporary)/\(long)")
                }
            }
            #expect(nested?.message == "cannot write \(scratch)/a/\(long): File name too long")
            #expect(try FileSystem.list(scratch) == ["file"])
        }
    }

    /// What is wrong with a text is for the one who wrote it to mend: no failure of the system.
    @Test func textThatIsNotUTF8IsTheWritersMatter() throws {
        try withScratch { scratch in
            let path = scratch + "/recipe.yaml"
            try FileSystem.write(Array("name: é\nn: ".utf8) + [0xE9, 0x0A], to: path)
            let error = #expect(throws: MoruError.self) { try FileSystem.readText(path) }
            #expect(error?.code == .textEncoding && error?.code.kind == .invalidInput)
            #expect(error?.message == "\(path), line 2: the byte 0xE9 at offset 12 is not UTF-8 text")
            #expect(error?.remedy?.contains("iconv -f WINDOWS-1252 -t UTF-8 \(path)") == true)
            try FileSystem.write([0xFF, 0xFE, 0x61, 0], to: path)
            let wide = #expect(throws: MoruError.self) { try FileSystem.readText(path) }
            #expect(wide?.message == "\(path) is UTF-16, not UTF-8" && wide?.code.kind == .invalidInput)
        }
    }

    @Test func aNamedPipeIsRefusedAtOnce() throws {
        try withScratch { scratch in
            #expect(mkfifo(scratch + "/pipe", 0o600) == 0)
            let error = #expect(throws: MoruError.self) { try FileSystem.read(scratch + "/pipe") }
            #expect(error?.code == .fileUnreadable)
        }
    }

    @Test func whatFailsLeavesTheOldOne() throws {
        try withScratch { scratch in
            try FileSystem.write("old".utf8, to: scratch + "/a/file")
            #expect(throws: MoruError.self) {
                try FileSystem.writeDirectoryAtomically(to: scratch + "/a") { temporary in
                    try FileSystem.write("new".utf8, to: temporary + "/file")
                    throw MoruError(.cancelled, "stop")
                }
            }
            #expect(try FileSystem.list(scratch) == ["a"])
            #expect(try FileSystem.readText(scratch + "/a/file") == "old")
        }
    }

    @Test func aReaderNeverFindsItMissing() throws {
        try withScratch { scratch in
            try FileSystem.write("0".utf8, to: scratch + "/a/file")
            let reader = Thread {
                while !Thread.current.isCancelled {
                    if !FileSystem.exists(scratch + "/a/file") { Thread.current.threadDictionary["missing"] = true }
                }
            }
            reader.start()
            for number in 1...200 {
                try FileSystem.writeDirectoryAtomically(to: scratch + "/a") { temporary in
                    try FileSystem.write("\(number)".utf8, to: temporary + "/file")
                }
            }
            reader.cancel()
            while !reader.isFinished { usleep(1000) }
            #expect(reader.threadDictionary["missing"] == nil)
            #expect(try FileSystem.readText(scratch + "/a/file") == "200")
        }
    }
}
