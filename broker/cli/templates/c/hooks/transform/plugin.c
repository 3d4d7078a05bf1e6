/* {{name}}: copies the header `tag` into the header that the setting `header` names, and refuses
 * records without it. */

#define WEIR_TRANSFORM
#include "weir/kit-c/weir.h"

static const char *header;

bool weir_configure(weir_config *config, weir_columns *columns) {
    /* Only the columns that are asked for here are copied into the plugin. What it passes on
     * unchanged it need not ask for. */
    weir_header(columns, "tag");
    weir_text name;
    if (!weir_require(config, "header", &name)) return false;
    /* The contract's texts are not terminated. */
    header = (const char *)WEIR_TEXTS(name, (weir_text){(const uint8_t *)"", 1}).bytes;
    return true;
}

bool weir_transform(const weir_record *record, weir_out *out) {
    weir_text tag;
    if (!weir_record_header(record, "tag", &tag)) {
        weir_out_reject(out, weir_of("it has no tag"));
        return true;
    }
    weir_out_push(out);
    weir_out_header(out, header, tag);
    return true;
}
