extension Tensor {
    /// A low-rank update added to a product: `product + scale * (x A^T) B^T`, for few rows `x` [N, inputs] and products
    /// [N, outputs], both f32, as a ``DecoderPass`` computes it; for inference only.
    package func addingUpdate(_ factors: LowRankFactors, to product: Tensor) -> Tensor {
        precondition(
            !isTracked && !product.isTracked && rank == 2 && product.rank == 2 && shape[0] == product.shape[0]
                && shape[1] == factors.arguments.k && product.shape[1] == factors.arguments.n,
            "addingUpdate: \(shape) and \(product.shape) do not fit an update [\(factors.arguments.n), "
                + "\(factors.arguments.k)], or a gradient computation follows them")
        return Runtime.shared.backend.addUpdate(factors, of: self, to: product)
    }
}
