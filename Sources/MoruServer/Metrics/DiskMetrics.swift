import MoruEngine

/// What the folder tells that keeps pages of keys and values; see ``PrefixDirectory``.
struct DiskMetrics: Sendable {
    /// Nil where there is none.
    let directory: PrefixDirectory?

    /// The families.
    var families: [MetricFamily] {
        guard let directory else { return [] }
        let its = directory.statistics
        return [
            MetricFamily(
                "moru_prefix_disk_bytes", .gauge, "Bytes of the prefix cache on disk.", Double(its.bytes)),
            MetricFamily(
                "moru_prefix_disk_capacity_bytes", .gauge, "Bytes that it may have.", Double(directory.maximumBytes)),
            MetricFamily("moru_prefix_disk_pages", .gauge, "Pages of the prefix cache on disk.", Double(its.pages)),
            MetricFamily("moru_prefix_disk_pages_written_total", .counter, "Pages written.", Double(its.written)),
            MetricFamily("moru_prefix_disk_pages_read_total", .counter, "Pages read back.", Double(its.read)),
            MetricFamily(
                "moru_prefix_disk_pages_dropped_total", .counter,
                "Pages not written, because too many waited or the disk refused.", Double(its.dropped)),
            MetricFamily(
                "moru_prefix_disk_pages_damaged_total", .counter, "Files found damaged, which were not used.",
                Double(its.damaged)),
        ]
    }
}
