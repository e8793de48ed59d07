"""Load weights of any origin into a network: read foreign files, map names, carry classes over."""
