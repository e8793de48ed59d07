"""Finding what is wrong with an installation: `__main__` is the command.

Works where packages are missing or damaged: it imports the standard library alone, and whatever may fail, crash or hang
happens in another process with a time limit.
"""
