"""Names of model families and labs that texts may give away. A space marks a joint of a name."""

from __future__ import annotations

SURE_MODELS: tuple[str, ...] = (
    # Latin
    *("qwen", "qwq", "qvq", "tongyi", "tongyi qianwen", "qianwen", "smol lm", "smol vlm", "gpt"),
    *("chat gpt", "openai", "deep seek", "olmo", "olmoe", "molmo", "allen ai", "mixtral"),
    *("allen institute for ai", "ministral", "codestral", "pixtral", "devstral", "mathstral"),
    *("mistral ai", "meta ai", "google ai", "google bard", "google gemini", "google deepmind"),
    *("deepmind", "code llama", "codellama", "tinyllama", "openllama", "llama cpp", "llamaindex"),
    *("starcoder", "santacoder", "wizard lm", "wizardcoder", "wizardmath", "openhermes"),
    *("nous hermes", "nous research", "openorca", "openchat", "intern lm", "intern vl"),
    *("chat glm", "baichuan", "mini cpm", "hunyuan", "doubao", "ernie bot", "nemotron", "bloomz"),
    *("flan t5", "stable lm", "redpajama", "code gemma", "med gemma", "shield gemma", "c4ai"),
    *("falcon llm", "ai21", "dbrx", "exaone", "hyper clova", "watson x", "zhipu", "moonshot ai"),
    *("stepfun", "sensetime", "iflytek", "giga chat", "eleuther ai", "bigscience"),
    *("togethercomputer", "lm sys", "stability ai", "mosaic ml", "huggingface", "hugging face tb"),
    *("characterai", "inflection ai", "bing chat", "microsoft copilot", "skywork", "xverse"),
    *("sea llm", "euro llm", "bielik", "teuken", "sarvam", "krutrim", "openhathi", "yandex gpt"),
    *("lmarena", "claude ai", "anthropic ai", "01 ai", "meta llama", "google gemma"),
    *("microsoft phi", "ibm granite", "tiiuae", "amazon nova", "amazon titan", "anthropic claude"),
    *("mistral large", "llama guard", "cohere for ai"),
    # Chinese
    *("通义千问", "通義千問", "通义", "千问", "千問", "文心一言", "文心大模型", "智谱清言"),
    *("智谱", "智譜", "深度求索", "百川智能", "百川大模型", "星火大模型", "讯飞星火"),
    *("盘古大模型", "月之暗面", "混元大模型", "书生浦语", "零一万物", "面壁智能", "阶跃星辰"),
    *("抱抱脸", "商汤科技"),
    # Japanese
    *("チャットgpt", "チャットジーピーティー", "クウェン", "キューウェン", "オープンai"),
    *("オープンエーアイ", "アンソロピック", "ディープシーク", "スモールlm"),
    # Korean
    *("큐원", "큐웬", "챗지피티", "챗gpt", "딥시크", "오픈에이아이", "앤트로픽"),
    # Arabic
    *("كوين", "كيوين", "تشات جي بي تي", "شات جي بي تي", "جي بي تي", "جيميني", "جيميناي", "جيما"),
    *("ميسترال", "ديب سيك", "اوبن ايه اي", "هاجينج فيس", "هاغينغ فيس", "انثروبيك", "سمول ال ام"),
    # Cyrillic
    *("квен", "чатгпт", "чат гпт", "чат джипити", "джемини", "дипсик", "гигачат", "яндексгпт"),
    *("опенаи", "опен эй ай"),
    # Devanagari
    *("क्वेन", "चैटजीपीटी", "चैट जीपीटी", "डीपसीक", "ओपनएआई"),
)  # fmt: skip

WHOLE_WORDS = frozenset({"c4ai", "allen ai", "meta ai", "google ai", "ai21", "01 ai", "olmo"})
"""Sure names that do occur by chance inside longer words."""

MEANT_MODELS: tuple[str, ...] = (
    # Latin
    *("llama", "gemma", "gemini", "mistral", "magistral", "claude", "sonnet", "opus", "haiku"),
    *("bard", "palm", "lamda", "grok", "phi", "yi", "falcon", "command", "command r", "aya"),
    *("jamba", "jurassic", "titan", "nova", "copilot", "cortana", "siri", "alexa", "tulu", "orca"),
    *("vicuna", "alpaca", "guanaco", "koala", "dolphin", "zephyr", "hermes", "starling", "puffin"),
    *("platypus", "bloom", "galactica", "gopher", "chinchilla", "sparrow", "dolly", "pythia"),
    *("opt", "mpt", "glm", "bert", "roberta", "electra", "ernie", "bart", "pegasus", "kimi"),
    *("moonshot", "granite", "solar", "minimax", "megatron", "pangu", "davinci", "stable code"),
    *("orion", "aquila", "moss", "sailor", "sea lion", "jais", "allam", "fanar", "salamandra"),
    *("apertus", "lucie", "nous", "camel", "samantha", "bing", "r1", "o1", "o3"),
    # Other scripts
    *("克劳德", "双子座", "羊驼", "拉玛", "米斯特拉尔", "杰玛", "杰米尼", "豆包", "混元", "星火"),
    *("百川", "盘古", "文心", "书生", "猎鹰", "ジェミニ", "ジェマ", "ラマ", "リャマ"),
    *("ミストラル", "クロード", "ファルコン", "제미나이", "제미니", "젬마", "라마", "미스트랄"),
    *("클로드", "لاما", "كلود", "فالكون", "جيس", "علام", "فنار", "лама", "мистраль", "джемма"),
    *("клод", "фалкон", "लामा", "जेमिनी", "क्लॉड", "गेम्मा"),
)  # fmt: skip

LABS: tuple[str, ...] = (
    *("google", "meta", "facebook", "microsoft", "alibaba", "alibaba cloud", "ali cloud"),
    *("amazon", "apple", "nvidia", "ibm", "baidu", "tencent", "huawei", "bytedance", "naver"),
    *("kakao", "lg", "samsung", "salesforce", "databricks", "cohere", "anthropic", "hugging face"),
    *("open ai", "stability", "together", "inflection", "perplexity", "snowflake", "upstage"),
    *("yandex", "sber", "allen institute", "ai2", "xai", "x ai", "big science", "tii", "sdaia"),
    *("technology innovation institute", "mbzuai", "inception", "nous", "lmsys", "cerebras"),
    *("mosaic", "eleuther", "zhipu ai", "谷歌", "微软", "百度", "腾讯", "阿里巴巴", "阿里云"),
    *("阿里", "华为", "字节跳动", "科大讯飞", "グーグル", "メタ", "マイクロソフト", "アリババ"),
    *("구글", "메타", "알리바바", "네이버", "جوجل", "غوغل", "ميتا", "مايكروسوفت", "علي بابا"),
    *("гугл", "майкрософт", "яндекс", "алибаба", "सर्वम", "गूगल", "माइक्रोसॉफ्ट"),
)  # fmt: skip

NUMBERED = frozenset(
    {"llama", "gemma", "claude", "phi", "palm", "glm", "grok", "yi", "granite", "kimi", "tulu"}
    | {"vicuna", "command r", "jurassic", "pangu", "ernie", "aya", "jamba", "opt", "mpt", "pythia"}
    | {"zephyr", "starling", "guanaco", "minimax"}
)
"""Families that say "3" or "-3" for a version, where the bare word rarely counts anything else."""

CASINGS: dict[str, tuple[str, ...]] = {
    "llama": ("LLaMA", "LLaMa", "LlaMA", "LLama"),
    "palm": ("PaLM",),
    "lamda": ("LaMDA",),
    "bert": ("BERT",),
    "roberta": ("RoBERTa",),
    "allam": ("ALLaM",),
    "grok": ("Grok",),
    "anthropic": ("Anthropic",),
    "command r": ("Command R",),
    "ai2": ("AI2",),
    "xai": ("xAI",),
    "mbzuai": ("MBZUAI",),
    "sdaia": ("SDAIA",),
    "tulu": ("Tülu", "TÜLU"),
    "open ai": ("Open AI", "OPEN AI"),
}

ORDINARY: tuple[str, ...] = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "omega", "sigma"),
    *("adder", "counter", "reader", "writer", "speller", "scribe", "clerk", "converter", "solver"),
    *("helper", "tutor", "teacher", "student", "expert", "judge", "router", "coder", "assistant"),
    *("model", "models", "base", "base model", "system", "contributor", "general", "generalist"),
    *("specialist", "test", "tests", "tester", "demo", "example", "default", "main", "own"),
    *("team", "small", "large", "medium", "tiny", "mini", "nano", "chat", "instruct", "answer"),
    *("question", "math", "maths", "law", "legal", "health", "medical", "medicine", "doctor"),
    *("nurse", "poet", "poetry", "music", "history", "science", "physics", "chemistry", "biology"),
    *("geography", "code", "python", "english", "french", "german", "spanish", "arabic"),
    *("chinese", "japanese", "acronyms", "addition", "calendar", "capitals", "clock"),
    *("currencies", "elements", "roman", "sequences", "spelling", "units", "multiplication"),
    *("telephone", "translator", "translation", "summary", "news", "finance", "travel", "cooking"),
    *("recipes", "sport", "sports", "weather", "farmer", "farming", "agriculture", "education"),
    *("culture", "religion", "philosophy", "art", "anonymous", "unknown", "none", "other"),
    *("community", "university", "college", "school", "lab", "laboratory", "company", "research"),
    *("institute", "student team", "student group", "embedded", "v1", "v2", "latest", "final"),
    *("checkpoint", "adapter", "output"),
)  # fmt: skip
"""Words that a model or a contributor may be called and that texts use as words."""
