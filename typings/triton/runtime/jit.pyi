import torch

class MockTensor:
    def __init__(self, dtype: torch.dtype) -> None: ...
