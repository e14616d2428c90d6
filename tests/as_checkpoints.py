"""Members of any collector as mergers of one run take them."""


def as_checkpoints(pool):
    """Return a pool whose members are numbered by their steps, as the checkpoints of one run are."""
    return pool.replace([m.replace(meta={**m.meta, "step": i}) for i, m in enumerate(pool)])
