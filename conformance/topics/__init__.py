"""The cases, one module for each topic; `conformance.generate` writes them to cases/."""
