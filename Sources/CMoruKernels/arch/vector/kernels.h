// Every vector kernel but the products with quantised weights.
#include "vector.h"
#include "transpose.h"
#include "activation.h"
#include "elementwise.h"
#include "gated.h"
#include "recurrent.h"
#include "reduce.h"
#include "norm.h"
#include "residual_norm.h"
#include "biased.h"
#include "softmax.h"
#include "rope.h"
#include "optimizer.h"
#include "dequantize.h"
#define ATTENTION_NAME(f) MORU_NAME(f)
#define ATTENTION_BF16 0
#include "attention.h"
#include "attention_backward.h"
