// Which keys a query sees.
#ifndef MORU_ATTENTION_VISIBLE_H
#define MORU_ATTENTION_VISIBLE_H

// The visible keys of position p are [first_visible, p] (or to the end when not causal).
INLINE size_t first_visible(const moru_attention *args, size_t position) {
    if (args->window == 0 || position + 1 <= args->window) return args->key_begin;
    return moru_max_size(args->key_begin, position + 1 - args->window);
}

INLINE size_t end_visible(const moru_attention *args, size_t position) {
    return args->causal ? moru_min_size(args->kv_count, position + 1) : args->kv_count;
}

#endif
