import Hummingbird

/// `GET /metrics`, for Prometheus and those who read its formats.
struct MetricsEndpoint: Sendable {
    let catalog: ModelCatalog
    let meter: RequestMeter

    /// Everything that is watched. No engine is waited for: each tells how things were after its last step.
    func metrics(_ request: Request, _ context: ServerContext) -> Response {
        let format = MetricFormat(accept: request.headers[.accept])
        let engines = catalog.engines
        let disk = DiskMetrics(directory: engines.lazy.compactMap(\.engine.configuration.prefixDirectory).first)
        let observations = EngineMetrics(engines: engines.map { ($0.model, $0.engine.observation) })
        let text = format.text(
            meter.families + catalog.metricFamilies + observations.families + disk.families
                + ProcessMetrics.families)
        return Response(
            status: .ok, headers: [.contentType: format.contentType],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }
}
