import Foundation
import MoruBase
import MoruModels

extension TestModels {
    /// Writes a tiny random Llama with the byte tokenizer as a Hugging Face directory.
    ///
    /// - Throws: What writing throws.
    public static func writeTinyDirectory(_ path: String, seed: UInt64 = 7) throws {
        try tinyPretrained(seed: seed).save(to: path)
        try FileSystem.write(byteTokenizerJSON.text().utf8, to: path + "/tokenizer.json")
        let config: JSON = ["eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"]
        try FileSystem.write(config.text().utf8, to: path + "/tokenizer_config.json")
    }
}
