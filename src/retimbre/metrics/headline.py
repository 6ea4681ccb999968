"""The metrics of the headline table: what ``retimbre summary`` prints, and what ``retimbre compare`` corrects
for.

Content, the ordinary and the hard judge, and the distance to the true target stand beside each other: each
alone is fooled by something (copying the source, an equaliser, a collapsed generator, the right notes on
the wrong instrument).
"""

from typing import NamedTuple


class Headline(NamedTuple):
    """A column: the metric's name in the table, its title, and ``-`` (lower is better) or ``+``."""

    metric: str
    title: str
    sign: str


HEADLINE = (
    Headline("content_note_f1", "note F1", "+"),
    Headline("content_jaccard", "pitch Jaccard", "-"),
    Headline("style_target_rate", "target rate", "+"),
    Headline("style_beyond_eq", "beyond EQ", "+"),
    Headline("style_kad_clf", "KAD", "-"),
    Headline("feature_lsd", "feature LSD dB", "-"),
    Headline("skill", "skill", "+"),
    Headline("paired_lsd", "paired LSD dB", "-"),
    Headline("paired_mrstft", "MR-STFT", "-"),
    Headline("paired_timbre", "timbre", "-"),
    Headline("quality_proj_err_db", "projection dB", "-"),
)
FAILURES = (
    Headline("fail_muted", "muted", "-"),
    Headline("fail_unchanged", "unchanged", "-"),
    Headline("fail_level", "level off", "-"),
    Headline("fail_collapsed", "collapsed", "-"),
)
HEADLINE_METRICS = tuple(h.metric for h in HEADLINE)
