def doubts(d):
    return ()
