extension ModelCatalog {
    /// Which models are loaded, and the memory that each takes.
    var metricFamilies: [MetricFamily] {
        var loaded = MetricFamily("moru_model_loaded", .gauge, "1 for a model that is loaded, 0 for another.")
        var weights = MetricFamily("moru_model_weight_bytes", .gauge, "Bytes of a loaded model's weights.")
        var caches = MetricFamily(
            "moru_model_cache_bytes", .gauge, "Bytes that a loaded model's keys and values take at most.")
        for (name, resident) in read({ state in state.names.map { ($0, state.resident(of: $0)) } }) {
            let labels = [MetricLabel("model", name)]
            loaded.add(resident == nil ? 0 : 1, labels)
            guard let resident else { continue }
            weights.add(Double(resident.weightBytes), labels)
            caches.add(Double(resident.cacheBytes), labels)
        }
        return [loaded, weights, caches]
    }
}
