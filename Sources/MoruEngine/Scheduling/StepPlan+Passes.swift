extension StepPlan {
    /// Rows up to which the backend multiplies by reading a weight once for all rows, each on its own; above, it uses
    /// blocked products, which round differently.
    static let fewRows = 8

    /// The runs in groups, each computed in one forward pass.
    ///
    /// Each run goes the way that it would go alone: short ones share passes of few rows, long ones share one. Within a
    /// way the backend computes a row the same whatever other rows there are, so a batched answer equals the same
    /// request alone to the last bit.
    func passes() -> [[StepRun]] {
        var passes: [[StepRun]] = []
        let long = runs.filter { $0.tokens.count > Self.fewRows }
        if !long.isEmpty { passes.append(long) }
        var rows = Self.fewRows
        for run in runs where run.tokens.count <= Self.fewRows {
            if rows + run.tokens.count > Self.fewRows {
                passes.append([])
                rows = 0
            }
            passes[passes.count - 1].append(run)
            rows += run.tokens.count
        }
        return passes
    }
}
