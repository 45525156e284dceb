import Hummingbird

extension AnswerRun {
    /// A run within a server's limits, which ends when the client goes.
    init(_ plan: AnswerPlan, _ configuration: ServerConfiguration, _ context: ServerContext) async throws {
        self.init(
            plan: plan, limits: RequestLimits(configuration),
            monitor: try await ConnectionMonitorHandler.monitor(of: context.channel))
    }

    /// The response: the whole answer, or an event stream whose body generates as it is written.
    ///
    /// - Parameter includingUsage: Whether a stream that need not say what it cost does.
    func response(
        as format: some AnswerFormat, streams: Bool, includingUsage: Bool, _ context: ServerContext
    ) async throws -> Response {
        if streams {
            // Once the stream has begun, its status is sent
            try plan.checkLoad()
            return AnswerStream(run: self, frames: format.frames(includingUsage: includingUsage), context: context)
                .response
        }
        let (choices, usage) = try await collect()
        context.record.note(usage)
        return Response(format.answer(choices, usage))
    }
}
