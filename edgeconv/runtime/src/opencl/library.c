/* Finding the vendor's library. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"

#if defined(__ANDROID__)
#if defined(__LP64__)
#define LIB "lib64"
#else
#define LIB "lib"
#endif
/* On some phones the driver is part of the one for graphics. */
static const char *const usual_paths[] = {
    "libOpenCL.so", /* where the app's manifest asks for it, or the shell runs the program */
    "/vendor/" LIB "/libOpenCL.so",
    "/system/vendor/" LIB "/libOpenCL.so",
    "/system/" LIB "/libOpenCL.so",
    "/vendor/" LIB "/egl/libGLES_mali.so",
    "/system/vendor/" LIB "/egl/libGLES_mali.so",
    "/vendor/" LIB "/libPVROCL.so",
};
#else
/* The loader of all installed drivers, then the one library of boards with a Mali. */
static const char *const usual_paths[] = {
    "libOpenCL.so.1", "libOpenCL.so", "libmali.so.1", "libmali.so",
};
#endif

static const struct {
    const char *name;
    size_t offset; /* of the pointer in ec_cl */
} functions[] = {
#define EC_CL_ROW(result, name, arguments) {"cl" #name, offsetof(ec_cl, name)},
    EC_CL_FUNCTIONS(EC_CL_ROW)
#undef EC_CL_ROW
};

/* RTLD_NODELETE: drivers leave threads and handlers behind that must outlive dlclose. */
static void *load(const char *path)
{
    return dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}

static ec_status load_any(ec_cl *cl, char *error)
{
    const char *wanted = getenv("EDGECONV_OPENCL");
    if (wanted && *wanted) {
        cl->path = wanted;
        cl->library = load(wanted);
        if (cl->library)
            return EC_OK;
        return ec_fail(error, EC_ERROR_DEVICE, "EDGECONV_OPENCL names no library: %s", dlerror());
    }
    for (size_t i = 0; i < sizeof usual_paths / sizeof *usual_paths; ++i) {
        cl->path = usual_paths[i];
        cl->library = load(cl->path);
        if (cl->library)
            return EC_OK;
    }
    return ec_fail(error, EC_ERROR_DEVICE,
                   "there is no OpenCL library on this machine (%s and other usual names); install "
                   "the driver of its GPU, or set EDGECONV_OPENCL to the library's path",
                   usual_paths[0]);
}

ec_status ec_cl_load(ec_cl *cl, char *error)
{
    ec_status status = load_any(cl, error);
    if (status != EC_OK)
        return status;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; ++i) {
        void *function = dlsym(cl->library, functions[i].name);
        if (!function) {
            ec_fail(error, EC_ERROR_DEVICE,
                    "%s lacks %s, so it is no library of OpenCL 1.2; set EDGECONV_OPENCL to one",
                    cl->path, functions[i].name);
            ec_cl_unload(cl);
            return EC_ERROR_DEVICE;
        }
        /* ISO C has no conversion between pointers to objects and to functions; POSIX has. */
        memcpy((char *)cl + functions[i].offset, &function, sizeof function);
    }
    return EC_OK;
}

void ec_cl_unload(ec_cl *cl)
{
    if (cl->library)
        dlclose(cl->library);
    cl->library = NULL;
}
