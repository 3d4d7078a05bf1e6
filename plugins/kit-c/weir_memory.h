/* Memory and the log, for WebAssembly and for native tests. Included by weir.h. */
#ifndef WEIR_MEMORY_H
#define WEIR_MEMORY_H

#ifdef __wasm__

enum { WEIR_PAGE = 65536 };
extern uint8_t __heap_base;
static uintptr_t weir_top; /* where the next piece begins */
static uintptr_t weir_kept; /* what weir_configure took lies below this, and stays */
static bool weir_answered; /* the call is over: the next one may take its memory again */

__attribute__((import_module("weir:plugin/host@1.0.0"), import_name("log"))) void
weir_host_log(uint32_t level, const uint8_t *bytes, size_t length);

void weir_log(uint32_t level, weir_text message) {
    weir_host_log(level, message.bytes, message.length);
}

_Noreturn void weir_trap(const char *why) {
    weir_log(WEIR_ERROR, weir_of(why));
    __builtin_trap();
}

/* Nothing is freed: a call takes what it needs from the top, and the next one begins again. What
 * the host passes is taken before the call, what it is answered is read before the next one. */
static void *weir_take(size_t size, size_t align) {
    if (weir_top == 0) weir_top = weir_kept = (uintptr_t)&__heap_base;
    if (weir_answered) {
        weir_answered = false;
        weir_top = weir_kept;
    }
    uintptr_t start = (weir_top + align - 1) & ~(uintptr_t)(align - 1);
    uintptr_t end = start + size;
    uintptr_t have = (uintptr_t)__builtin_wasm_memory_size(0) * WEIR_PAGE;
    if (end < start) __builtin_trap();
    if (end > have) {
        size_t pages = (end - have + WEIR_PAGE - 1) / WEIR_PAGE;
        if (__builtin_wasm_memory_grow(0, pages) == (size_t)-1) {
            weir_trap("out of memory: raise the binding's --memory");
        }
    }
    weir_top = end;
    return (void *)start;
}

void *weir_alloc(size_t size) { return weir_take(size, 16); }

/* What the host takes memory with. */
__attribute__((export_name("cabi_realloc"))) void *weir_realloc(void *old, size_t old_size,
                                                               size_t align, size_t size) {
    uint8_t *new = weir_take(size, align);
    for (size_t at = 0; at < old_size && at < size; at++) new[at] = ((uint8_t *)old)[at];
    return new;
}

static void weir_keep_all(void) { weir_kept = weir_top; }
static void weir_call_ends(void) { weir_answered = true; }

/* The compiler makes calls of these out of loops and assignments. */
void *memcpy(void *to, const void *from, size_t size) { return __builtin_memcpy(to, from, size); }
void *memset(void *to, int byte, size_t size) { return __builtin_memset(to, byte, size); }

#else

#include <stdio.h>
#include <stdlib.h>

/* A test is short: what it takes stays until it ends. */
void *weir_alloc(size_t size) {
    void *piece = calloc(1, size);
    if (piece == NULL) abort();
    return piece;
}

void weir_log(uint32_t level, weir_text message) {
    fprintf(stderr, "log %u: %.*s\n", level, (int)message.length, (const char *)message.bytes);
}

_Noreturn void weir_trap(const char *why) {
    fprintf(stderr, "trap: %s\n", why);
    abort();
}

#endif
#endif
