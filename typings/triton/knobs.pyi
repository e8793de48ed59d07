from contextlib import AbstractContextManager

class _Runtime:
    interpret: bool

class _Cache:
    dir: str
    def scope(self) -> AbstractContextManager[None]: ...

class _Tool:
    path: str

class _Nvidia:
    cuobjdump: _Tool

runtime: _Runtime
cache: _Cache
nvidia: _Nvidia
