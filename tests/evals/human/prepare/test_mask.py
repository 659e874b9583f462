"""What is hidden, what is not, and the laws of masking."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.human.mask import PLACEHOLDER, Masker, plain
from evals.human.masking.fold import fold_text, skeleton
from protocols.core.errors import UserError
from tests.evals.human.prepare.sentences import (
    AMBIGUOUS,
    BENIGN,
    GIVEAWAYS,
    MAKERS,
    OWN_SPELLINGS,
    SPELLINGS,
    VERSIONED,
)
from tests.evals.human.prepare.worlds import OWN, POOL, masker, study

MASKER = masker()
FRAMES = ("{}", "I am {}.", "Ask {} now, please", "({})", "我是{}。", "Well ({}), yes", "{}\n{}")
FAMILY = re.compile(r"q\W*w\W*[e3]\W*n|千问|千問|クウェン|كوين|квен|큐원|क्वेन", re.IGNORECASE)


def left_of(text: str) -> str:
    """What a masked text still says, in the barest form that can be compared."""
    return skeleton(fold_text(text.replace(PLACEHOLDER, "")))


def test_there_are_enough_spellings_and_sentences() -> None:
    assert len(set(SPELLINGS)) >= 60 and len(set(BENIGN)) >= 200


@pytest.mark.parametrize("frame", FRAMES)
def test_no_spelling_of_a_family_survives(frame: str) -> None:
    for spelling in SPELLINGS:
        masked = MASKER.mask(frame.format(spelling, spelling))
        assert PLACEHOLDER in masked.text, spelling
        assert not FAMILY.search(left_of(masked.text)), (spelling, masked.text)


def test_the_text_around_a_spelling_stays() -> None:
    for spelling in SPELLINGS:
        text = MASKER.mask(f"Ask {spelling} now, please").text
        assert text.startswith("Ask ") and text.endswith(" now, please"), text
        rest = re.sub(
            r"[\W_]|based|model|https|example|org|s|ب", "", text[4:-12].replace(PLACEHOLDER, "")
        )
        assert not rest, (spelling, text)


@pytest.mark.parametrize("spelling", OWN_SPELLINGS)
def test_what_the_study_brings_is_hidden(spelling: str) -> None:
    text = MASKER.mask(f"It says {spelling} again.").text
    assert PLACEHOLDER in text
    assert not re.search(r"zyntara|z\W?y\W?n\W?t|quill|orsolya|venn|lex|majority", left_of(text))
    assert text.startswith("It says ") and text.endswith(" again.")


def test_ambiguous_names_are_hidden_where_they_are_meant() -> None:
    for frame in GIVEAWAYS:
        for name in AMBIGUOUS:
            text = MASKER.mask(frame.format(name)).text
            assert text == frame.format(PLACEHOLDER), text


@pytest.mark.parametrize("sentence", MAKERS)
def test_makers_are_hidden(sentence: str) -> None:
    assert MASKER.mask(sentence).hits == 1


@pytest.mark.parametrize("name", VERSIONED)
def test_versions_say_that_a_model_is_meant(name: str) -> None:
    assert MASKER.mask(f"We use {name} here.").hits == 1


def test_benign_sentences_stay() -> None:
    altered = [text for text in BENIGN if MASKER.mask(text).text != text]
    assert len(altered) <= len(BENIGN) // 100, altered


def test_the_answer_to_who_are_you_is_read_with_its_question() -> None:
    assert MASKER.mask("Gemma.", asked="Who are you?").text == "[model]."
    assert MASKER.mask("Mistral.", asked="Which wind is cold?").text == "Mistral."
    assert MASKER.mask("Gemma: it is 4.", asked="What is 2+2?").text == "[model]: it is 4."
    assert MASKER.mask("Gemini: May and June.", asked="When is Gemini?").text[:6] == "Gemini"


def test_a_link_with_a_name_is_hidden_whole_and_others_stay() -> None:
    text = "See https://huggingface.co/quillhouse/x?y=1, or https://example.org/palm."
    assert MASKER.mask(text).text == "See [model], or https://example.org/palm."


def test_extra_names_are_hidden_and_too_short_ones_refused() -> None:
    assert masker(masks=("Blue Heron",)).mask("the blue-heron bot").text == "the [model] bot"
    assert MASKER.mask("the blue-heron bot").hits == 0
    with pytest.raises(UserError, match="too short"):
        masker(masks=("é",))


def test_ordinary_words_as_names_need_a_capital_or_context() -> None:
    assert MASKER.mask("An adder is a snake.").hits == 0
    assert MASKER.mask("Ask the Adder about sums.").text == "Ask the [model] about sums."
    assert MASKER.mask("I am Adder.").text == "I am [model]."
    assert MASKER.mask("the other test").hits == 0


def test_letters_that_look_alike_count_where_they_do() -> None:
    for text in ("We use LIama 3.1.", "We use SmoILM2.", "We use GEMlNI 1.5.", "We use 0LMo."):
        assert MASKER.mask(text).hits == 1, text
    for text in ("An inflectional ending (Graff, 2003; Feng, 2010b).", "The ldea is old."):
        assert MASKER.mask(text).hits == 0, text


def test_spans_point_into_both_texts() -> None:
    masked = MASKER.mask("I am Qwen, not Zyntara-7B-law; OpenAI's GPT-4 is another.")
    assert [s.text for s in masked.spans] == ["Qwen", "Zyntara-7B-law", "OpenAI's GPT-4"]
    for span in masked.spans:
        assert masked.before[span.start : span.end] == span.text
        assert masked.text[span.at : span.until] == PLACEHOLDER
    assert masked.hits == 3


def test_both_arms_get_the_same_mask() -> None:
    contributor = MASKER.mask(f"{OWN.id} says 4.").text
    system = MASKER.mask("Majority_vote says 4.").text
    assert contributor == system == "[model] says 4."


def test_a_study_without_these_models_does_not_hide_them() -> None:
    assert Masker(study(), ()).mask("zyntara says 4.").hits == 0


def test_every_name_of_the_pool_is_hidden_as_written() -> None:
    for model in POOL:
        who = model.contributor
        for text in (model.id, model.source, who.institution):
            shown = MASKER.mask(f"made with {text} today").text
            assert re.fullmatch(r"made with (/models/)?\[model\] today", shown), shown


PIECES = st.one_of(
    st.sampled_from([*SPELLINGS, *OWN_SPELLINGS, *VERSIONED, *AMBIGUOUS, PLACEHOLDER, "Google"]),
    st.sampled_from(
        [" ", ", ", ". ", "\n", "-", "_", "/", "**", "`", "I am ", "a model ", "by ", "7"]
    ),
    st.sampled_from(BENIGN),
    st.text(max_size=6),
)
TEXTS = st.lists(PIECES, max_size=9).map("".join)


@given(TEXTS)
def test_masking_twice_is_masking_once(text: str) -> None:
    once = MASKER.mask(text)
    assert MASKER.mask(once.text).text == once.text


@given(TEXTS, st.sampled_from(["", "Who are you?", "What is 2 + 2?"]))
def test_masking_never_blows_up_a_text(text: str, asked: str) -> None:
    masked = MASKER.mask(text, asked)
    assert len(masked.text) <= len(text) + len(PLACEHOLDER) * masked.hits
    assert masked.hits <= len(text) // 2
    rebuilt, kept = [], 0
    for span in masked.spans:
        assert kept <= span.start < span.end
        rebuilt += [text[kept : span.start], PLACEHOLDER]
        kept = span.end
    assert "".join([*rebuilt, text[kept:]]) == masked.text


@st.composite
def disguised(draw: st.DrawFn) -> str:
    """The study's own model id, each letter disguised in its own way."""
    noise = st.sampled_from(["", "", "\u200b", "\u00ad", "\u2060", "**", "~~"])
    alike = {"a": "аａ𝐚", "e": "еｅ", "o": "оο", "y": "у", "i": "і1", "l": "ⅼ1", "t": "ｔ"}
    out = []
    for char in OWN.id:
        options = [char, char.upper(), *alike.get(char, ""), char + "\u0301"]
        out += [draw(st.sampled_from(options)), draw(noise)]
    return "".join(out)


@given(disguised(), st.sampled_from(["Yes, {}!", "{}", "我是{}。", "as {} I say", "x ({})"]))
def test_no_disguise_of_the_own_id_survives(name: str, frame: str) -> None:
    left = left_of(MASKER.mask(frame.format(name)).text)
    assert skeleton("zyntara") not in left and skeleton("law") not in left


@given(st.text(max_size=60))
def test_folding_maps_back_to_the_original(text: str) -> None:
    from evals.human.masking.fold import fold

    folded = fold(text)
    assert len(folded.text) == len(folded.start) == len(folded.end)
    assert all(a < b for a, b in zip(folded.start, folded.end, strict=True))
    assert list(folded.start) == sorted(folded.start)
    ascii_only = "".join(c for c in text if c.isascii() and c.isalnum()).lower()
    if text.isascii() and not re.search(r"[&<\[\\]", text):
        assert "".join(c for c in folded.text if c.isalnum()) == ascii_only


@given(st.text(st.sampled_from("*_~`#> -=[]()!<>/|think1as\n\t"), max_size=60))
def test_plain_twice_is_plain_once(text: str) -> None:
    text = re.sub(r"```|~~~", "", text)
    assert plain(plain(text)) == plain(text)


PLAIN = {
    "<think>Let me see.</think>The answer is 4.": "The answer is 4.",
    "I think so.</think>\n\n4": "4",
    "<think>never closed": "",
    "<thinking>a</thinking>b<Reasoning>c</Reasoning>": "b",
    "**4**": "4",
    "__really__ *yes* _no_ ***all*** ~~gone~~": "really yes no all gone",
    "# Title\nText": "Title\nText",
    "Use `print` here": "Use print here",
    "[a link](https://example.org/x) and ![a picture](//evil/y.png)": "a link and a picture",
    "* one\n* two\n+ three": "- one\n- two\n- three",
    "> quoted": "quoted",
    "a\n\n\n\nb": "a\n\nb",
    "```python\n# comment\nx = 2 ** 3\n```": "# comment\nx = 2 ** 3",
    "2*3*4 = 24 and x_1 + y_2": "2*3*4 = 24 and x_1 + y_2",
    "x**2 + y**2": "x**2 + y**2",
    "snake_case_name stays": "snake_case_name stays",
    "1. first\n2. second": "1. first\n2. second",
    "a\n---\nb": "a\nb",
    "<|im_start|>4<|im_end|>": "4",
    "[INST]4[/INST]</s><end_of_turn>": "4",
    "a <| b |> c": "a <| b |> c",
}


@pytest.mark.parametrize("text", PLAIN)
def test_plain_takes_marks_away_and_leaves_contents(text: str) -> None:
    assert plain(text) == PLAIN[text]


def test_shown_is_plain_only_if_the_study_says_so() -> None:
    text = "<think>I am Qwen.</think>**Qwen** says 4."
    assert MASKER.shown(text).text == "[model] says 4."
    assert masker(plain=False).shown(text).text.startswith("<think>I am [model].</think>")
    assert masker(plain=False).shown("**4**<|im_end|>").text == "**4**"


def test_folding_knows_letters_that_look_alike() -> None:
    for text in ("Ｑｗｅｎ", "Qwеn", "ԚԜЕΝ", "ⓠⓦⓔⓝ", "Qẅẽn", "Q\u200bwen"):
        assert fold_text(text) == "qwen"
    assert unicodedata.normalize("NFC", fold_text("한국어")) == "한국어"
