"""A GPU's kernels beside those of TVM's default schedules for GPUs, on this machine's driver."""
