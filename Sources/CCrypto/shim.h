/* libcrypto's digests, as OpenSSL 3 declares them. */
#include <openssl/evp.h>
