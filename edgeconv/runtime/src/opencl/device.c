/* Choosing a device among those of all drivers. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"

enum { MAX_PLATFORMS = 16, MAX_DEVICES = 16, NAME_BYTES = 256 };

/* A device, on the way through all of them. */
typedef struct candidate {
    cl_platform_id platform;
    cl_device_id id;
    cl_uint platform_index, device_index;
    char name[2 * NAME_BYTES + 2]; /* "PLATFORM: DEVICE" */
} candidate;

/* What the user wants of EDGECONV_OPENCL_DEVICE, and what there is. */
typedef struct search {
    const char *wanted; /* or NULL */
    candidate best;     /* `id` is NULL while there is none */
    bool best_is_gpu;
    char list[EC_CL_TEXT_BYTES]; /* of all devices, for the message */
} search;

/* Reads a text of NAME_BYTES; where the driver gives none, it is "?" and the result false. */
static bool platform_text(ec_cl *cl, cl_platform_id platform, cl_enum what, char *text)
{
    bool known = cl->GetPlatformInfo(platform, what, NAME_BYTES, text, NULL) == CL_SUCCESS;
    if (!known)
        strcpy(text, "?");
    return known;
}

static bool device_text(ec_cl *cl, cl_device_id device, cl_enum what, char *text)
{
    bool known = cl->GetDeviceInfo(device, what, NAME_BYTES, text, NULL) == CL_SUCCESS;
    if (!known)
        strcpy(text, "?");
    return known;
}

/* Reads an unsigned number of `bytes` bytes. */
static cl_int device_number(ec_cl *cl, cl_device_id device, cl_enum what, size_t bytes,
                            uint64_t *number)
{
    *number = 0; /* all targets are little-endian */
    return cl->GetDeviceInfo(device, what, bytes, number, NULL);
}

/* `wanted` is "PLATFORM:DEVICE", two indices, or a part of the names, in any case. */
static bool fits(const candidate *device, const char *wanted)
{
    unsigned platform, index;
    int end = 0;
    if (sscanf(wanted, "%u:%u%n", &platform, &index, &end) == 2 && !wanted[end])
        return device->platform_index == platform && device->device_index == index;
    return strcasestr(device->name, wanted) != NULL;
}

static void consider(ec_cl *cl, search *search, const candidate *device)
{
    size_t used = strlen(search->list);
    snprintf(search->list + used, sizeof search->list - used, "%s%u:%u %s", used ? ", " : "",
             (unsigned)device->platform_index, (unsigned)device->device_index, device->name);
    if (search->wanted && !fits(device, search->wanted))
        return;
    uint64_t type;
    cl_int code = device_number(cl, device->id, CL_DEVICE_TYPE, sizeof(cl_bitfield), &type);
    bool gpu = code == CL_SUCCESS && type & CL_DEVICE_TYPE_GPU;
    if (search->best.id && !(gpu && !search->best_is_gpu))
        return;
    search->best = *device;
    search->best_is_gpu = gpu;
}

static cl_int consider_platform(ec_cl *cl, search *search, cl_platform_id platform, cl_uint index)
{
    cl_device_id devices[MAX_DEVICES];
    cl_uint count = 0;
    cl_int code = cl->GetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, MAX_DEVICES, devices, &count);
    if (code != CL_SUCCESS)
        return code;
    char platform_name[NAME_BYTES], device_name[NAME_BYTES];
    platform_text(cl, platform, CL_PLATFORM_NAME, platform_name);
    for (cl_uint i = 0; i < count && i < MAX_DEVICES; ++i) {
        candidate device = {platform, devices[i], index, i, ""};
        device_text(cl, devices[i], CL_DEVICE_NAME, device_name);
        snprintf(device.name, sizeof device.name, "%s: %s", platform_name, device_name);
        consider(cl, search, &device);
    }
    return CL_SUCCESS;
}

static ec_status search_all(ec_cl *cl, search *search, char *error)
{
    cl_platform_id platforms[MAX_PLATFORMS];
    cl_uint count = 0;
    cl_int code = cl->GetPlatformIDs(MAX_PLATFORMS, platforms, &count);
    if (code != CL_SUCCESS)
        count = 0;
    for (cl_uint i = 0; i < count && i < MAX_PLATFORMS; ++i)
        code = consider_platform(cl, search, platforms[i], i);
    if (search->best.id)
        return EC_OK;
    if (search->list[0])
        return ec_fail(error, EC_ERROR_DEVICE,
                       "no OpenCL device fits EDGECONV_OPENCL_DEVICE=%s; there are: %s",
                       search->wanted, search->list);
    return ec_fail(error, EC_ERROR_DEVICE,
                   "%s has no OpenCL device (%s); install the driver of this machine's GPU, or set "
                   "EDGECONV_OPENCL to the path of its library",
                   cl->path, code == CL_SUCCESS ? "no driver shows one" : ec_cl_error_name(code));
}

static void describe(ec_cl *cl, ec_cl_device *device, const candidate *chosen)
{
    char platform[NAME_BYTES], version[NAME_BYTES], name[NAME_BYTES], driver[NAME_BYTES];
    char device_version[NAME_BYTES];
    bool known = platform_text(cl, chosen->platform, CL_PLATFORM_NAME, platform);
    known &= platform_text(cl, chosen->platform, CL_PLATFORM_VERSION, version);
    known &= device_text(cl, chosen->id, CL_DEVICE_NAME, name);
    known &= device_text(cl, chosen->id, CL_DEVICE_VERSION, device_version);
    known &= device_text(cl, chosen->id, CL_DRIVER_VERSION, driver);
    snprintf(device->text, sizeof device->text, "%s (%s, driver %s)", name, platform, driver);
    if (!known)
        return;
    /* A driver is not the same for programs of 32 and of 64 bits. */
    snprintf(device->identity, sizeof device->identity, "%s\n%s\n%s\n%s\n%s\n%zu", platform,
             version, name, device_version, driver, 8 * sizeof(void *));
}

/* OpenCL 2.0 deprecates the query; where a driver has no answer, all is copied. */
static bool shares_memory(ec_cl *cl, cl_device_id id)
{
    uint64_t shares;
    return device_number(cl, id, CL_DEVICE_HOST_UNIFIED_MEMORY, sizeof(cl_bool), &shares)
               == CL_SUCCESS
           && shares;
}

/* Images are optional. */
static cl_int read_image_limit(ec_cl *cl, ec_cl_device *device)
{
    uint64_t support;
    device->image_texels = 0;
    cl_int code =
        device_number(cl, device->id, CL_DEVICE_IMAGE_SUPPORT, sizeof(cl_bool), &support);
    if (code == CL_SUCCESS && support)
        code = device_number(cl, device->id, CL_DEVICE_IMAGE_MAX_BUFFER_SIZE, sizeof(size_t),
                             &device->image_texels);
    return code;
}

static cl_int read_limits(ec_cl *cl, ec_cl_device *device)
{
    cl_device_id id = device->id;
    uint64_t bits = 0;
    cl_int code =
        device_number(cl, id, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof(cl_ulong), &device->memory);
    if (code == CL_SUCCESS)
        code = device_number(cl, id, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof(cl_ulong),
                             &device->largest_block);
    if (code == CL_SUCCESS)
        code = device_number(cl, id, CL_DEVICE_MEM_BASE_ADDR_ALIGN, sizeof(cl_uint), &bits);
    device->alignment = bits < 8 ? 1 : bits / 8;
    return code == CL_SUCCESS ? read_image_limit(cl, device) : code;
}

ec_status ec_cl_find_device(ec_cl *cl, ec_cl_device *device, char *error)
{
    const char *wanted = getenv("EDGECONV_OPENCL_DEVICE");
    search search = {.wanted = wanted && *wanted ? wanted : NULL};
    ec_status status = search_all(cl, &search, error);
    if (status != EC_OK)
        return status;
    device->id = search.best.id;
    device->unified = shares_memory(cl, device->id);
    describe(cl, device, &search.best);
    cl_int code = read_limits(cl, device);
    return code == CL_SUCCESS ? EC_OK
                              : ec_cl_fail(error, EC_ERROR_DEVICE, code,
                                           "%s does not tell its limits", device->text);
}

/* Whether `name` is one of the words of `list`. */
static bool lists(const char *list, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = strstr(list, name); at; at = strstr(at + length, name))
        if ((at == list || at[-1] == ' ') && (!at[length] || at[length] == ' '))
            return true;
    return false;
}

ec_status ec_cl_check_extensions(ec_cl *cl, const ec_cl_device *device, const ec_program *program,
                                 char *error)
{
    if (!program->half_arithmetic)
        return EC_OK;
    size_t bytes = 0;
    cl_int code = cl->GetDeviceInfo(device->id, CL_DEVICE_EXTENSIONS, 0, NULL, &bytes);
    char *list = calloc(bytes + 1, 1);
    if (!list)
        return ec_fail(error, EC_ERROR_MEMORY, "no memory for a device");
    if (code == CL_SUCCESS)
        code = cl->GetDeviceInfo(device->id, CL_DEVICE_EXTENSIONS, bytes, list, NULL);
    bool has = code == CL_SUCCESS && lists(list, "cl_khr_fp16");
    free(list);
    if (code != CL_SUCCESS)
        return ec_cl_fail(error, EC_ERROR_DEVICE, code, "%s does not tell its extensions",
                          device->text);
    return has ? EC_OK
               : ec_fail(error, EC_ERROR_DEVICE,
                         "%s lacks cl_khr_fp16, arithmetic in half precision, for which the model "
                         "was compiled; compile it without --half-arithmetic",
                         device->text);
}
