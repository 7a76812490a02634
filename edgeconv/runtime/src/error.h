/* Error texts: each model's own, and one per thread for ec_open, which has no model to keep it. */
#ifndef EC_ERROR_H
#define EC_ERROR_H

#include "edgeconv.h"

enum { EC_ERROR_TEXT_BYTES = 2048 }; /* room for what a compiler of kernels says */

/* Writes the text (truncated where it is too long) and returns `status`. */
__attribute__((format(printf, 3, 4))) ec_status ec_fail(char *text, ec_status status,
                                                        const char *format, ...);

/* The calling thread's text of EC_ERROR_TEXT_BYTES. */
char *ec_thread_error(void);

#endif
