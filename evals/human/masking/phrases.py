"""How texts say who is speaking, in several languages, as patterns over canonical text."""

from __future__ import annotations

import re

from evals.human.masking.fold import PLACE, fold_text


def _any(text: str) -> str:
    """Alternatives of literal phrases, separated by '|', in canonical spelling."""
    parts = (fold_text(part.strip()) for part in text.split("|"))
    return "|".join(re.escape(part).replace(r"\ ", r"\s+") for part in parts if part)


_OPEN = r"[\s:,\"'(\[=—–-]*\Z"
_VERBS = (
    r"(?:developed|created|trained|built|made|designed|released|provided|tuned|fine-?tuned"
    r"|pre-?trained|powered|maintained|engineered|produced|published|programmed|offered|hosted|done)"
)
_MACHINE = (
    r"(?:ai|a\.i\.|llms?|language models?|chat ?bots?|bot|neural networks?|virtual assistant)"
)
_ASSISTANT = r"assistant(?!\s+(?:prof|manag|direct|coach|edit|teach))"
_THING = r"(?:system|program|tool|service|machine|software|creation|entity)"

AI_WORD = re.compile(
    rf"\b(?:{_MACHINE}|{_ASSISTANT}|model|version)\b"
    rf"|{_any('模型|助手|人工智能|モデル|アシスタント|모델|نموذج|مساعد|модель|मॉडल')}"
)
AI = re.compile(
    r"\b(?:i am|i'm|im|i was|as|being)\s+(?:just\s+|only\s+|still\s+|actually\s+)*"
    r"(?:an?|the|your)\s+(?:[\w-]+\s+){0,4}?"
    rf"(?:ai|a\.i\.|{_ASSISTANT}|language model|llm|chat ?bot|bot|artificial intelligence)\b"
    r"|\blanguage models?\b|\bllms?\b|\bchat ?bots?\b|\bai[- ](?:assistants?|models?|chat)\b"
    r"|\bknowledge cut-?off\b|\b(?:my|our) (?:training data|creators?|developers?|makers?)\b"
    r"|\bfoundation models?\b|\bopen[- ]weights?\b|\b(?:which|what) model (?:are|am|is)\b"
    r"|\bmodel(?:o|e)s? de l(?:enguaje|angage|angue|inguagem)\b|\binteligencia artificial\b"
    r"|\bintelligence artificielle\b|\basistente (?:virtual|de ia)\b|\bassistant virtuel\b"
    r"|\bagent conversationnel\b|\bsprachmodell|\bkunstliche intelligenz"
    rf"|{_any('语言模型|語言模型|大模型|人工智能|人工智慧|智能助手|AI助手|聊天机器人')}"
    rf"|{_any('言語モデル|人工知能|アシスタント|チャットボット|언어 모델|인공지능|챗봇')}"
    rf"|{_any('نموذج لغوي|نموذج لغة|مساعد ذكي')}"
    rf"|{_any('الذكاء الاصطناعي|ذكاء اصطناعي|روبوت محادثة|языковая модель|языковой моделью')}"
    rf"|{_any('искусственный интеллект|भाषा मॉडल')}"
)
"""The sentence is about a language model, mostly the one that speaks."""

_FILL = (
    r"(?:an?|the|your|just|also|actually|really|still|not|one|ai|a\.i\.|assistant|model|llm"
    r"|chat|bot|chatbot|language|large|small|virtual|helpful|friendly|digital|open|source"
    r"|open-source|version|variant|instance|of|based|on|built|called|named|known|as|powered"
    r"|fine-?tuned|by|from|family|series|machine|multilingual|personal|conversational|un|una"
    r"|une|el|la|le|ein|eine|um|uma|modelo|modele|de|lenguaje|langage|ia|asistente|basado|en"
    r"|sur|o|il|lo|llamado|llamada|nomme|nommee|namens|hello|hi)"
)
_FILL_OTHER = (
    "一个|一款|一種|由|基于|来自|的|模型|助手|大|语言|智能|开源|机器人|名叫|叫做"
    "|نموذج|مساعد|روبوت|لغوي|ذكي|يدعى|اسمه|من|модель|языковая"
)
ME = re.compile(
    r"(?:\b(?:i am|i'm|im|my name is|my name's|call me|they named me|i go by(?: the name)?"
    r"|i was named"
    r"|i identify as|soy|me llamo|mi nombre es|je suis|je m'appelle|mon nom est|moi c'est|ich bin"
    r"|ich heisse|mein name ist|eu sou|meu nome e|mi chiamo|sono)"
    rf"|{_any('我是|我叫|我的名字是|我的名字叫|名为|叫做|私は|僕は|わたしは|こちらは|名前は')}"
    rf"|(?<!\w)(?:{_any('저는|나는|제 이름은|أنا|اسمي|ادعى|я|меня зовут|это|मैं|मेरा नाम')})(?!\w))"
    rf"(?P<filler>(?:[\s,-]*(?:\b{_FILL}\b|ai|{_any(_FILL_OTHER)}))*)" + _OPEN
)
"""Before a name: "I am", "my name is". What stands between is ``filler``."""

CLOSED = re.compile(r"\s*(?:\Z|[.,!;:)\"'。，！]|and i\b|by\b|from\b)")
HELLO = re.compile(r"\W*(?:hi|hello|hey|greetings)?(?: there)?\W*")
HERE = re.compile(r"\s*(?:here|speaking)\s*(?:[,.!:–-]|\Z)")
AS = re.compile(r"(?:\A\W*|\b)as (?:the )?\Z")
THIS_IS = re.compile(r"(?:\bthis is|\bit's|\bhi|\bhello)[\s,!]*\Z")
HELP = re.compile(r"\s*[,.!—–-]+\s*(?:how (?:can|may) i|at your service|ready to|happy to help)")
COMMA_I = re.compile(r"\s*,(?:[^.!?]{0,60},)?\s*(?:i|i'm|my)\b")
APPOSED = re.compile(
    r"\s*,\s*(?:the|an?|your)\s+(?:(?!fashion|role|top|super)[\w-]+\s+){0,4}?"
    rf"(?:ai|{_ASSISTANT}|language model|model|chat ?bot|bot|llm)\b"
)
"""After a name: ", a language model"."""

MADE_BY = re.compile(
    rf"\b{_VERBS}\s+(?:\w+ly\s+)?(?:by|at|from|in)\s+(?:the\s+)?"
    r"(?:(?:labs?|laboratory|laboratories|ai|research|team|teams|researchers|engineers|scientists|people|folks|company|lab|at"
    r"|from|of|in)\s+)*\Z"
    r"|\b(?:desarrollad|entrenad|cread|developpe|entraine|cree|concu|forme|treinad|criad|sviluppat)"
    r"\w*\s+(?:por|par|da|pela|pelo)\s+(?:el equipo de |l'equipe de |la empresa )?\Z"
    r"|\b(?:entwickelt|trainiert|erstellt)\s+von\s+\Z|\bvon\s+\Z"
    rf"|(?:{_any('由|来自|來自')})\s*\Z"
    rf"|(?:{_any('طورته|طورتني|طورتها|تطوير|بواسطة|من قبل|دربتني|صممتني|أنشأتني')})\s+"
    rf"(?:{_any('شركة|فريق|من')}|\s)*\Z"
    rf"|(?:{_any('разработан|создан|обучен')})\w*\s+(?:\w+\s+)?\Z"
)
MADE_AFTER = re.compile(
    rf"\s*(?:{_any('公司|团队|社')})?(?:{_any('によって|に|が|の')})?"
    rf"(?:{_any('开发|開發|训练|研发|推出|创建|打造|研制|開発|訓練|作成|学習')})"
    rf"|\s*(?:{_any('에서|가|이|에 의해')})?\s*(?:{_any('개발|훈련|만든')})"
)
I_WAS = re.compile(
    r"\bi(?:'m| am| was| have been|'ve been| got)(?:\s+(?:\w+ly|also|first|not|being))*"
    rf"(?:\s+an?\s+(?:[\w-]+\s+){{0,3}}?{_THING}(?:\s+(?:that|which)\s+(?:was|is))?)?\s*\Z"
    r"|\bmy (?:training|development|creation|design)\b[^.;]*\Z"
    r"|\b(?:soy|fui|he sido|je suis|j'ai ete|ich wurde|ich bin)\b[^.;]*\Z"
    rf"|(?:{_any('我是|我由|私は|僕は|저는|أنا|تم|я был|меня')})[^.;]*\Z"
)
"""Before "made by": the one who speaks is what was made."""
SO_I = re.compile(r"\A[^.]{0,60}?,\s+(?:i|i'm)\b")
MY_MAKER = re.compile(
    r"\b(?:my|our)\s+(?:\w+\s+)?(?:creators?|developers?|makers?|trainers?|parent company)\b"
    r"[\s,:]*(?:is|are|was|were|at|from|called|,|:)?\s*(?:the\s+)?\Z"
    rf"|(?:{_any('我的开发者是|我的创造者是|开发公司是|私の開発者は')})\s*\Z"
)
MADE_ME = re.compile(
    rf"\s*(?:has\s+|have\s+|who\s+|that\s+|team\s+)*{_VERBS}\s+me\b|\s+me\s+(?:ha\s+)?"
    r"(?:desarrollo|entreno|creo)\b|\s+m'a\s+(?:cree|developpe|entraine)"
)

SURE_AFTER = re.compile(
    r"(?:'s)?[\s-]+(?:llms?\b|(?:large |small |open )?language models?\b|ai\b|ai's\b|chat ?bots?\b"
    r"|tokenizer|instruct model|foundation models?\b|chat models?\b)"
    rf"|\s*(?:{_any('大模型|语言模型|語言模型|言語モデル|언어 모델')})"
)
MODEL_AFTER = re.compile(
    r"(?:'s)?[\s-]+(?:models?\b|assistant\b|bot\b|weights\b|checkpoints?\b"
    r"|family of (?:language )?models|architecture\b)"
    rf"|\s*(?:{_any('模型|助手|モデル|모델')})"
)
NAMED = re.compile(
    r"\b(?:ai|a\.i\.|llm|language model|chat ?bot|ai model|ai assistant|virtual assistant)\s*,?\s*"
    r"(?:called|named|known as)\s+[\"'(]*\Z"
)
MODEL_BEFORE = re.compile(
    r"\b(?:language model|ai model|chat model|base model|foundation model|llm|chat ?bot"
    r"|ai assistant|(?:this|the|our|underlying) (?:model|assistant)(?:'s name)?"
    r" (?:is|called|named|name is)"
    r"|i (?:belong to|come from|am (?:part|a member) of))\s*"
    rf"(?:is|was|called|named|known as|like|such as|,)?\s*(?:the\s+)?{_OPEN}"
    r"|\b(?:assistant|chat ?bot|bot|ai|model|system)\s*[(:\[]\s*\Z"
    r"|\b(?:built|generated|powered|produced|running|runs?|based|fine-?tuned)\s+"
    r"(?:with|by|on|upon|using|from)\s+(?:the\s+)?\Z"
    r"|\b(?:google|meta|microsoft|anthropic|alibaba|mistral|amazon|apple|ibm|nvidia|baidu|cohere"
    r"|xai|tencent)'s\s+(?:[\w-]+\s+){0,2}\Z"
    rf"|(?:{_any('نموذج|النموذج|模型是|модель|модели')})\s*\Z"
)
SETTING = re.compile(
    r"\bmodel(?:_?name|_?id|_?path)?[\"']?\s*[:=]\s*[\"']?(?:\w+/)?\Z|\bollama (?:run|pull) \Z"
)
LABEL = re.compile(r"(?:'s (?:answer|response|reply|output))?\s*(?:[\])]\s|[:>])")
"""After a name at the very start of an answer: who speaks."""
SITE = re.compile(r"\.ai\b")

ASKS_WHO = re.compile(
    r"\b(?:who|what) (?:are|r) (?:you|u)\b|\bwhat(?:'s| is) your name\b|\byour (?:creators?|makers?"
    r"|developers?|company)\b|\b(?:who|which company|what company) (?:\w+ )?(?:made|created|trained"
    r"|built|developed|designed|owns) you\b"
    rf"|\b(?:which|what) (?:\w+ ){{0,4}}(?:{_MACHINE}|model) (?:\w+ ){{0,4}}(?:you|this)\b"
    rf"|\bare you (?:an? |the )?(?:ai|chat|gpt|{PLACE})|\bintroduce yourself\b"
    r"|\b(?:quien eres|como te llamas|qui es-tu|qui etes-vous|comment t'appelles|wer bist du)\b"
    rf"|{_any('你是谁|你叫什么|谁开发了你|你是什么|あなたは誰|당신은 누구|너는 누구')}"
    rf"|{_any('من أنت|من انت')}"
    rf"|{_any('ما اسمك|кто ты|तुम कौन हो|आप कौन हैं')}"
)
"""The question asks who or what the model is."""
