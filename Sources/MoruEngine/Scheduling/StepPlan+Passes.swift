import MoruTensor

extension StepPlan {
    /// The runs in groups, each computed in one forward pass.
    ///
    /// Each run goes the way that it would go alone: short ones share passes of few rows, long ones share one. Within a
    /// way the backend computes a row the same whatever other rows there are, so a batched answer equals the same
    /// request alone to the last bit.
    func passes() -> [[StepRun]] {
        var passes: [[StepRun]] = []
        let long = runs.filter { $0.rowCount > Runtime.fewRows }
        if !long.isEmpty { passes.append(long) }
        var rows = Runtime.fewRows
        for run in runs where run.rowCount <= Runtime.fewRows {
            if rows + run.rowCount > Runtime.fewRows {
                passes.append([])
                rows = 0
            }
            passes[passes.count - 1].append(run)
            rows += run.rowCount
        }
        return passes
    }
}
