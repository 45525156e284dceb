import MoruBase

extension MoruError.Code {
    /// Sources that cannot be mixed as asked, or a position that is not one of theirs.
    public static let dataMixture = MoruError.Code("data.mixture", .invalidInput)
    /// A data file that is not UTF-8 text.
    public static let dataEncoding = MoruError.Code("data.encoding", .invalidInput)
    /// A data file of a format that is not read here.
    public static let dataUnsupported = MoruError.Code("data.unsupported", .unsupported)
    /// A data file or folder that can be read in more than one way.
    public static let dataAmbiguous = MoruError.Code("data.ambiguous", .invalidInput)
    /// A file that is not overwritten without being asked to.
    public static let fileExists = MoruError.Code("file.exists", .conflict)
    /// A directory of token shards that is damaged, or belongs to another tokenizer.
    public static let shardsMalformed = MoruError.Code("shards.malformed", .invalidInput)
    /// A directory that token shards cannot be written to because something is there.
    public static let shardsExist = MoruError.Code("shards.exist", .conflict)
}
