"""Blocks of questions, their words, and the rules that are fixed before anybody listens.

No text names a system or an instrument, since all of it is sent to the browser; only the answers of block
``timbre`` and the first question of the dissertation's preset name instruments, because they ask for one.
Sources of the formats: ITU-T P.800 (five-point rating of quality), ITU-R BS.2132 (several versions on one
page without a reference); of single notes, the ratings and pairs of WaveGAN's and GANSynth's authors.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

RATING_MIN, RATING_MAX = 1, 5
SLIDER_MIN, SLIDER_MAX = 0, 100
NONE_OF_THESE = "none of these"
ORIGINAL, EXAMPLE, VERSION = "A", "E", "B"  # slots of a page; several versions are "1", "2", ...


@dataclass(frozen=True)
class Question:
    """Question of a page.

    ``kind``: rating (1..5), choice (one of ``options``), pair (which of two slots), slider (0..100 per
    slot).
    """

    key: str
    text: str
    kind: Literal["rating", "choice", "pair", "slider"]
    options: tuple[tuple[str, str], ...] = ()  # (value, words), best first for ratings


@dataclass(frozen=True)
class Block:
    """Run of pages with the same questions.

    ``controls``: what is rated besides the systems, with a known answer; ``answer_s``: seconds that an
    answer takes, for the estimate of the study's length.
    """

    name: str
    title: str
    intro: str
    questions: tuple[Question, ...]
    controls: tuple[str, ...]
    context: tuple[str, ...] = ()  # slots that are heard but not rated
    answer_s: float = 4.0
    labels: dict[str, str] = field(default_factory=dict)  # slot -> words on its button


def rating(key: str, text: str, *words: str) -> Question:
    """Rating whose ``words`` stand for 5 down to 1."""
    values = range(RATING_MAX, RATING_MIN - 1, -1)
    return Question(key, text, "rating", tuple((str(v), w) for v, w in zip(values, words, strict=True)))


CONTENT = Block(
    "content",
    "The same music?",
    "You hear two clips. Compare the music only: which notes are played, and when. Instrument and sound "
    "quality do not matter here.",
    (
        rating(
            "content",
            "Ignore the instrument. Are the notes and rhythm of A kept in B?",
            *("all of them", "most", "about half", "a few notes kept", "a different tune"),
        ),
    ),
    ("oracle", "copy", "unrelated"),
    (ORIGINAL,),
)
LIKENESS = Block(
    "likeness",
    "The same kind of instrument?",
    "Clip E is an example of an instrument playing other music. Compare the instruments only: the tune does "
    "not matter here.",
    (
        rating(
            "likeness",
            "Ignore the tune. Is B played on the same kind of instrument as E?",
            *("clearly yes", "probably yes", "cannot tell", "probably not", "clearly not"),
        ),
    ),
    ("oracle", "copy", "unrelated"),
    (EXAMPLE,),
    labels={EXAMPLE: "E, the example"},
)
QUALITY = Block(
    "quality",
    "Sound quality",
    "You hear one clip. Rate how well it sounds: noise, distortion, gaps and dull or metallic sound count, "
    "taste in music does not.",
    (rating("quality", "Rate the sound quality.", "excellent", "good", "fair", "poor", "bad"),),
    ("target", "anchor"),
)
PREFERENCE = Block(
    "preference",
    "Which version is better?",
    "Clip A is the original. Clip E shows the wanted instrument with other music. Two versions try to play A "
    "on the instrument of E. You must choose one, even when it is a close call.",
    (Question("preference", "Which is the better version of A on the instrument of E?", "pair"),),
    ("oracle",),
    (ORIGINAL, EXAMPLE),
    labels={ORIGINAL: "A, the original", EXAMPLE: "E, the example", "1": "version 1", "2": "version 2"},
)
NOTE_QUALITY = replace(QUALITY, intro=QUALITY.intro.replace("one clip", "one note"))
NOTE_PREFERENCE = Block(
    "preference",
    "Which is more like a recording?",
    "You hear two notes. Choose the one that sounds more like a recording of a real instrument, whatever the "
    "instrument is. You must choose one, even when it is a close call.",
    (Question("preference", "Which sounds more like a recorded note of a real instrument?", "pair"),),
    ("target",),
    labels={"1": "version 1", "2": "version 2"},
)
MULTI = Block(
    "multi",
    "Several versions",
    "Clip A is the original. Clip E shows the wanted instrument with other music. Several versions try to "
    "play A on the instrument of E. Give each a number; you may change them until you go on.",
    (
        Question(
            "multi",
            "How good is each version of A on the instrument of E? 0 very bad, 100 perfect.",
            "slider",
        ),
    ),
    ("oracle", "copy"),
    (ORIGINAL, EXAMPLE),
    answer_s=25.0,
    labels={ORIGINAL: "A, the original", EXAMPLE: "E, the example"},
)


def timbre(instruments: list[str]) -> Block:
    """Identification block with its list of instruments."""
    options = tuple((name, name.replace("_", " ")) for name in [*instruments, NONE_OF_THESE])
    return Block(
        "timbre",
        "Which instrument?",
        "You hear one clip. Name the instrument that you hear. When none in the list fits, choose the last.",
        (
            Question("instrument", "Which instrument do you hear?", "choice", options),
            Question("sure", "How sure are you?", "choice", (("sure", "sure"), ("not sure", "not sure"))),
        ),
        ("target", "copy"),
        answer_s=5.0,
    )


def dissertation(target: str) -> Block:
    """Questionnaire of Yoon's dissertation for pairs whose second clip should sound like ``target``.

    Two questions per pair on five points from "very different" to "very similar", eight pairs per direction,
    generated and real ones mixed. The wording follows its description, not its page.
    """
    words = ("very similar", "similar", "neither", "different", "very different")
    return Block(
        f"to_{target}",
        "How similar?",
        "You hear pairs of clips, A and B. Answer both questions on each pair.",
        (
            rating("style", f"How similar does sample B sound to a {target.replace('_', ' ')}?", *words),
            rating("similar", "How similar does sample B sound to sample A?", *words),
        ),
        ("target",),
        (ORIGINAL,),
        answer_s=7.0,
    )


# Means that the dissertation printed, (style, content) by direction; in what proportion its pairs were
# generated and real is not known.
PUBLISHED = {"piano_to_guitar": (2.72, 2.81), "guitar_to_piano": (3.37, 2.85)}

MUSICIAN = "Do you play an instrument or sing regularly, or did you for more than three years?"
ABOUT = (
    Question(
        "musician", MUSICIAN, "choice", (("yes", "yes"), ("no", "no"), ("no answer", "I prefer not to say"))
    ),
    Question(
        "device",
        "What do you listen with?",
        "choice",
        (
            ("headphones", "headphones or earphones"),
            ("loudspeakers", "loudspeakers"),
            ("built-in", "the speaker of this device"),
        ),
    ),
)
TONES = (("1", "the first"), ("2", "the second"), ("3", "the third"))
HEADPHONES = Question("quietest", "Which of the three tones was the quietest?", "choice", TONES)
HEADPHONE_TRIALS, HEADPHONE_PASS = 6, 5  # Woods et al. (2017): 5 of 6 right

# Fixed rules of exclusion; screening.py reads these numbers.
CONTROL_FAILURES = 2  # so many control pages answered against what is heard
REPEAT_DIFFERENCE = 2  # points; a larger mean difference between two answers to one page
EXCLUSION = (
    f"failed at least {CONTROL_FAILURES} control pages: other music rated 4 or 5 for kept notes, or the "
    "unchanged original rated 1 or 2; the unchanged original rated 4 or 5 for likeness to the example, or a "
    "real recording of the example's instrument rated 1 or 2; the low-pass, noisy anchor rated 5 for quality",
    f"answers to a page and to its repetition differ by more than {REPEAT_DIFFERENCE} points on average",
    "the median time of an answer is shorter than a clip",
    "all ratings, or all choices of preference, are the same (with five or more of them)",
    "nobody is left out for anything else; a result with any simulated answer in it is stamped as simulated",
)
