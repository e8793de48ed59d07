"""Looking into errors in the FiftyOne App: reads only the files that the `browse` stage has written.

FiftyOne is an extra (`make install EXTRAS=dev,browse`), so it is imported where it is used, after the environment that
keeps it quiet and on this machine is set.
"""
