#include <oniguruma.h>

/// Compiles a pattern in the library's own syntax, for UTF-8, as the `onig` crate's `Regex::new` does.
/// Swift does not see the addresses of the library's global tables, nor its variadic functions.
static inline int ak_onig_new(OnigRegex *regex, const OnigUChar *pattern, const OnigUChar *end) {
  OnigErrorInfo info;
  return onig_new(regex, pattern, end, ONIG_OPTION_NONE, ONIG_ENCODING_UTF8, ONIG_SYNTAX_ONIGURUMA, &info);
}

/// Prepares the library; groups may nest `depth` deep.
static inline void ak_onig_prepare(unsigned depth) {
  OnigEncoding encodings[] = {ONIG_ENCODING_UTF8};
  onig_initialize(encodings, 1);
  onig_set_parse_depth_limit(depth);
}

/// What an error code means; returns the number of bytes written to `text`, which has room for
/// ONIG_MAX_ERROR_MESSAGE_LEN.
static inline int ak_onig_message(OnigUChar *text, int code) {
  OnigErrorInfo none = {0};
  return onig_error_code_to_str(text, code, &none);
}
