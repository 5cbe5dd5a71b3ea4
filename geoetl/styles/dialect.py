"""The friendly dialect."""


def normalised(d):
    return d, ()
