/* zlib, as its own header declares it. */
#include <zlib.h>
