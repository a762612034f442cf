"""Floor 2: what touches torch directly: devices, dtypes, variables, memory layout, random streams, kernels."""
