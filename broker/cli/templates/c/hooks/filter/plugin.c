/* {{name}}: keeps the records whose header `tag` is the setting `tag`. */

#define WEIR_FILTER
#include "weir/kit-c/weir.h"

static weir_text tag;

bool weir_configure(weir_config *config, weir_columns *columns) {
    /* Only the columns that are asked for here are copied into the plugin. */
    weir_header(columns, "tag");
    return weir_require(config, "tag", &tag);
}

bool weir_keep(const weir_record *record, bool *keep) {
    weir_text found;
    *keep = weir_record_header(record, "tag", &found) && weir_equal(found, tag);
    return true;
}
