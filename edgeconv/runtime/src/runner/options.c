/* The runner's command line. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner.h"

const char runner_usage[] =
    "usage: runner [DIR] [--threads N] [--warmup N] [--repeat N] [--input I=FILE]...\n"
    "              [--output I=FILE]... [--profile] [--self-test] [--dump-steps OUTDIR]\n"
    "              [--describe] [--pin]\n"
    "\n"
    "DIR is the folder of the artifact (default: the runner's own). FILE is a raw tensor,\n"
    "little-endian and row-major. Without --input, inputs are golden case 0.\n"
    "One JSON object goes to stdout. Exit codes: 0 success, 2 usage, 3 cannot load,\n"
    "4 a step failed, 5 the self-test failed.\n";

/* Returns false, so that a caller can return it. */
static bool complain(const char *option, const char *message)
{
    fprintf(stderr, "runner: %s %s (see --help)\n", option, message);
    return false;
}

/* Reads a number that ends with `end`; returns what follows it, or NULL. */
static const char *parse_number(const char *text, char end, uint32_t *number)
{
    char *rest;
    errno = 0;
    unsigned long value = strtoul(text, &rest, 10);
    if (*text < '0' || *text > '9' || *rest != end || errno || value > UINT32_MAX / 2)
        return NULL;
    *number = (uint32_t)value;
    return rest + 1;
}

static bool parse_count(const char *option, const char *text, uint32_t least, uint32_t *number)
{
    if (parse_number(text, '\0', number) && *number >= least)
        return true;
    return complain(option, least ? "needs a number of at least 1" : "needs a number");
}

static bool parse_file(const char *option, const char *text, uint32_t count, const char **files)
{
    uint32_t index;
    const char *file = parse_number(text, '=', &index);
    if (!file || !*file)
        return complain(option, "needs INDEX=FILE");
    if (index >= count) {
        fprintf(stderr, "runner: %s %u: the model has %u of them\n", option, (unsigned)index,
                (unsigned)count);
        return false;
    }
    files[index] = file;
    return true;
}

static bool parse_flag(runner_options *options, const char *name)
{
    struct {
        const char *name;
        bool *flag;
    } flags[] = {
        {"--profile", &options->profile}, {"--self-test", &options->self_test},
        {"--describe", &options->describe}, {"--pin", &options->pin}, {"--help", &options->help},
    };
    for (size_t i = 0; i < sizeof flags / sizeof *flags; ++i)
        if (strcmp(name, flags[i].name) == 0)
            return *flags[i].flag = true;
    return false;
}

static bool parse_valued(runner_options *options, const ec_program *program, const char *name,
                         const char *value)
{
    if (strcmp(name, "--threads") == 0)
        return parse_count(name, value, 1, &options->threads);
    if (strcmp(name, "--warmup") == 0)
        return parse_count(name, value, 0, &options->warmup);
    if (strcmp(name, "--repeat") == 0)
        return parse_count(name, value, 1, &options->repeat);
    if (strcmp(name, "--input") == 0)
        return parse_file(name, value, program->input_count, options->inputs);
    if (strcmp(name, "--output") == 0)
        return parse_file(name, value, program->output_count, options->outputs);
    options->dump_folder = value;
    return true;
}

static bool takes_value(const char *name)
{
    static const char *const names[] = {"--threads", "--warmup", "--repeat",
                                        "--input",   "--output", "--dump-steps"};
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* Inputs come from files or from golden case 0, never mixed: a forgotten one would go unseen. */
static bool check_inputs(const runner_options *options, const ec_program *program)
{
    uint32_t given = 0;
    for (uint32_t i = 0; i < program->input_count; ++i)
        given += options->inputs[i] != NULL;
    if (given == 0 || given == program->input_count)
        return true;
    fprintf(stderr, "runner: --input is given for %u of %u inputs; give all or none\n",
            (unsigned)given, (unsigned)program->input_count);
    return false;
}

int runner_parse(runner_options *options, const ec_program *program, int argc, char **argv)
{
    uint32_t unset = UINT32_MAX;
    options->threads = 1;
    options->repeat = unset;
    for (int i = 1; i < argc; ++i) {
        const char *name = argv[i];
        if (name[0] != '-') {
            if (options->folder && !complain(name, "is a second folder"))
                return RUN_USAGE;
            options->folder = name;
        } else if (takes_value(name)) {
            if (i + 1 == argc && !complain(name, "needs a value"))
                return RUN_USAGE;
            if (!parse_valued(options, program, name, argv[++i]))
                return RUN_USAGE;
        } else if (!parse_flag(options, name)) {
            complain(name, "is not an option");
            return RUN_USAGE;
        }
    }
    if (options->repeat == unset)
        options->repeat = options->self_test ? 0 : 1;
    return check_inputs(options, program) ? RUN_OK : RUN_USAGE;
}
