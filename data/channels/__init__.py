"""Pictures as numbers: other channels than RGB, other depths than 8 bits, and arrays."""
