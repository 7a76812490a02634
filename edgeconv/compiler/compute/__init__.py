"""What kernels compute, as tensor expressions."""
