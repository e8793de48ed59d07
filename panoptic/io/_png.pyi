import numpy as np
from numpy.typing import NDArray

def unfilter(rows: bytes | bytearray, height: int, width: int) -> NDArray[np.int32]: ...
