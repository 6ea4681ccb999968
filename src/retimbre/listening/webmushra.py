"""The same pages as a configuration of webMUSHRA, for labs that run it.

webMUSHRA itself is not carried: its licence is a special one. Its configuration is read by the browser and
names the clips of a page as ``C1``, ``C2`` ...; ours are opaque tokens in shuffled order, so it tells
nothing. Page types used: ``mushra`` (several versions against the original), ``paired_comparison``
(preference) and ``likert_single_stimulus`` (ratings of one clip). Screen MUSHRA answers by the rule of
BS.1534 (drop listeners who rate the hidden reference under 90 on more than 15 % of items).
"""

import random
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from retimbre.listening.study import Study

LIKERT_BLOCKS = ("quality", "timbre")


def _clip(token: str) -> str:
    return f"audio/{token}.wav"


def _page(kind: str, code: str, name: str, text: str, stimuli: list[str], **rest: Any) -> dict[str, Any]:
    named = {f"C{n}": _clip(token) for n, token in enumerate(stimuli, 1)}
    return {"type": kind, "id": code, "name": name, "content": text, "stimuli": named, **rest}


def configuration(study: "Study", served: dict[str, Any]) -> str:
    """YAML for webMUSHRA. ``served`` is what the browser gets (bundle.served): tokens only.

    The mushra pages use every version of an item that any page plays against the same original.
    """
    blocks = served["blocks"]
    sections: dict[str, list[dict[str, Any]]] = {}
    versions: dict[str, set[str]] = {}
    pairs: set[frozenset[str]] = set()
    for name, page in served["pages"].items():
        block, clips = page["block"], dict(page["clips"])
        asked = blocks[block]["questions"][0]
        if block in LIKERT_BLOCKS:
            response = [{"value": value, "label": words} for value, words in asked["options"]]
            rules = {"mustRate": True, "mustPlayback": True, "response": response}
            words = (f"{block}_{name}", asked["text"], asked["text"])
            page = _page("likert_single_stimulus", *words, [clips["B"]], **rules)
            sections.setdefault(block, []).append(page)
        # webMUSHRA's pages of pairs need a reference, which notes from noise do not have.
        if (
            block == "preference"
            and "A" in clips
            and (pair := frozenset((clips["1"], clips["2"]))) not in pairs
        ):
            pairs.add(pair)
            rules = {"unforced": None, "showWaveform": False, "enableLooping": False}
            rules["reference"] = _clip(clips["A"])
            text = f"{blocks[block]['intro']} {asked['text']}"
            stimuli = [clips["1"], clips["2"]]
            sections.setdefault(block, []).append(
                _page("paired_comparison", f"{block}_{name}", blocks[block]["title"], text, stimuli, **rules)
            )
        if "A" in clips:
            versions.setdefault(clips["A"], set()).update(c for slot, c in clips.items() if slot not in "AE")
    text = "Compare each version with the reference. Are notes and rhythm kept? Ignore the instrument."
    rules = {"showWaveform": False, "enableLooping": True, "switchBack": True}
    rules |= {"createAnchor35": False, "createAnchor70": False}
    rng = random.Random(f"{study.params['seed']} webmushra")
    for n, (reference, found) in enumerate(sorted(versions.items()), 1):
        stimuli = rng.sample(sorted(found), len(found))
        words = (f"versions_{n:02d}", "Several versions", text)
        page = _page("mushra", *words, stimuli, reference=_clip(reference), **rules)
        sections.setdefault("versions", []).append(page)
    welcome = "You will hear short clips of music. You may stop at any time."
    level = {"type": "volume", "id": "level", "name": "Level", "stimulus": _clip(served["level"])}
    level |= {"content": "Set a comfortable level and leave it there.", "defaultVolume": 0.5}
    finish = {"type": "finish", "name": "Thank you", "content": "Thank you for listening."}
    pages = [
        {"type": "generic", "id": "welcome", "name": "Welcome", "content": welcome},
        level,
        *(["random", *section] for section in sections.values()),
        finish | {"showResults": False, "writeResults": True},
    ]
    whole = {
        "testname": study.name,
        "testId": f"{study.name}_{study.hash}",
        "bufferSize": 2048,
        "stopOnErrors": True,
        "showButtonPreviousPage": False,
        "remoteService": "service/write.php",
        "pages": pages,
    }
    return yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=120)
