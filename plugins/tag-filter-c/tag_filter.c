/* RocketMQ's tag expression on the header `tag`, as `tag-filter` in Rust: config `tags=UA || DL`;
 * `*` is every record, with a tag or without. */

#define WEIR_FILTER
#include "../kit-c/weir.h"

static weir_text *tags;
static size_t tag_count;
static bool all;

/* How many bytes of a space, as Unicode has it, stand at the beginning of a UTF-8 text. */
static size_t space_at(const uint8_t *at, size_t left) {
    if (left >= 1 && (at[0] == ' ' || (at[0] >= '\t' && at[0] <= '\r'))) return 1;
    if (left >= 2 && at[0] == 0xc2 && (at[1] == 0x85 || at[1] == 0xa0)) return 2;
    if (left < 3) return 0;
    uint32_t three = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];
    bool is_space = three == 0xe19a80 || (three >= 0xe28080 && three <= 0xe2808a) ||
                    three == 0xe280a8 || three == 0xe280a9 || three == 0xe280af ||
                    three == 0xe2819f || three == 0xe38080;
    return is_space ? 3 : 0;
}

static weir_text trimmed(weir_text text) {
    size_t space;
    while ((space = space_at(text.bytes, text.length)) > 0) {
        text.bytes += space;
        text.length -= space;
    }
    for (size_t size = 1; size <= 3; size++) {
        if (text.length >= size && space_at(text.bytes + text.length - size, size) == size) {
            text.length -= size;
            size = 0; /* and again */
        }
    }
    return text;
}

/* The text up to `||`, trimmed; `rest` is what follows, with NULL bytes if nothing does. */
static weir_text next_tag(weir_text *rest) {
    weir_text text = *rest;
    for (size_t at = 0; at + 1 < text.length; at++) {
        if (text.bytes[at] == '|' && text.bytes[at + 1] == '|') {
            *rest = (weir_text){text.bytes + at + 2, text.length - at - 2};
            return trimmed((weir_text){text.bytes, at});
        }
    }
    rest->bytes = NULL;
    return trimmed(text);
}

bool weir_configure(weir_config *config, weir_columns *columns) {
    weir_text expression;
    if (!weir_require(config, "tags", &expression)) return false;
    /* At most as many as there are bytes, and one. */
    tags = weir_alloc((expression.length + 1) * sizeof *tags);
    tag_count = 0;
    all = false;
    bool has_empty = false;
    for (weir_text rest = expression; rest.bytes != NULL;) {
        weir_text tag = next_tag(&rest);
        has_empty |= tag.length == 0;
        all |= weir_equal(tag, weir_of("*"));
        tags[tag_count++] = tag;
    }
    if (has_empty || tag_count == 0) {
        return weir_fail_text(
            WEIR_TEXTS(weir_of("setting `tags="), expression,
                       weir_of("` has an empty tag: write tags=A || B, or tags=* for all")));
    }
    if (!all) weir_header(columns, "tag");
    return true;
}

bool weir_keep(const weir_record *record, bool *keep) {
    weir_text tag;
    *keep = all;
    if (all || !weir_record_header(record, "tag", &tag)) return true;
    for (size_t at = 0; at < tag_count && !*keep; at++) *keep = weir_equal(tags[at], tag);
    return true;
}
