"""Films through generators: steady results, segments that resume, and how much a film flickers."""
