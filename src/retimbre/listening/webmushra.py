"""The same pages as a configuration of webMUSHRA, for labs that run it.

webMUSHRA itself is not carried: its licence is a special one. Its configuration is read by the browser and names the clips of a
page as ``C1``, ``C2`` ...; ours are opaque tokens in shuffled order, so it tells nothing. Page types used: ``mushra`` (several
versions against the original), ``paired_comparison`` (preference) and ``likert_single_stimulus`` (ratings of one clip).
Screen MUSHRA answers by the rule of BS.1534 (drop listeners who rate the hidden reference under 90 on more than 15 % of items).
"""

import random
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from retimbre.listening.study import Study

LIKERT_BLOCKS = ("quality", "timbre")


def _likert(block: str, name: str, page: dict[str, Any], question: dict[str, Any]) -> dict[str, Any]:
    response = [{"value": value, "label": words} for value, words in question["options"]]
    clips = dict(page["clips"])
    return {
        "type": "likert_single_stimulus",
        "id": f"{block}_{name}",
        "name": question["text"],
        "mustRate": True,
        "content": question["text"],
        "mustPlayback": True,
        "stimuli": {"C1": f"audio/{clips['B']}.wav"},
        "response": response,
    }


def _paired(name: str, page: dict[str, Any], text: str) -> dict[str, Any]:
    clips = dict(page["clips"])
    return {
        "type": "paired_comparison",
        "id": f"preference_{name}",
        "name": "Which version is better?",
        "unforced": None,
        "content": text,
        "showWaveform": False,
        "enableLooping": False,
        "reference": f"audio/{clips['A']}.wav",
        "stimuli": {"C1": f"audio/{clips['1']}.wav", "C2": f"audio/{clips['2']}.wav"},
    }


def _mushra(name: str, reference: str, stimuli: list[str], text: str) -> dict[str, Any]:
    return {
        "type": "mushra",
        "id": f"versions_{name}",
        "name": "Several versions",
        "content": text,
        "showWaveform": False,
        "enableLooping": True,
        "switchBack": True,
        "reference": f"audio/{reference}.wav",
        "createAnchor35": False,
        "createAnchor70": False,
        "stimuli": {f"C{n + 1}": f"audio/{code}.wav" for n, code in enumerate(stimuli)},
    }


def configuration(study: "Study", served: dict[str, Any]) -> str:
    """YAML for webMUSHRA. ``served`` is what the browser gets (bundle.served): tokens only.

    The mushra pages use every version of an item that any page plays against the same original.
    """
    pages, blocks = served["pages"], served["blocks"]
    sections: dict[str, list[dict[str, Any]]] = {}
    versions: dict[str, set[str]] = {}
    pairs: set[frozenset[str]] = set()
    for name, page in pages.items():
        block, clips = page["block"], dict(page["clips"])
        asked = blocks[block]["questions"]
        if block in LIKERT_BLOCKS:
            sections.setdefault(block, []).append(_likert(block, name, page, asked[0]))
        if block == "preference" and (pair := frozenset((clips["1"], clips["2"]))) not in pairs:
            pairs.add(pair)
            sections.setdefault(block, []).append(_paired(name, page, f"{blocks[block]['intro']} {asked[0]['text']}"))
        if "A" in clips:
            versions.setdefault(clips["A"], set()).update(code for slot, code in clips.items() if slot not in "AE")
    text = "Compare each version with the reference. Rate how well its notes and rhythm are kept; ignore the instrument."
    for n, (reference, found) in enumerate(sorted(versions.items())):
        stimuli = sorted(found)
        random.Random(f"{study.params['seed']} webmushra {n}").shuffle(stimuli)
        sections.setdefault("versions", []).append(_mushra(f"{n + 1:02d}", reference, stimuli, text))
    welcome = {
        "type": "generic",
        "id": "welcome",
        "name": "Welcome",
        "content": "You will hear short clips of music. You may stop at any time.",
    }
    level = {
        "type": "volume",
        "id": "level",
        "name": "Level",
        "content": "Set a comfortable level and leave it there.",
        "stimulus": f"audio/{served['level']}.wav",
        "defaultVolume": 0.5,
    }
    finish = {"type": "finish", "name": "Thank you", "content": "Thank you for listening.", "showResults": False, "writeResults": True}
    shuffled = [["random", *section] for section in sections.values()]
    configuration = {
        "testname": study.name,
        "testId": f"{study.name}_{study.hash}",
        "bufferSize": 2048,
        "stopOnErrors": True,
        "showButtonPreviousPage": False,
        "remoteService": "service/write.php",
        "pages": [welcome, level, *shuffled, finish],
    }
    return yaml.safe_dump(configuration, sort_keys=False, allow_unicode=True, width=120)
