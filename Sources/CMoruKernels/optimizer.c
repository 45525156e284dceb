// AdamW (Loshchilov and Hutter, 2019), scalar reference: weight decay is applied to the parameter, not the gradient.
#include <math.h>

#include "table.h"

void moru_scalar_adamw(const moru_adamw *args, float *parameter, const float *gradient, float *moment1,
                       float *moment2, size_t begin, size_t end) {
    float decay = 1 - args->learning_rate * args->weight_decay;
    float step = args->learning_rate / args->bias_correction1;
    float root = 1 / sqrtf(args->bias_correction2);
    for (size_t i = begin; i < end; i++) {
        float g = gradient[i] * args->gradient_scale;
        float m = args->beta1 * moment1[i] + (1 - args->beta1) * g;
        float v = args->beta2 * moment2[i] + (1 - args->beta2) * g * g;
        moment1[i] = m;
        moment2[i] = v;
        parameter[i] = parameter[i] * decay - step * m / (sqrtf(v) * root + args->epsilon);
    }
}
