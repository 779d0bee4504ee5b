"""The chance of a false warning of drift, and how several workers share it."""

# Of a service, ever, with one guard.
RATE = 0.01


def share_of_rate(rate: float, workers: int, life: int) -> float:
    """What one of several workers may take of the chance of a false warning.

    Each worker tests the inputs that it judges, apart from the others. The shares of all workers,
    of ``life`` = 1, 2, ... and so on for those that replace one another, add up to ``rate``: so
    the chance that any of them ever warns falsely is at most ``rate``. The price: a worker must
    see as much drift as a service alone, and a little more for its smaller share.
    """
    return rate / (workers * life * (life + 1))
