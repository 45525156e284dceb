import MoruBase
import MoruEngine

/// What engines tell of themselves, each under the name of the model that it computes. Adapters share their base's
/// engine, and are counted with it.
struct EngineMetrics: Sendable {
    /// Engines under the names of their base models.
    let engines: [(model: String, observation: EngineObservation)]

    /// The families.
    var families: [MetricFamily] { gauges + counters + histograms }

    private var gauges: [MetricFamily] {
        [
            gauge("moru_requests_running", "Requests that take part in steps.") { Double($0.running) },
            gauge("moru_requests_waiting", "Requests that wait to be computed.") { Double($0.waiting) },
            gauge("moru_waiting_tokens", "Tokens of waiting requests: of prompts, and likely ones of answers.") {
                Double($0.waitingTokens)
            },
            gauge("moru_kv_pages_used", "Pages of keys and values that requests hold.") {
                Double($0.cacheBytes / max(1, $0.pageBytes))
            },
            gauge("moru_kv_pages_kept", "Pages that nobody holds, kept for requests that begin alike.") {
                Double($0.prefixBytes / max(1, $0.pageBytes))
            },
            gauge("moru_kv_pages_capacity", "Pages of keys and values that there may be.") {
                Double($0.cacheCapacityBytes / max(1, $0.pageBytes))
            },
            gauge("moru_kv_page_bytes", "Bytes of a page of keys and values.") { Double($0.pageBytes) },
            gauge("moru_draft_kv_bytes", "Bytes of a draft model's keys and values.") { Double($0.draftBytes) },
            gauge("moru_kv_peak_bytes", "The most bytes of all keys and values that there were.") {
                Double($0.peakBytes)
            },
            gauge("moru_kv_usage_ratio", "The share of the pages that requests hold.") {
                Double($0.cacheBytes) / Double(max(1, $0.cacheCapacityBytes))
            },
        ]
    }

    private var counters: [MetricFamily] {
        var finished = MetricFamily("moru_requests_finished_total", .counter, "Answers that ended, and why.")
        for (model, observation) in engines {
            let its = observation.statistics
            for (reason, count) in [
                ("stop", its.finished - its.finishedByLength), ("length", its.finishedByLength),
                ("cancelled", its.cancelled), ("failed", its.failed),
            ] {
                finished.add(Double(count), [MetricLabel("model", model), MetricLabel("reason", reason)])
            }
        }
        var hits = MetricFamily(
            "moru_prefix_cache_hits_total", .counter, "Prompt tokens found there, which need no computing.")
        for (model, observation) in engines {
            let (all, disk) = (observation.statistics.cachedTokens, observation.statistics.diskTokens)
            hits.add(Double(all - disk), [MetricLabel("model", model), MetricLabel("source", "memory")])
            hits.add(Double(disk), [MetricLabel("model", model), MetricLabel("source", "disk")])
        }
        return [
            finished, hits,
            counter("moru_requests_refused_total", "Requests refused (429) because too much waited.") {
                Double($0.refused)
            },
            counter("moru_prompt_tokens_total", "Tokens of the prompts that have begun.") { Double($0.startedTokens) },
            counter("moru_prompt_tokens_computed_total", "Prompt tokens computed, those computed again included.") {
                Double($0.promptTokens)
            },
            counter("moru_generated_tokens_total", "Tokens generated.") { Double($0.generatedTokens) },
            counter("moru_prefix_cache_queries_total", "Prompt tokens looked for among what was computed before.") {
                Double($0.startedTokens)
            },
            counter("moru_preemptions_total", "Times that a request gave its pages back, to be computed again.") {
                Double($0.preempted)
            },
            counter("moru_speculation_proposed_tokens_total", "Guesses at next tokens that were computed.") {
                Double($0.speculation.proposed)
            },
            counter("moru_speculation_accepted_tokens_total", "Guesses that were right; each saved a step.") {
                Double($0.speculation.accepted)
            },
            counter("moru_engine_steps_total", "Steps taken.") { Double($0.steps) },
            counter("moru_engine_busy_seconds_total", "Seconds spent in steps.") { $0.busySeconds },
        ]
    }

    private var histograms: [MetricFamily] {
        [
            histogram("moru_time_to_first_token_seconds", "Seconds from a request to its first token.") {
                $0.firstTokenSeconds
            },
            histogram("moru_inter_token_seconds", "Seconds between two tokens of an answer.") { $0.interTokenSeconds },
            histogram("moru_queue_seconds", "Seconds from a request to its first step.") { $0.queueSeconds },
            histogram("moru_generation_seconds", "Seconds from a request to the end of its answer.") {
                $0.requestSeconds
            },
            histogram("moru_request_prompt_tokens", "Tokens of prompts.") { $0.promptTokens },
            histogram("moru_request_generated_tokens", "Tokens of answers.") { $0.generatedTokens },
        ]
    }

    private func gauge(_ name: String, _ help: String, _ value: (EngineStatistics) -> Double) -> MetricFamily {
        family(name, .gauge, help, value)
    }

    private func counter(_ name: String, _ help: String, _ value: (EngineStatistics) -> Double) -> MetricFamily {
        family(name, .counter, help, value)
    }

    private func family(
        _ name: String, _ kind: MetricFamily.Kind, _ help: String, _ value: (EngineStatistics) -> Double
    ) -> MetricFamily {
        var family = MetricFamily(name, kind, help)
        for (model, observation) in engines { family.add(value(observation.statistics), [MetricLabel("model", model)]) }
        return family
    }

    private func histogram(_ name: String, _ help: String, _ value: (EngineHistograms) -> Histogram) -> MetricFamily {
        var family = MetricFamily(name, .histogram, help)
        for (model, observation) in engines { family.add(value(observation.histograms), [MetricLabel("model", model)]) }
        return family
    }
}
