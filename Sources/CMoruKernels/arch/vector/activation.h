// Activation functions and their slopes, over vectors.

INLINE vf vsilu(vf x) { return x / (1.0f + vexp(-x)); }

INLINE vf vsilu_slope(vf x) {
    vf s = vsigmoid(x);
    return s * vfma(x, 1.0f - s, vset(1));
}

INLINE vf vgelu_inner(vf v) { return 0.79788456080286536f * vfma(0.044715f * v * v, v, v); }

INLINE vf vgelu(vf v, bool tanh_form) {
    vf inner = tanh_form ? vtanh(vgelu_inner(v)) : verf(v * 0.70710678118654752f, vexp(-0.5f * v * v));
    return 0.5f * v * (1.0f + inner);
}

INLINE vf vgelu_slope(vf v, bool tanh_form) {
    if (tanh_form) {
        vf t = vtanh(vgelu_inner(v));
        vf inner_slope = 0.79788456080286536f * vfma(vset(3 * 0.044715f), v * v, vset(1));
        return 0.5f * (1.0f + t) + 0.5f * v * (1.0f - t * t) * inner_slope;
    }
    vf gaussian = vexp(-0.5f * v * v);
    return 0.5f * (1.0f + verf(v * 0.70710678118654752f, gaussian)) + v * 0.39894228040143268f * gaussian;
}

// The logistic function of what was rounded to bf16, for results that are: to 3e-6 of itself with the instructions that
// AVX-512 has for it, exact elsewhere.
INLINE vf vsigmoid_narrow(vf x) {
#ifdef MORU_NATIVE_BF16
    vf t = vmax(vset(-126.0f), vmin(vset(126.0f), x * -1.44269504088896341f));  // in this order a NaN stays
    vf d = 1.0f + vexp2_narrow(t), r = (vf)_mm512_rcp14_ps((__m512)d);
    return r * vfma(-d, r, vset(2));
#else
    return vsigmoid(x);
#endif
}
