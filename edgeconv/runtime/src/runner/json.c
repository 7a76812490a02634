#include "json.h"

#include <inttypes.h>
#include <math.h>

static void write_text(FILE *file, const char *text)
{
    fputc('"', file);
    for (; *text; ++text) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(file, "\\%c", c);
        else if (c < 0x20)
            fprintf(file, "\\u%04x", (unsigned)c);
        else
            fputc(c, file);
    }
    fputc('"', file);
}

static void begin(json *json, const char *key)
{
    if (!json->first)
        fputs(", ", json->file);
    json->first = false;
    if (key) {
        write_text(json->file, key);
        fputs(": ", json->file);
    }
}

void json_open(json *json, const char *key, char bracket)
{
    begin(json, key);
    fputc(bracket, json->file);
    json->first = true;
}

void json_close(json *json, char bracket)
{
    fputc(bracket, json->file);
    json->first = false;
}

void json_string(json *json, const char *key, const char *text)
{
    begin(json, key);
    write_text(json->file, text);
}

void json_integer(json *json, const char *key, uint64_t number)
{
    begin(json, key);
    fprintf(json->file, "%" PRIu64, number);
}

void json_boolean(json *json, const char *key, bool value)
{
    begin(json, key);
    fputs(value ? "true" : "false", json->file);
}

void json_number(json *json, const char *key, double number)
{
    if (isnan(number)) {
        json_string(json, key, "nan");
    } else if (isinf(number)) {
        json_string(json, key, number > 0 ? "inf" : "-inf");
    } else {
        begin(json, key);
        fprintf(json->file, "%.9g", number);
    }
}
