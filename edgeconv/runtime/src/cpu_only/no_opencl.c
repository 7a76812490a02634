/* In the place of the OpenCL backend, in programs of CPU targets. */
#include "../model.h"

ec_status ec_opencl_open(ec_model *model, const char *path, char *error)
{
    (void)path;
    return ec_fail(error, EC_ERROR_VERSION,
                   "\"%s\" has steps in OpenCL, which this runtime was built without; where an "
                   "app links several libmodel.a, put that of a GPU's model first",
                   model->program->model);
}

void ec_opencl_close(ec_opencl *opencl)
{
    (void)opencl;
}

ec_status ec_opencl_run(ec_model *model)
{
    return ec_fail(model->error, EC_ERROR_VERSION, "this runtime was built without OpenCL");
}

const char *ec_opencl_device(const ec_opencl *opencl)
{
    (void)opencl;
    return "";
}
