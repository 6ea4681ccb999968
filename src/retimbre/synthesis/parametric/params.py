"""Params of the network-free baseline."""

from retimbre.section import Count, Section


class Params(Section):
    """``bands``: of the envelope, from 40 Hz up, equally wide in log frequency; ``frames`` of the decay."""

    bands: Count
    frames: Count
