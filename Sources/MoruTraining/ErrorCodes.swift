import MoruBase

extension MoruError.Code {
    /// A recipe that is no YAML, or has the wrong structure.
    public static let recipeMalformed = MoruError.Code("recipe.malformed", .invalidInput)
    /// A built-in recipe that does not exist.
    public static let recipeUnknown = MoruError.Code("recipe.unknown", .notFound)
    /// A file of a recipe that is there already.
    public static let fileOccupied = MoruError.Code("recipe.file-occupied", .conflict)
    /// A recipe key that does not exist.
    public static let recipeUnknownKey = MoruError.Code("recipe.unknown-key", .invalidInput)
    /// A recipe key that is missing, or whose value is of the wrong type, out of range or at odds with another.
    public static let recipeValue = MoruError.Code("recipe.value", .invalidInput)
    /// A line of a data file that is not an example.
    public static let dataMalformed = MoruError.Code("data.malformed", .invalidInput)
    /// A data file without examples.
    public static let dataEmpty = MoruError.Code("data.empty", .invalidInput)
    /// An example longer than the run allows.
    public static let dataTooLong = MoruError.Code("data.too-long", .invalidInput)
    /// A directory that holds a run already.
    public static let runExists = MoruError.Code("run.exists", .conflict)
    /// A run directory that another process is working in.
    public static let runInUse = MoruError.Code("run.in-use", .conflict)
    /// A run that cannot be resumed because its recipe, data or model are not what they were.
    public static let runChanged = MoruError.Code("run.changed", .conflict)
    /// A checkpoint that cannot be read.
    public static let checkpointMalformed = MoruError.Code("checkpoint.malformed", .invalidInput)
    /// A loss or gradient that is not finite.
    public static let trainingDiverged = MoruError.Code("training.diverged", .invalidInput)
}
