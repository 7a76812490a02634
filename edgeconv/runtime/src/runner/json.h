/* Writes JSON, one value after the other; commas come by themselves. */
#ifndef EC_JSON_H
#define EC_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct json {
    FILE *file;
    bool first; /* nothing yet in the innermost object or array */
} json;

/* `key` is NULL inside arrays and for the outermost value; `bracket` is one of {[ and }]. */
void json_open(json *json, const char *key, char bracket);
void json_close(json *json, char bracket);

void json_string(json *json, const char *key, const char *text);
void json_integer(json *json, const char *key, uint64_t number);
void json_boolean(json *json, const char *key, bool value);

/* Not-a-number and infinity become the strings "nan", "inf" and "-inf". */
void json_number(json *json, const char *key, double number);

#endif
