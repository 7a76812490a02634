#include "error.h"

#include <stdarg.h>
#include <stdio.h>

static _Thread_local char thread_error[EC_ERROR_TEXT_BYTES];

char *ec_thread_error(void)
{
    return thread_error;
}

ec_status ec_fail(char *text, ec_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, EC_ERROR_TEXT_BYTES, format, arguments);
    va_end(arguments);
    return status;
}

const char *ec_status_text(ec_status status)
{
    switch (status) {
    case EC_OK:
        return "success";
    case EC_ERROR_ARGUMENT:
        return "wrong argument";
    case EC_ERROR_VERSION:
        return "program of another version";
    case EC_ERROR_FILE:
        return "weights file cannot be read";
    case EC_ERROR_WEIGHTS:
        return "weights file does not fit";
    case EC_ERROR_MEMORY:
        return "not enough memory";
    case EC_ERROR_THREADS:
        return "worker thread cannot be started";
    case EC_ERROR_STEP:
        return "a step failed";
    case EC_ERROR_BUSY:
        return "model is running on another thread";
    case EC_ERROR_DEVICE:
        return "GPU cannot be used";
    }
    return "unknown status";
}
